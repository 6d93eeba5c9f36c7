//! Bytes at a place: of a file, or in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use ring::digest;

/// What a database is read from. Reading moves no cursor, so readers do not disturb each other.
pub(super) enum Storage {
    File(File),
    Memory(Arc<[u8]>),
}

impl Storage {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_file() {
            Ok(Self::File(file))
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "is no regular file",
            ))
        }
    }

    /// In bytes.
    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Fills all of `buffer`.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(buffer, offset),
            Self::Memory(bytes) => {
                let found = usize::try_from(offset)
                    .ok()
                    .and_then(|start| bytes.get(start..)?.get(..buffer.len()))
                    .ok_or(io::ErrorKind::UnexpectedEof)?;
                buffer.copy_from_slice(found);
                Ok(())
            }
        }
    }

    /// SHA-256 over the first `len` bytes.
    pub(super) fn sha256(&self, len: u64) -> io::Result<digest::Digest> {
        const CHUNK: u64 = 256 * 1024;
        let mut context = digest::Context::new(&digest::SHA256);
        let mut buffer = vec![0; usize::try_from(CHUNK.min(len)).unwrap_or(0)];
        let mut offset = 0_u64;
        while offset < len {
            let take = CHUNK.min(len.saturating_sub(offset));
            let part = usize::try_from(take)
                .ok()
                .and_then(|take| buffer.get_mut(..take))
                .ok_or(io::ErrorKind::InvalidInput)?;
            self.read_exact_at(part, offset)?;
            context.update(part);
            offset = offset.saturating_add(take);
        }
        Ok(context.finish())
    }
}
