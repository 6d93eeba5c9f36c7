//! Walking over the members of a tar.
//!
//! The crate `tar` reads headers; the walk is our own, because a hostile archive may announce a name of
//! any length, and because the stream is hashed in large pieces as it passes.

use std::io;

use tar::{EntryType, Header, PaxExtensions};

use super::broken;
use crate::{Error, ErrorKind};

pub(in crate::image) const BLOCK: u64 = 512;
/// The longest path of a member or of a link's target, in bytes: `PATH_MAX` of Linux. One of megabytes
/// would make a directory of each of its components.
const MAX_PATH: usize = 4096;
/// The longest list of PAX records, in bytes: they hold extended attributes of at most 64 KiB each. Also
/// as much as is read of a long name before it is refused.
const MAX_EXTENSION: u64 = 4 * 1024 * 1024;

/// Bytes in order.
pub(in crate::image) trait Stream {
    /// Fills a buffer, or as much of it as there are bytes left.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Leaves out bytes. It is an error if there are fewer.
    fn skip(&mut self, len: u64) -> io::Result<()>;
}

/// One member.
#[derive(Debug)]
pub(in crate::image) struct Entry {
    pub(in crate::image) header: Header,
    /// Where its header begins.
    pub(in crate::image) header_at: u64,
    /// Where its data begins.
    pub(in crate::image) data_at: u64,
    /// The length of its data, in bytes.
    pub(in crate::image) size: u64,
    pub(in crate::image) path: Vec<u8>,
    /// The target, if it is a link.
    pub(in crate::image) link: Option<Vec<u8>>,
}

/// All members, to the mark at the end of an archive or to the end of the stream.
#[derive(Debug)]
pub(in crate::image) struct Entries<S> {
    stream: S,
    position: u64,
    /// Where the next header begins.
    next: u64,
}

/// What comes before a member and describes it.
#[derive(Default)]
struct Described {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Vec<u8>>,
}

impl Described {
    const fn is_empty(&self) -> bool {
        self.path.is_none() && self.link.is_none() && self.pax.is_none()
    }
}

impl<S: Stream> Entries<S> {
    pub(in crate::image) const fn new(stream: S) -> Self {
        Self {
            stream,
            position: 0,
            next: 0,
        }
    }

    pub(in crate::image) fn into_stream(self) -> S {
        self.stream
    }

