//! Keyring files, and passphrases in files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::{Clock, SecretBytes};

use crate::{Failure, read_secret};

/// A keyring file and how it is protected.
#[derive(Clone, Debug)]
pub struct LocalUri {
    path: PathBuf,
    passphrase_file: Option<PathBuf>,
}

const PASSPHRASE_FILE: &str = "passphrase-file";
/// Longer passphrases are keys, and a file of such a length is a mistake.
const MAX_PASSPHRASE_FILE: usize = 4096;

impl LocalUri {
    /// A keyring file without a passphrase.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            passphrase_file: None,
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let (path, passphrase_file) = match text.split_once('?') {
            Some((path, parameter)) => match parameter.split_once('=') {
                Some((PASSPHRASE_FILE, file)) => (path, Some(PathBuf::from(file))),
                // A typing error must not make a keyring without a passphrase.
                _ => {
                    return Err(Failure::usage(
                        "the keyring has an unknown parameter behind `?`",
                        "the only one is passphrase-file=FILE; a path cannot hold a question mark",
                    ));
                }
            },
            None => (text, None),
        };
        if path.is_empty() || passphrase_file.as_deref() == Some(Path::new("")) {
            return Err(Failure::usage(
                "the provider names no file",
                "give local:PATH or local:PATH?passphrase-file=FILE",
            ));
        }
        Ok(Self {
            path: PathBuf::from(path),
            passphrase_file,
        })
    }

    /// The keyring file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a new keyring; an existing file is left alone and is an error.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file.
    pub fn create(&self, clock: Arc<dyn Clock>) -> Result<LocalProvider, Failure> {
        Ok(LocalProvider::create(&self.path, self.options(clock)?)?)
    }

    /// Opens an existing keyring.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file.
    pub fn open(&self, clock: Arc<dyn Clock>) -> Result<LocalProvider, Failure> {
        Ok(LocalProvider::open(&self.path, self.options(clock)?)?)
    }

    fn options(&self, clock: Arc<dyn Clock>) -> Result<LocalOptions, Failure> {
        let options = LocalOptions::new(clock);
        match &self.passphrase_file {
            Some(file) => Ok(options.with_passphrase(read_passphrase(file)?)),
            None => Ok(options),
        }
    }
}

/// Reads a passphrase: the first line of a file that only its owner can read.
///
/// # Errors
///
/// A [`Failure`] that names the file: it cannot be read, others can read it, or its first line is
/// empty.
pub fn read_passphrase(path: &Path) -> Result<SecretBytes, Failure> {
    check_private(path)?;
    let text = read_secret(path, MAX_PASSPHRASE_FILE)?;
    let line = text
        .expose()
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .next()
        .unwrap_or_default();
    if line.is_empty() {
        return Err(Failure::new(
            "invalid_input",
            format!(
                "the first line of the passphrase file {} is empty",
                path.display()
            ),
            "put the passphrase there",
        ));
    }
    Ok(SecretBytes::copy_from_slice(line))
}

/// A passphrase that others can read protects nothing.
fn check_private(path: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path)
        .map_err(|e| Failure::io(format!("reading the passphrase file {}", path.display()), e))?;
    // A pipe, such as a shell's <(…), belongs to nobody else.
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        return Err(Failure::new(
            "permission_denied",
            format!(
                "others have rights to the passphrase file {}",
                path.display()
            ),
            format!("chmod 600 {}", path.display()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_local_uri_has_a_path_and_perhaps_a_passphrase_file() {
        let uri = LocalUri::parse("/a?passphrase-file=/b").unwrap();
        assert_eq!(uri.path(), Path::new("/a"));
        assert_eq!(uri.passphrase_file.as_deref(), Some(Path::new("/b")));
        for bad in [
            "",
            "?passphrase-file=/b",
            "/a?passphrase-file=",
            "/a?pasphrase-file=/b",
            "/a?",
            "/a?passphrase-file",
        ] {
            assert!(LocalUri::parse(bad).unwrap_err().is_usage(), "{bad:?}");
        }
    }

    #[test]
    fn a_passphrase_is_the_first_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pass");
        std::fs::write(&path, "correct horse\nignored\n").unwrap();
        assert_eq!(
            read_passphrase(&path).unwrap_err().kind(),
            "permission_denied"
        );
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_passphrase(&path).unwrap().expose(), b"correct horse");
        std::fs::write(&path, "\n").unwrap();
        assert!(read_passphrase(&path).is_err());
    }
}
