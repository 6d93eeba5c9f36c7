//! Where quickstart works.

use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::Failure;

/// Where files go: a directory of the caller's, or a temporary one that is removed at the end.
pub(super) enum Place {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Place {
    pub(super) fn prepare(dir: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(dir) = dir else {
            return tempfile::Builder::new()
                .prefix("kms-quickstart-")
                .permissions(Permissions::from_mode(0o700))
                .tempdir()
                .map(Self::Temporary)
                .map_err(|e| Failure::io("making a directory", e));
        };
        let reading = |e| Failure::io(format!("making {}", dir.display()), e);
        // Nobody else may write there, whatever the umask: a keyring will be in it.
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(reading)?;
        if std::fs::read_dir(&dir).map_err(reading)?.next().is_some() {
            return Err(Failure::new(
                "conflict",
                format!("the directory {} is not empty", dir.display()),
                "give a new or empty one: nothing is overwritten here",
            ));
        }
        // An absolute path makes the printed commands work anywhere.
        std::path::absolute(&dir).map(Self::Given).map_err(reading)
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }

    pub(super) const fn stays(&self) -> bool {
        matches!(self, Self::Given(_))
    }
}
