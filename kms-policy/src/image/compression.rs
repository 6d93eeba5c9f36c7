//! Layers as they are stored: plain, or compressed.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, ErrorKind};

/// How much of a blob is read at once, in bytes.
const BUFFER: usize = 128 * 1024;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A frame of zstd that holds nothing begins with `5x 2a 4d 18`.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// The largest window of zstd, as a power of two: 128 MiB. It is memory.
const ZSTD_WINDOW: u32 = 27;

/// The tar in a blob.
///
/// Its first bytes tell, as they do for containerd: media types are often wrong. A wrong guess changes
/// the diff id, which is compared.
pub(super) fn decompress<'r, R: Read + 'r>(blob: R) -> Result<Box<dyn Read + 'r>, Error> {
    let unread = |error: io::Error| {
        Error::new(ErrorKind::Io, format!("a blob cannot be read: {error}")).with_source(error)
    };
    let mut blob = BufReader::with_capacity(BUFFER, blob);
    let start = blob.fill_buf().map_err(unread)?;
    let is_skippable =
        matches!(start, [0x50..=0x5f, rest @ ..] if rest.starts_with(&ZSTD_SKIPPABLE));
    if start.starts_with(&GZIP) {
        return Ok(Box::new(MultiGzDecoder::new(blob)));
    }
    if start.starts_with(&ZSTD) || is_skippable {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(blob).map_err(unread)?;
        decoder.window_log_max(ZSTD_WINDOW).map_err(unread)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(blob))
}

/// Refuses to give more than so many bytes.
#[derive(Debug)]
pub(super) struct Bounded<R> {
    pub(super) inner: R,
    pub(super) left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "it is longer than allowed")
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn through(bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        decompress(bytes).unwrap().read_to_end(&mut plain).unwrap();
        plain
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_form_gives_the_same() {
        let plain = b"a tar, or not".repeat(1000);
        assert_eq!(through(&plain), plain);
        assert_eq!(through(&gzip(&plain)), plain);
        let (a, b) = plain.split_at(5000);
        assert_eq!(through(&[gzip(a), gzip(b)].concat()), plain);
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        assert_eq!(through(&[zstd(a), zstd(b)].concat()), plain);
        let skippable = [
            &[0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..],
            &zstd(&plain),
        ]
        .concat();
        assert_eq!(through(&skippable), plain);
        assert_eq!(through(b""), b"");
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let plain = b"a tar, or not".repeat(1000);
        for whole in [gzip(&plain), zstd::encode_all(&*plain, 1).unwrap()] {
            let cut = &whole[..whole.len() - 9];
            let read = decompress(cut).unwrap().read_to_end(&mut Vec::new());
            assert!(read.is_err());
        }
    }

    #[test]
    fn length_is_bounded() {
        let read = |left| {
            let mut bounded = Bounded {
                inner: &b"abc"[..],
                left,
            };
            bounded.read_to_end(&mut Vec::new())
        };
        assert_eq!(read(3).unwrap(), 3);
        assert!(read(2).is_err());
    }
}
