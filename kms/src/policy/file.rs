//! A file changed as a whole.

use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::Failure;

/// Puts another text in the place of a file's: the whole of it or nothing. Its mode stays, and a
/// symbolic link to it too.
///
/// # Errors
///
/// A [`Failure`] that names the file.
pub fn replace_text(path: &Path, text: &str) -> Result<(), Failure> {
    replace(path, text).map_err(|error| Failure::io(format!("writing {}", path.display()), error))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let permissions = path.metadata()?.permissions();
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}
