//! Where a client secret or certificate comes from.

use core::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kms_core::{Error, ErrorKind, SecretBytes};

/// A chain of certificates with its key is some KiB.
const MAX_FILE: u64 = 64 * 1024;

/// A secret, or the file it stands in. A file is read for every new token, so that a renewed
/// secret or certificate is used without a restart.
#[derive(Clone)]
pub struct SecretSource(Source);

#[derive(Clone)]
enum Source {
    Given(Arc<SecretBytes>),
    File(PathBuf),
}

impl SecretSource {
    /// The secret itself.
    #[must_use]
    pub fn given(secret: SecretBytes) -> Self {
        Self(Source::Given(Arc::new(secret)))
    }

    /// A file, of 64 KiB at most.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    pub(super) fn read(&self) -> Result<Arc<SecretBytes>, Error> {
        match &self.0 {
            Source::Given(secret) => Ok(Arc::clone(secret)),
            Source::File(path) => read_file(path).map(Arc::new),
        }
    }
}

fn read_file(path: &Path) -> Result<SecretBytes, Error> {
    let reading = |source| {
        Error::new(
            ErrorKind::Io,
            format!("the credential file {} cannot be read", path.display()),
        )
        .with_source(source)
    };
    let file = File::open(path).map_err(reading)?;
    // Of the greatest size from the start, so that no part is left behind when a buffer grows.
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(64 * 1024 + 1));
    let read = file
        .take(MAX_FILE.saturating_add(1))
        .read_to_end(&mut bytes);
    read.map_err(reading)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE) {
        Ok(SecretBytes::copy_from_slice(&bytes))
    } else {
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the credential file {} is over 64 KiB", path.display()),
        ))
    }
}

/// Without the secret.
impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Given(_) => f.write_str("given"),
            Source::File(path) => write!(f, "file {}", path.display()),
        }
    }
}
