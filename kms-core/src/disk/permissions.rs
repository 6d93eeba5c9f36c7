//! Who may have rights to a file, and to its directory.

use std::fs::{self, File, Metadata};
use std::path::Path;

use super::{Subject, io_error};
use crate::{Error, ErrorKind};

#[cfg(unix)]
pub(super) fn refuse_wide(
    path: &Path,
    subject: &Subject,
    metadata: &Metadata,
) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!("the {subject} file has mode {mode:04o}: others than its owner have rights to it"),
    )
    .with_remedy(format!("chmod 600 {}", path.display())))
}

/// Refuses a directory in which everybody could put a file in the place of ours. Its group
/// is trusted: on many systems each user has one of their own, and directories open to it.
#[cfg(unix)]
pub(super) fn refuse_wide_directory(directory: &Path, subject: &Subject) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(directory).map_err(|source| {
        io_error(
            format!("cannot look at the directory of the {subject}"),
            source,
        )
    })?;
    let mode = metadata.permissions().mode() & 0o7777;
    // Where the sticky bit is set, as in /tmp, nobody can replace the files of another user.
    if mode & 0o002 == 0 || mode & 0o1000 != 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!(
            "the directory of the {subject} has mode {mode:04o}: \
             everybody can replace the {subject} file"
        ),
    )
    .with_remedy(format!("chmod o-w {}", directory.display())))
}

#[cfg(not(unix))]
pub(super) const fn refuse_wide_directory(_: &Path, _: &Subject) -> Result<(), Error> {
    Ok(())
}

#[cfg(not(unix))]
pub(super) const fn refuse_wide(_: &Path, _: &Subject, _: &Metadata) -> Result<(), Error> {
    Ok(())
}

/// Gives a new file the owner and mode of the one it replaces, so that what root changes
/// can still be read by the service that owns it.
#[cfg(unix)]
pub(super) fn keep_owner_and_mode(
    file: &File,
    subject: &Subject,
    old: &Metadata,
) -> Result<(), Error> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let cannot = |source| io_error(format!("cannot look at the new {subject} file"), source);
    let new = file.metadata().map_err(cannot)?;
    let mode = old.permissions().mode() & 0o777;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        let kept = fchown(file, Some(old.uid()), Some(old.gid()));
        // The group is of no consequence while it has no rights.
        if let Err(source) = kept
            && (new.uid() != old.uid() || mode & 0o070 != 0)
        {
            return Err(io_error(
                format!("cannot keep the owner of the {subject} file"),
                source,
            )
            .with_remedy(format!(
                "run this as the owner of the {subject} file, or as root"
            )));
        }
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
        .map_err(|source| {
            io_error(
                format!("cannot keep the mode of the {subject} file"),
                source,
            )
        })
}

#[cfg(not(unix))]
pub(super) const fn keep_owner_and_mode(_: &File, _: &Subject, _: &Metadata) -> Result<(), Error> {
    Ok(())
}
