//! `LocalProvider` from outside: on disk, between processes, and as a `KeyProvider`.

mod conformance;
mod copies;
mod disk;
mod life;
mod processes;
mod vectors;
mod wrapping;

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use kms_core::local::{LocalOptions, LocalProvider, PassphraseCost};
use kms_core::{
    CallOptions, Clock as _, Error, ErrorKind, KeyId, KeyProvider as _, SecretBytes, UnwrapOptions,
    WrapOptions, WrappedKey,
};
use kms_testkit::ManualClock;

/// A directory of its own, and what to do with a keyring in it.
struct Place {
    directory: tempfile::TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keyring.json")
    }

    fn options(&self) -> LocalOptions {
        LocalOptions::new(Arc::new(self.clock.clone()))
    }

    /// With a passphrase that costs next to nothing.
    fn locked(&self, passphrase: &str) -> LocalOptions {
        self.options()
            .with_passphrase(secret(passphrase))
            .with_passphrase_cost(cheap())
    }

    /// Sets the date back, as an administrator or a bad time server may.
    fn set_back(&self, by: Duration) {
        self.clock.set_wall_time(self.clock.wall_time() - by);
    }

    fn create(&self) -> LocalProvider {
        LocalProvider::create(self.path(), self.options()).unwrap()
    }

    fn open(&self) -> Result<LocalProvider, Error> {
        LocalProvider::open(self.path(), self.options())
    }

    /// The names of all files but the keyring and its lock.
    fn strays(&self) -> Vec<String> {
        std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "keyring.json" && name != "keyring.json.lock")
            .collect()
    }
}

fn secret(text: &str) -> SecretBytes {
    SecretBytes::copy_from_slice(text.as_bytes())
}

fn cheap() -> PassphraseCost {
    PassphraseCost::new(8, 1, 1).unwrap()
}

/// Runs one call of a provider that never waits.
fn now<T>(call: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(call).expect("a local provider never waits")
}

fn wrap(provider: &LocalProvider, dek: &str) -> Result<WrappedKey, Error> {
    now(provider.wrap(&secret(dek), &WrapOptions::default()))
}

fn unwrap(provider: &LocalProvider, wrapped: &WrappedKey) -> Result<SecretBytes, Error> {
    now(provider.unwrap(wrapped, &UnwrapOptions::default()))
}

fn current(provider: &LocalProvider) -> Result<KeyId, Error> {
    now(provider.current_key(&CallOptions::default())).map(|info| info.id)
}

fn kind<T: core::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// An id of the same keyring, for another version of the same fingerprint.
fn sibling(id: &KeyId, version: &str) -> String {
    let (keyring, key) = id.as_str().rsplit_once('/').unwrap();
    let (_, fingerprint) = key.split_once('-').unwrap();
    format!("{keyring}/{version}-{fingerprint}")
}