    /// The next member, with what is said of it.
    pub(in crate::image) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let mut described = Described::default();
        loop {
            let Some((mut header, header_at)) = self.header()? else {
                if described.is_empty() {
                    return Ok(None);
                }
                return Err(bad("describes a member that does not follow"));
            };
            let mut size = header.entry_size().map_err(broken)?;
            let kind = header.entry_type();
            let is_described = header.as_gnu().is_some() || header.as_ustar().is_some();
            let slot = match kind {
                EntryType::GNULongName => Some(&mut described.path),
                EntryType::GNULongLink => Some(&mut described.link),
                EntryType::XHeader => Some(&mut described.pax),
                _ => None,
            };
            if let Some(slot) = slot.filter(|_| is_described) {
                if slot.is_some() {
                    return Err(bad("describes one member twice"));
                }
                *slot = Some(self.extension(size)?);
                continue;
            }
            let pax = described.pax.as_deref().unwrap_or_default();
            if kind != EntryType::XGlobalHeader {
                if let Some(said) = number(pax, "size") {
                    size = said;
                }
                if let Some(uid) = number(pax, "uid") {
                    header.set_uid(uid);
                }
                if let Some(gid) = number(pax, "gid") {
                    header.set_gid(gid);
                }
            }
            if kind == EntryType::GNUSparse {
                self.sparse_maps(&header)?;
            }
            let data_at = self.position;
            self.next = padded_end(data_at, size)?;
            let link = described.link.map(without_end);
            let link = link.or_else(|| record(pax, b"linkpath"));
            let path = described.path.map(without_end);
            let path = path.or_else(|| record(pax, b"path"));
            let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
            let link = link.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
            if path.len().max(link.as_ref().map_or(0, Vec::len)) > MAX_PATH {
                return Err(bad("has a path or a link's target of over 4096 bytes"));
            }
            return Ok(Some(Entry {
                header_at,
                data_at,
                size,
                path,
                link,
                header,
            }));
        }
    }

    /// The whole data of the member that came last, which is known not to be too long.
    pub(in crate::image) fn data(&mut self, entry: &Entry) -> Result<Vec<u8>, Error> {
        if self.position != entry.data_at {
            return Ok(Vec::new());
        }
        self.read(entry.size)
    }

    /// A header, if there is one, and where it begins.
    fn header(&mut self) -> Result<Option<(Header, u64)>, Error> {
        let rest = self.next.saturating_sub(self.position);
        self.stream.skip(rest).map_err(broken)?;
        self.position = self.next;
        let at = self.position;
        let mut header = Header::new_old();
        match self.stream.fill(header.as_mut_bytes()).map_err(broken)? {
            0 => return Ok(None),
            read if read as u64 == BLOCK => {}
            _ => return Err(bad("ends within a header")),
        }
        self.position = at.checked_add(BLOCK).ok_or_else(too_long)?;
        self.next = self.position;
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The sum is over the header with spaces in the sum's own place.
        let sum = bytes.iter().enumerate().fold(0_u32, |sum, (at, byte)| {
            let counted = if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            };
            sum.saturating_add(u32::from(counted))
        });
        if header.cksum().map_err(broken)? != sum {
            return Err(bad("has a header with a wrong checksum"));
        }
        Ok(Some((header, at)))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > MAX_EXTENSION {
            return Err(bad("has a name or records of over 4 MiB"));
        }
        self.next = padded_end(self.position, size)?;
        self.read(size)
    }

    /// Further headers of a file with holes; they do not count as its data.
    fn sparse_maps(&mut self, header: &Header) -> Result<(), Error> {
        let mut goes_on = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        while goes_on {
            let mut map = tar::GnuExtSparseHeader::new();
            let read = self.stream.fill(map.as_mut_bytes()).map_err(broken)?;
            self.position = self
                .position
                .checked_add(read as u64)
                .ok_or_else(too_long)?;
            if read as u64 != BLOCK {
                return Err(bad("ends within a header"));
            }
            goes_on = map.is_extended();
        }
        Ok(())
    }

    fn read(&mut self, len: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| too_long())?];
        let read = self.stream.fill(&mut bytes).map_err(broken)?;
        self.position = self
            .position
            .checked_add(read as u64)
            .ok_or_else(too_long)?;
        if read < bytes.len() {
            return Err(bad("ends within a member"));
        }
        Ok(bytes)
    }
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::Image, format!("a tar {what}"))
}

fn too_long() -> Error {
    bad("is over 2⁶⁴ bytes")
}

fn padded_end(at: u64, size: u64) -> Result<u64, Error> {
    let padded = size.checked_next_multiple_of(BLOCK);
    let end = padded.and_then(|padded| at.checked_add(padded));
    end.ok_or_else(too_long)
}

/// Without the zero that ends a name.
fn without_end(mut name: Vec<u8>) -> Vec<u8> {
    if name.last() == Some(&0) {
        name.pop();
    }
    name
}

/// A record of PAX.
fn record(pax: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let records = PaxExtensions::new(pax).filter_map(Result::ok);
    let mut named = records.filter(|record| record.key_bytes() == key);
    named.next().map(|record| record.value_bytes().to_vec())
}

/// A record that is a number. Behind one that is damaged, none counts.
fn number(pax: &[u8], key: &str) -> Option<u64> {
    for record in PaxExtensions::new(pax) {
        let record = record.ok()?;
        if record.key() == Ok(key) {
            return record.value().ok()?.parse().ok();
        }
    }
    None
}
