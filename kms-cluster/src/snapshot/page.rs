//! The pages of a bbolt file, as bytes: nothing is read beyond a page, nothing is believed.
//!
//! All numbers are little-endian. A page begins with 16 bytes: id (8), flags (2), count (2),
//! overflow (4); `overflow` more pages belong to it. Source: bbolt's own description of its file,
//! `internal/common/page.go` and `node.go`.

/// Why a page is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    /// From the begin of the page, in bytes.
    pub(super) offset: usize,
    pub(super) problem: &'static str,
}

const fn fault(offset: usize, problem: &'static str) -> Fault {
    Fault { offset, problem }
}

pub(super) const HEADER_LEN: usize = 16;
const ELEMENT_LEN: usize = 16;

/// What a page holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Branch,
    Leaf,
}

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;

/// The first 16 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) count: usize,
    pub(super) overflow: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let short = fault(0, "the page header is cut off");
        let flags = u16_at(bytes, 8).ok_or(short)?;
        Ok(Self {
            id: u64_at(bytes, 0).ok_or(short)?,
            kind: match flags {
                BRANCH => Kind::Branch,
                LEAF => Kind::Leaf,
                _ => return Err(fault(8, "is neither a branch nor a leaf")),
            },
            count: u16_at(bytes, 10).ok_or(short)?.into(),
            overflow: u32_at(bytes, 12).ok_or(short)?,
        })
    }
}

/// One entry of a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// Where the value lies, from the begin of the page.
    pub(super) value_offset: usize,
    /// Whether the value is a bucket.
    pub(super) is_bucket: bool,
}

/// Checks the elements of a page.
///
/// bbolt writes keys and values one behind the other, without gaps, right after the table of
/// elements. Insisting on that finds a count or length that lost a bit, which otherwise would
/// drop entries without a trace.
pub(super) fn check(page: &[u8], header: Header) -> Result<(), Fault> {
    let table = header.count.saturating_mul(ELEMENT_LEN);
    let mut data = HEADER_LEN.saturating_add(table);
    if header.kind == Kind::Branch && header.count == 0 {
        return Err(fault(10, "a branch without children"));
    }
    for index in 0..header.count {
        let at = element_offset(index);
        let cut = fault(at, "the table of elements is cut off");
        let (pos, len) = match header.kind {
            Kind::Branch => (
                u32_at(page, at).ok_or(cut)?,
                u64::from(u32_at(page, at.saturating_add(4)).ok_or(cut)?),
            ),
            Kind::Leaf => (
                u32_at(page, at.saturating_add(4)).ok_or(cut)?,
                u64::from(u32_at(page, at.saturating_add(8)).ok_or(cut)?)
                    .saturating_add(u32_at(page, at.saturating_add(12)).ok_or(cut)?.into()),
            ),
        };
        let start = usize::try_from(pos).map_or(usize::MAX, |pos| at.saturating_add(pos));
        if start != data {
            return Err(fault(at, "an element that does not follow the one before"));
        }
        data = usize::try_from(len).map_or(usize::MAX, |len| start.saturating_add(len));
        if data > page.len() {
            return Err(fault(at, "an element that reaches out of its page"));
        }
    }
    Ok(())
}

const fn element_offset(index: usize) -> usize {
    HEADER_LEN.saturating_add(index.saturating_mul(ELEMENT_LEN))
}

/// The entry of a leaf that was checked; `None` past the end.
pub(super) fn entry(page: &[u8], index: usize) -> Option<Entry<'_>> {
    let at = element_offset(index);
    let flags = u32_at(page, at)?;
    let pos = usize::try_from(u32_at(page, at.checked_add(4)?)?).ok()?;
    let key_len = usize::try_from(u32_at(page, at.checked_add(8)?)?).ok()?;
    let value_len = usize::try_from(u32_at(page, at.checked_add(12)?)?).ok()?;
    let key_offset = at.checked_add(pos)?;
    let value_offset = key_offset.checked_add(key_len)?;
    Some(Entry {
        key: page.get(key_offset..value_offset)?,
        value: page.get(value_offset..value_offset.checked_add(value_len)?)?,
        value_offset,
        is_bucket: flags & 1 != 0,
    })
}

/// The first key below a child of a branch that was checked, and the child's page.
pub(super) fn child(page: &[u8], index: usize) -> Option<(&[u8], u64)> {
    let at = element_offset(index);
    let pos = usize::try_from(u32_at(page, at)?).ok()?;
    let len = usize::try_from(u32_at(page, at.checked_add(4)?)?).ok()?;
    let key_offset = at.checked_add(pos)?;
    let key = page.get(key_offset..key_offset.checked_add(len)?)?;
    Some((key, u64_at(page, at.checked_add(8)?)?))
}

/// What one of the two meta pages says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Meta {
    pub(super) page_size: u32,
    /// The root bucket's page.
    pub(super) root: u64,
    /// Pages from here on are not in use.
    pub(super) pages: u64,
    pub(super) transaction: u64,
}

/// Header and meta, which is all that is read of a meta page.
pub(super) const META_LEN: usize = 80;

impl Meta {
    /// Reads a meta page; `None` if it is none, or torn: then the other one counts.
    pub(super) fn parse(page: &[u8]) -> Option<Self> {
        const MAGIC: u32 = 0xED0C_DAED;
        const VERSION: u32 = 2;
        const FLAG: u16 = 0x04;
        let checked = page.get(HEADER_LEN..72)?;
        let page_size = u32_at(page, 24)?;
        let sound = u16_at(page, 8)? == FLAG
            && u32_at(page, 16)? == MAGIC
            && u32_at(page, 20)? == VERSION
            && u64_at(page, 72)? == fnv1a(checked)
            && page_size.is_power_of_two()
            && (MIN_PAGE_SIZE..=MAX_PAGE_SIZE).contains(&page_size);
        sound.then_some(Self {
            page_size,
            root: u64_at(page, 32)?,
            pages: u64_at(page, 56)?,
            transaction: u64_at(page, 64)?,
        })
    }
}

/// bbolt takes the page size of the machine that made the file.
pub(super) const MIN_PAGE_SIZE: u32 = 1024;
pub(super) const MAX_PAGE_SIZE: u32 = 64 * 1024;

/// FNV-1a of 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}
