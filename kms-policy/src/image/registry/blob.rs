//! A blob, from the network to the thread that hashes it.

use std::io::{self, Read};

use tokio::sync::mpsc;

use super::client::{Client, What};
use crate::image::ImageReference;
use crate::image::collect::FoundLayer;
use crate::{Error, ErrorKind};

/// Pieces that wait for the hashing thread. They are as large as the network made them, mostly 16 KiB.
const WAITING: usize = 32;

pub(super) type Sender = mpsc::Sender<Vec<u8>>;

/// The end that is read.
#[derive(Debug)]
pub(super) struct Reader {
    receiver: mpsc::Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

pub(super) fn pipe() -> (Sender, Reader) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let piece = io::Cursor::default();
    (sender, Reader { receiver, piece })
}

impl Read for Reader {
    /// Blocks, and so is not for a thread of the runtime.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

/// Sends a layer's blob. A download that breaks off is taken up where it was.
pub(super) async fn send(
    client: &Client,
    name: &ImageReference,
    layer: &FoundLayer,
    sender: Sender,
) -> Result<(), Error> {
    let Some(digest) = &layer.digest else {
        return Err(Error::new(ErrorKind::Internal, "a layer without a digest"));
    };
    let what = What::Blob(digest);
    let mut sent = 0_u64;
    let mut failures = 0;
    while sent < layer.size {
        let (mut response, mut left_out) = client.get(name, &what, sent).await?;
        let before = sent;
        let broken = loop {
            match response.chunk().await {
                Ok(Some(bytes)) => {
                    let known = usize::try_from(left_out).unwrap_or(usize::MAX);
                    let known = known.min(bytes.len());
                    left_out = left_out.saturating_sub(known as u64);
                    let bytes = bytes.get(known..).unwrap_or_default();
                    sent = sent.saturating_add(bytes.len() as u64);
                    if sent > layer.size {
                        return Err(Error::new(
                            ErrorKind::Image,
                            "a blob is longer than was announced",
                        ));
                    }
                    if sender.send(bytes.to_vec()).await.is_err() {
                        // The hashing thread has seen enough, and says why.
                        return Ok(());
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if sent == layer.size {
            break;
        }
        failures = if sent > before {
            1
        } else {
            u32::saturating_add(failures, 1)
        };
        client
            .pause_or_give_up(failures, None, || {
                let error = Error::new(
                    ErrorKind::Registry,
                    format!(
                        "{}: the download breaks off after {sent} bytes",
                        name.registry()
                    ),
                );
                match broken {
                    Some(broken) => error.with_source(broken.without_url()),
                    None => error,
                }
            })
            .await?;
    }
    Ok(())
}
