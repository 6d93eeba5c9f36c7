//! Reading files of bounded length.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::{Error, ErrorKind};

/// Reads a whole file of UTF-8.
pub(crate) fn read_text(path: &Path, max_len: u64) -> Result<String, Error> {
    let unread = |error| failed("reading", path, error);
    let file = File::open(path).map_err(unread)?;
    let mut text = String::new();
    let mut bounded = file.take(max_len.saturating_add(1));
    bounded.read_to_string(&mut text).map_err(unread)?;
    if text.len() as u64 > max_len {
        let message = format!("{} is over {max_len} bytes", path.display());
        return Err(Error::new(ErrorKind::Io, message));
    }
    Ok(text)
}

pub(crate) fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let message = format!("{what} {}: {error}", path.display());
    Error::new(ErrorKind::Io, message).with_source(error)
}
