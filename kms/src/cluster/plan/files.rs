//! The files of a plan.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use kms_envelope::kubernetes::plan::{Action, Plan};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::Failure;

/// A file that was written for a step.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PlannedFile {
    /// The number of the step, from 1.
    pub step: usize,
    /// Where it is.
    pub path: PathBuf,
}

/// Writes the file of each step that has one, such as `1-add-readers.yaml`, for its owner alone.
/// The last one is `target` to the letter where that means the same.
///
/// The directory is made if it is not there, for its owner alone. No file is overwritten.
///
/// # Errors
///
/// A [`Failure`] that names the file. Files that were written before stay.
pub fn write_files(
    plan: &Plan,
    directory: &Path,
    target: &str,
) -> Result<Vec<PlannedFile>, Failure> {
    let failed = |path: &Path| {
        let what = format!("writing {}", path.display());
        move |error| Failure::io(what, error)
    };
    if !directory.is_dir() {
        let mut builder = DirBuilder::new();
        builder
            .mode(0o700)
            .create(directory)
            .map_err(failed(directory))?;
    }
    let mut written = Vec::new();
    for (number, step) in (1..).zip(&plan.steps) {
        let Action::Configure(file) = &step.action else {
            continue;
        };
        let text = match file.is_target {
            true => target.as_bytes(),
            false => file.text.expose(),
        };
        let path = directory.join(format!("{number}-{}.yaml", step.purpose));
        write_new(directory, &path, text).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                Failure::new(
                    "conflict",
                    format!("{} is there already", path.display()),
                    "give an empty directory; files of another plan must not be mistaken for these",
                )
            } else {
                failed(&path)(error)
            }
        })?;
        written.push(PlannedFile { step: number, path });
    }
    // So that the names outlive a crash, too.
    fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed(directory))?;
    Ok(written)
}

/// The whole file or none. A temporary file has mode 0600 from the first moment on.
fn write_new(directory: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    Ok(())
}
