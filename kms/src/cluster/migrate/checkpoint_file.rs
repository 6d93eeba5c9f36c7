//! A checkpoint in a file.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use kms_envelope::reencrypt::{ApiMigration, Checkpoint, CheckpointStore};
use kms_envelope::{Error, ErrorKind};
use tempfile::NamedTempFile;

/// Keeps a checkpoint in a file, which is replaced as a whole and synced.
///
/// A file that holds something else is not overwritten.
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    /// Whether these bytes are a checkpoint of the kind that is kept here.
    recognises: fn(&[u8]) -> bool,
    /// Whether what lies there is known to be a checkpoint, or nothing.
    is_ours: AtomicBool,
}

impl CheckpointFile {
    /// A checkpoint of a migration over a store in this file, which need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::recognising(path.into(), |bytes| Checkpoint::parse(bytes).is_ok())
    }

    /// A checkpoint of a migration through the API in this file, which need not exist.
    #[must_use]
    pub fn of_api_migration(path: impl Into<PathBuf>) -> Self {
        Self::recognising(path.into(), ApiMigration::is_checkpoint)
    }

    fn recognising(path: PathBuf, recognises: fn(&[u8]) -> bool) -> Self {
        Self {
            path,
            recognises,
            is_ours: AtomicBool::new(false),
        }
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        let cause = kms_core::Error::new(kms_core::ErrorKind::Io, error.to_string());
        let path = self.path.display();
        Error::provider(
            format!("{what} the checkpoint {path}"),
            cause.with_source(error),
        )
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| self.failed(what, error))
    }
}

#[async_trait]
impl CheckpointStore for CheckpointFile {
    async fn load(&self) -> Result<Option<Vec<u8>>, Error> {
        self.blocking("reading", read).await
    }

    async fn save(&self, bytes: &[u8]) -> Result<(), Error> {
        if !self.is_ours.load(Ordering::Relaxed) {
            let is_foreign = self
                .load()
                .await?
                .is_some_and(|found| !(self.recognises)(&found));
            if is_foreign {
                return Err(Error::new(
                    ErrorKind::Checkpoint,
                    format!(
                        "{} holds no checkpoint of such a migration, and is not overwritten",
                        self.path.display()
                    ),
                ));
            }
            self.is_ours.store(true, Ordering::Relaxed);
        }
        let bytes = bytes.to_vec();
        self.blocking("writing", move |path| replace(path, &bytes))
            .await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.blocking("removing", |path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    // One byte more than there may be, so that what is too long is seen to be.
    let most = u64::try_from(Checkpoint::MAX_LEN).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKPOINT: &[u8] = br#"{"version": 1, "migration": {"cluster": "etcd 01",
        "scope": {"etcd_prefix": "/registry", "resources": [], "namespaces": []},
        "selector": "current", "targets": [], "renew": false}, "began_at_revision": 1,
        "cursor": null, "pass": 1, "counts": {"scanned": 0, "objects": 0, "right": 0,
        "rewritten": 0, "by_others": 0, "would_rewrite": 0, "gone": 0, "left": 0, "conflicts": 0}}"#;

    #[tokio::test]
    async fn it_is_kept_replaced_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint.json");
        let kept = CheckpointFile::new(&path);
        assert_eq!(kept.load().await.unwrap(), None);
        kept.save(CHECKPOINT).await.unwrap();
        kept.save(CHECKPOINT).await.unwrap();
        assert_eq!(kept.load().await.unwrap().unwrap(), CHECKPOINT);
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        // Another process may go on with it.
        CheckpointFile::new(&path).save(CHECKPOINT).await.unwrap();
        kept.clear().await.unwrap();
        kept.clear().await.unwrap();
        assert_eq!(kept.load().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_file_that_is_no_checkpoint_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thesis.txt");
        let another_kind = CHECKPOINT;
        for (kept, found) in [
            (CheckpointFile::new(&path), &b"three years of work"[..]),
            (CheckpointFile::of_api_migration(&path), another_kind),
        ] {
            fs::write(&path, found).unwrap();
            let error = kept.save(CHECKPOINT).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Checkpoint);
            assert!(error.message().contains("thesis.txt"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), found);
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let kept = CheckpointFile::new(directory.path().join("none/checkpoint.json"));
        let error = kept.save(CHECKPOINT).await.unwrap_err();
        assert!(error.message().contains("none/checkpoint.json"), "{error}");
        assert!(!error.is_retryable());
    }
}
