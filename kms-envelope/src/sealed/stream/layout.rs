//! Which bytes of a body belong to which chunk.

use core::ops::Range;

use crate::crypto::TAG_LEN;
use crate::sealed::ChunkSize;
use crate::sealed::limits::MAX_STREAM_LEN;

/// Bytes of a tag, for lengths that may be over what memory holds.
const TAG: u64 = TAG_LEN as u64;

/// How a body of some length is cut into chunks.
///
/// The length is whatever the storage claims; it is genuine once the last chunk has opened as the
/// last one.
///
/// ```
/// use kms_envelope::sealed::{ChunkSize, stream::StreamLayout};
///
/// // 10,000 bytes in chunks of 4 KiB, and a tag of 16 bytes behind each.
/// let layout = StreamLayout::new(ChunkSize::MIN, 10_000 + 3 * 16).unwrap();
/// assert_eq!((layout.chunks(), layout.plaintext_len()), (3, 10_000));
/// let (chunk, offset) = layout.locate(5000);
/// assert_eq!((chunk, offset, layout.chunk(chunk)), (1, 904, Some(4112..8224)));
/// // No plaintext gives a body of this length.
/// assert_eq!(StreamLayout::new(ChunkSize::MIN, 4112 + 16), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamLayout {
    size: ChunkSize,
    body_len: u64,
    chunks: u64,
}

impl StreamLayout {
    /// The layout of a body of `body_len` bytes; `None` if no plaintext gives that length.
    #[must_use]
    pub fn new(size: ChunkSize, body_len: u64) -> Option<Self> {
        let full = full_len(size);
        let chunks = body_len.div_ceil(full);
        let last_len = body_len.checked_sub(chunks.checked_sub(1)?.checked_mul(full)?)?;
        // An empty chunk stands alone.
        if last_len < TAG || (last_len == TAG && chunks > 1) {
            return None;
        }
        let layout = Self {
            size,
            body_len,
            chunks,
        };
        (layout.plaintext_len() <= MAX_STREAM_LEN).then_some(layout)
    }

    /// How many chunks there are: at least one.
    #[must_use]
    pub const fn chunks(&self) -> u64 {
        self.chunks
    }

    /// How long the plaintext is, in bytes.
    #[must_use]
    pub const fn plaintext_len(&self) -> u64 {
        self.body_len
            .saturating_sub(self.chunks.saturating_mul(TAG))
    }

    /// Where in the body the ciphertext and tag of a chunk are; `None` behind the last one.
    #[must_use]
    pub fn chunk(&self, index: u64) -> Option<Range<u64>> {
        let full = full_len(self.size);
        let start = index.checked_mul(full).filter(|_| index < self.chunks)?;
        Some(start..start.checked_add(full)?.min(self.body_len))
    }

    /// Whether a chunk is the last one.
    #[must_use]
    pub fn is_last(&self, index: u64) -> bool {
        index.checked_add(1) == Some(self.chunks)
    }

    /// In which chunk the byte of the plaintext at `position` is, and where in that chunk.
    #[must_use]
    pub fn locate(&self, position: u64) -> (u64, usize) {
        let size = self.size.bytes() as u64;
        let index = position.checked_div(size).unwrap_or_default();
        let offset = position.checked_rem(size).unwrap_or_default();
        (index, usize::try_from(offset).unwrap_or_default())
    }
}

/// Ciphertext and tag of a full chunk.
fn full_len(size: ChunkSize) -> u64 {
    (size.bytes() as u64).saturating_add(TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: u64 = 4096 + 16;

    fn layout(body_len: u64) -> Option<(u64, u64)> {
        StreamLayout::new(ChunkSize::MIN, body_len)
            .map(|layout| (layout.chunks(), layout.plaintext_len()))
    }

    #[test]
    fn every_length_that_a_plaintext_gives_and_no_other() {
        assert_eq!(layout(0), None);
        assert_eq!(layout(15), None);
        assert_eq!(layout(16), Some((1, 0)));
        assert_eq!(layout(17), Some((1, 1)));
        assert_eq!(layout(FULL), Some((1, 4096)));
        for short in 1..=16 {
            assert_eq!(layout(FULL + short), None);
        }
        assert_eq!(layout(FULL + 17), Some((2, 4097)));
        assert_eq!(layout(2 * FULL), Some((2, 8192)));
        let most = (MAX_STREAM_LEN / 4096) * FULL;
        assert_eq!(layout(most), Some((1 << 31, MAX_STREAM_LEN)));
        assert_eq!(layout(most + 17), None);
        assert_eq!(layout(u64::MAX), None);
    }

    #[test]
    fn chunks_lie_end_to_end() {
        let layout = StreamLayout::new(ChunkSize::MIN, FULL + 20).unwrap();
        assert_eq!(layout.chunk(0), Some(0..FULL));
        assert_eq!(layout.chunk(1), Some(FULL..FULL + 20));
        assert_eq!(layout.chunk(2), None);
        assert_eq!(layout.chunk(u64::MAX), None);
        assert!(!layout.is_last(0) && layout.is_last(1) && !layout.is_last(u64::MAX));
        assert_eq!(layout.locate(4095), (0, 4095));
        assert_eq!(layout.locate(4096), (1, 0));
    }
}
