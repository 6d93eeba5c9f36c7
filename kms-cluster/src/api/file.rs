//! Small files that may hold secrets.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use kms_core::{Error, ErrorKind};
use zeroize::Zeroizing;

/// The longest token, certificate or key, in bytes: a chain of certificates is some KiB, and no
/// token fits in a request beyond this.
pub(super) const MAX_CREDENTIAL_LEN: usize = 64 * 1024;

/// Reads a file of at most `most` bytes; `what` names it in errors.
pub(super) fn read(path: &Path, most: usize, what: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |source| {
        Error::new(
            ErrorKind::Io,
            format!("{what} {} cannot be read", path.display()),
        )
        .with_source(source)
    };
    let file = File::open(path).map_err(failed)?;
    // Nothing is left behind by a buffer that grows, except where the length is not to be had.
    let expected = usize::try_from(file.metadata().map_err(failed)?.len()).unwrap_or(most);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected.min(most).saturating_add(64)));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > most {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("{what} {} is over {most} bytes", path.display()),
        )
        .with_remedy("give the right file"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_bounded_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(&**read(&path, 5, "the file").unwrap(), b"12345");
        let error = read(&path, 4, "the file").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("token"), "{error}");
        let error = read(&folder.path().join("none"), 4, "the file").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.message().contains("none"), "{error}");
    }
}
