//! The store.

use core::fmt;
use core::time::Duration;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::FileStateOptions;
use super::frame::{self, STATE};
use crate::disk::{self, Writer};
use crate::state::store::check_len;
use crate::state::{StateStore, StateSwap, StateVersion, VersionedState};
use crate::{CallOptions, Error, ErrorKind, Tick};

/// How long to wait before another writer is looked for again: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(100)];

/// A [`StateStore`] in a file, for programs on one machine.
///
/// # How it keeps the contract
///
/// A writer locks the file `PATH.lock`, which stays where it is, reads the state again under the
/// lock, writes a new file beside the old one with mode 0600, syncs it, renames it over the old one
/// and syncs the directory. So a reader, who takes no lock, finds the old state or the new one, and
/// so does whoever comes after a crash. A reader syncs what it has read before it returns it: the
/// writer may not have got that far. Locks and renames are those of a local file system. If the
/// path is a symbolic link, its target is replaced.
///
/// Waiting for another writer is asynchronous. Reading and writing are not: they block the thread
/// for as long as the disk takes, milliseconds as a rule.
///
/// Only the owner may have rights to the file, and not everybody may write to its directory; see
/// [`FileStateOptions::wide_permissions`].
///
/// # The file
///
/// ```text
/// kms state file, format 1
/// version 00000000000000000017      20 digits; greater by one with each swap
/// length 0001234                    of the state, in bytes; 7 digits
/// sha256 …                          64 lower-case hexadecimal digits, over "kms state file v1" ‖
///                                   version, u64 big-endian ‖ state
///
/// …                                 the state
/// ```
///
/// Lines end with a line feed; there is no other spelling. A file that is torn, was changed or is
/// not ours is [`ErrorKind::Corrupt`], and is neither taken for none nor written over. The digest is
/// against accidents, not against forgery.
///
/// The first version of a new file is a random number of 48 bits: when somebody has removed the file
/// and another program has made it again, no swap that was made for the old one fits the new one.
#[derive(Debug)]
pub struct FileStateStore {
    path: PathBuf,
    options: FileStateOptions,
}

impl FileStateStore {
    /// The state in the file at `path`, which need not be there yet; its directory must be.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, options: FileStateOptions) -> Self {
        Self {
            path: path.into(),
            options,
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn named(&self, error: Error) -> Error {
        error.with_provider(self.to_string())
    }

    fn read(&self) -> Result<Option<VersionedState>, Error> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A mistyped directory must not look like a rotation that has not begun.
                disk::find_directory(&self.path, &STATE)?;
                return Ok(None);
            }
            _ => {}
        }
        let contents = disk::read(&self.path, &STATE, self.options.wide_permissions)?;
        let state = frame::parse(&contents.bytes)?;
        contents.make_durable(&*self.options.disk)?;
        Ok(Some(state))
    }

    fn try_swap(
        &self,
        expected: Option<StateVersion>,
        bytes: &[u8],
    ) -> Result<Option<StateSwap>, Error> {
        let options = &self.options;
        let disk = Arc::clone(&options.disk);
        let writer = Writer::if_free(&self.path, &STATE, options.wide_permissions, disk)?;
        let Some(writer) = writer else {
            return Ok(None);
        };
        let current = self.read()?.map(|state| state.version);
        if current != expected {
            return Ok(Some(StateSwap::Changed { current }));
        }
        let version = match current {
            Some(current) => next(current)?,
            None => self.first()?,
        };
        let file = frame::render(version, bytes);
        match current {
            Some(_) => writer.replace(&file)?,
            None => writer.create(&file)?,
        }
        Ok(Some(StateSwap::Swapped { version }))
    }

    fn first(&self) -> Result<StateVersion, Error> {
        let mut random = [0; 8];
        let [_, _, low @ ..] = &mut random;
        self.options.random.fill(low)?;
        next(StateVersion::new(u64::from_be_bytes(random)))
    }

    /// When to stop waiting for another writer.
    fn deadline(&self, options: &CallOptions) -> Tick {
        let patience = self.options.clock.now() + self.options.patience;
        options
            .deadline
            .map_or(patience, |deadline| deadline.min(patience))
    }
}

fn next(version: StateVersion) -> Result<StateVersion, Error> {
    match version.get().checked_add(1) {
        Some(number) => Ok(StateVersion::new(number)),
        None => Err(Error::new(
            ErrorKind::Internal,
            "the state ran out of versions",
        )),
    }
}

/// A path may hold what a terminal must not see.
impl fmt::Display for FileStateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display().to_string();
        write!(f, "file:{}", path.replace(char::is_control, "\u{fffd}"))
    }
}

#[async_trait]
impl StateStore for FileStateStore {
    async fn load(&self, _options: &CallOptions) -> Result<Option<VersionedState>, Error> {
        self.read().map_err(|error| self.named(error))
    }

    /// [`ErrorKind::Unavailable`] if another writer does not come to an end in time; then nothing
    /// happened.
    async fn swap(
        &self,
        expected: Option<StateVersion>,
        bytes: &[u8],
        options: &CallOptions,
    ) -> Result<StateSwap, Error> {
        check_len(bytes).map_err(|error| self.named(error))?;
        let clock = &self.options.clock;
        let deadline = self.deadline(options);
        let [mut pause, longest] = PAUSES;
        loop {
            let outcome = self.try_swap(expected, bytes);
            if let Some(outcome) = outcome.map_err(|error| self.named(error))? {
                return Ok(outcome);
            }
            let now = clock.now();
            if now >= deadline {
                let busy = Error::new(
                    ErrorKind::Unavailable,
                    "another process is writing the state file and does not come to an end",
                );
                return Err(self.named(busy.with_remedy(
                    "look which process has the file PATH.lock open, and why it does not go on",
                )));
            }
            clock.sleep_until((now + pause).min(deadline)).await;
            pause = pause.saturating_mul(2).min(longest);
        }
    }
}

#[cfg(test)]
mod tests;
