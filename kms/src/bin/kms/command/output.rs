//! Files that a command writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use kms::Failure;

/// A file that may be written over if it is of the kind that is written, and else must not exist.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Evidence, as `kms key plan-retire --out` writes it.
    Evidence,
    /// A page, as `kms census --html` writes it.
    Page,
}

/// As much of a file as tells its kind.
const HEAD: u64 = 1024;

impl Kind {
    /// Refuses a path that holds something else, before anything else is done.
    pub(super) fn check(self, path: &Path) -> Result<(), Failure> {
        match self.open_existing(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(unwritten(path, error)),
        }
    }

    /// Writes the file.
    pub(super) fn write(self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let written = || {
            let mut file = match self.open_existing(path)? {
                Some(file) => file,
                None => File::create_new(path)?,
            };
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        written().map_err(|error| unwritten(path, error))
    }

    /// Opens what is there; `None` if nothing is.
    fn open_existing(self, path: &Path) -> io::Result<Option<File>> {
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let exists = || io::Error::from_raw_os_error(EEXIST);
        // Of a device or a pipe there is no head to be read.
        if !metadata.is_file() {
            return Err(exists());
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut head = Vec::new();
        let _ = (&file).take(HEAD).read_to_end(&mut head)?;
        if self.is_head(&head) {
            return Ok(Some(file));
        }
        Err(exists())
    }

    fn is_head(self, head: &[u8]) -> bool {
        let text = String::from_utf8_lossy(head);
        match self {
            Self::Evidence => {
                let plain: String = text.split_whitespace().collect();
                plain.starts_with(r#"{"format":"kms-evidence","#)
            }
            Self::Page => {
                text.starts_with("<!doctype html>") && text.contains("<title>Census, revision ")
            }
        }
    }
}

/// `EEXIST`, which reads as it does where a file must be new.
const EEXIST: i32 = 17;

/// A file that must be new: taken at once, and removed unless it is kept.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl NewFile {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create_new(path).map_err(|error| unwritten(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_kept: false,
        })
    }

    /// Writes it. It still goes with this unless it is [kept](Self::keep).
    pub(super) fn write(&mut self, text: &str) -> Result<(), Failure> {
        let mut written = || {
            self.file.write_all(text.as_bytes())?;
            self.file.write_all(b"\n")?;
            self.file.sync_all()
        };
        written().map_err(|error| unwritten(&self.path, error))
    }

    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // It is this command's own, and holds nothing that counts.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn unwritten(path: &Path, error: io::Error) -> Failure {
    Failure::io(format!("writing {}", path.display()), error)
}
