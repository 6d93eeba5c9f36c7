//! The lock file on disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::ImageLock;
use super::lock::MAX_LEN;
use crate::Error;
use crate::file::failed;

impl ImageLock {
    /// Reads a lock file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if it cannot be read, and as [`ImageLock::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&crate::file::read_text(path, MAX_LEN as u64)?)
    }

    /// Changes a lock file, or makes it. Others that change it wait: a file of its name with a dot in
    /// front and `.lock` behind, which stays, is locked meanwhile. The new file replaces the old one in
    /// one step, and only if it differs.
    ///
    /// # Errors
    ///
    /// As [`ImageLock::read`], and [`ErrorKind::Io`](crate::ErrorKind::Io) if it cannot be locked or
    /// written. The old file is then as it was.
    pub fn update<T>(path: &Path, change: impl FnOnce(&mut Self) -> T) -> Result<T, Error> {
        let turn = beside(path, ".lock");
        let cannot_lock = |error| failed("locking", &turn, error);
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true);
        // Given back when it is closed.
        let held = options.open(&turn).map_err(cannot_lock)?;
        held.lock().map_err(cannot_lock)?;
        let (old, is_new) = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Self::default(), true),
            _ => (Self::read(path)?, false),
        };
        let mut new = old.clone();
        let changed = change(&mut new);
        new.check()?;
        if is_new || new != old {
            // Through a link, the file that it leads to is replaced, and not the link.
            let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            replace(&target, new.to_json()?.as_bytes())?;
        }
        Ok(changed)
    }
}

/// Writes a file beside another, and puts it in its place.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let new = beside(path, ".new");
    let written = write(&new, path, bytes).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| {
        // The error says more than that of removing would.
        let _ = fs::remove_file(&new);
        failed("writing", path, error)
    })?;
    // The name is on disk when its directory is; not every system opens directories.
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    if let Ok(directory) = File::open(directory.unwrap_or_else(|| Path::new("."))) {
        let _ = directory.sync_all();
    }
    Ok(())
}

fn write(new: &Path, old: &Path, bytes: &[u8]) -> io::Result<()> {
    // We have the turn: what lies there is of a run that died.
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(new)?;
    if let Ok(metadata) = fs::metadata(old) {
        file.set_permissions(metadata.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// A hidden file beside this one.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let parts = [".".as_ref(), name, ending.as_ref()];
    path.with_file_name(parts.into_iter().collect::<OsString>())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::ErrorKind;
    use crate::image::ImageFacts;

    #[test]
    fn concurrent_changes_all_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("images.lock.json");
        thread::scope(|scope| {
            for index in 0..16 {
                let path = &path;
                scope.spawn(move || {
                    let add = |lock: &mut ImageLock| {
                        lock.insert(format!("image{index}"), ImageFacts::default());
                    };
                    ImageLock::update(path, add).unwrap();
                });
            }
        });
        assert_eq!(ImageLock::read(&path).unwrap().images().count(), 16);
        let mut left: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".images.lock.json.lock", "images.lock.json"]);
    }

    #[test]
    fn a_damaged_file_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("images.lock.json");
        fs::write(&path, "{").unwrap();
        let error = ImageLock::update(&path, |_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image);
        assert_eq!(fs::read(&path).unwrap(), b"{");
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("images.lock.json");
        let add = |lock: &mut ImageLock| lock.insert("NO IMAGE", ImageFacts::default());
        ImageLock::update(&path, add).unwrap_err();
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("real"), directory.path().join("link"));
        ImageLock::update(&path, |_| ()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        let add = |lock: &mut ImageLock| lock.insert("a", ImageFacts::default());
        ImageLock::update(&link, add).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(ImageLock::read(&path).unwrap().images().count(), 1);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
    }
}
