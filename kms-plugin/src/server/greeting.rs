//! How an HTTP/2 client begins (RFC 9113, section 3.4).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_LEN: usize = 9;
const SETTINGS: u8 = 4;
/// The longest frame before anything else was agreed on, in bytes (section 4.2).
const MAX_FRAME_LEN: u32 = 16_384;

/// Reads the preface and the SETTINGS frame after it, which every client sends without waiting for
/// the server. Returns them as they came, for the HTTP/2 library to read again.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    let mut head = [0; FRAME_HEAD_LEN];
    if preface == PREFACE {
        stream.read_exact(&mut head).await?;
    }
    let [high, middle, low, kind, ..] = head;
    let length = u32::from_be_bytes([0, high, middle, low]);
    if kind != SETTINGS || length > MAX_FRAME_LEN {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "this is not how HTTP/2 begins",
        ));
    }
    let mut settings = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut settings).await?;
    Ok([&preface, head.as_slice(), &settings].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut bytes: &[u8]) -> (io::Result<Vec<u8>>, usize) {
        let outcome = read(&mut bytes).await;
        (outcome, bytes.len())
    }

    #[tokio::test]
    async fn it_is_read_whole_and_nothing_after_it() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend([0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0]);
        let whole = bytes.len();
        bytes.extend(b"more");
        let (outcome, left) = read_all(&bytes).await;
        assert_eq!(outcome.unwrap(), &bytes[..whole]);
        assert_eq!(left, 4);
        for length in 0..whole {
            let (outcome, _) = read_all(&bytes[..length]).await;
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = [&PREFACE, [0, 0x40, 1, SETTINGS, 0, 0, 0, 0, 0].as_slice()].concat();
        let data = [&PREFACE, [0, 0, 0, 0, 0, 0, 0, 0, 1].as_slice()].concat();
        for bytes in [
            &long,
            &data,
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(),
        ] {
            let (outcome, _) = read_all(bytes).await;
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
