//! The provider over a keyring file.

use core::fmt;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::check::unlock;
use super::document::{self, Parsed};
use super::id::KeyringId;
use super::options::LocalOptions;
use super::protect::{PassphraseCost, PassphraseKeys, Protection};
use super::state::{KEY_LEN, Keyring, KeyringVersion, Life, Material, millis_of};
use super::wrap;
use crate::disk::{self, Disk, Pin, Writer};
use crate::{
    CallOptions, Capabilities, Clock, ContextSupport, Error, ErrorKind, KeyId, KeyInfo,
    KeyProvider, SecretBytes, SecureRandom, UnwrapOptions, WrapOptions, WrappedKey,
};

/// The embedded key provider: AES-256-GCM under the keys of a keyring file.
///
/// See the [module documentation](super) for what it protects against, its file, and how several
/// processes share one.
///
/// The methods that change the keyring are synchronous: they wait for other writers and for the
/// disk, so an async program calls them from a blocking thread. The methods of
/// [`KeyProvider`] look at the file's metadata, read it again only if it changed, and never derive
/// a key from a passphrase.
pub struct LocalProvider {
    path: PathBuf,
    name: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    min_grace: Duration,
    wide_permissions: bool,
    disk: Arc<dyn Disk>,
    served: Mutex<Served>,
}

/// What is served, and how fresh it is.
struct Served {
    keyring: Arc<Keyring>,
    protection: Arc<Protection>,
    digest: [u8; 32],
    pin: Pin,
}

impl LocalProvider {
    /// Creates a keyring with one fresh key, in a file that only its owner can read, and opens it.
    ///
    /// Takes as long as [`LocalOptions::passphrase_cost`] says if there is a passphrase.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if there is anything at the path already (it is left as it is),
    /// or the passphrase is empty or too long; [`ErrorKind::PermissionDenied`] if others than its
    /// owner can write to the directory, unless it is sticky as `/tmp` is; [`ErrorKind::Io`] if
    /// the file cannot be written.
    pub fn create(path: impl Into<PathBuf>, options: LocalOptions) -> Result<Self, Error> {
        let path = path.into();
        let name = name_of(&path);
        Self::create_at(path, options).map_err(|error| error.with_provider(name))
    }

    fn create_at(path: PathBuf, options: LocalOptions) -> Result<Self, Error> {
        let random = &*options.random;
        let protection =
            protection_of(options.passphrase.as_ref(), options.passphrase_cost, random)?;
        let mut id = [0; 16];
        random.fill(&mut id)?;
        let id = KeyringId::from_bytes(id);
        let first = protection.seal(SecretBytes::random(random, KEY_LEN)?, id, 1, random)?;
        let now_ms = millis_of(options.clock.wall_time());
        let keyring = Keyring::new(id, first, false, now_ms);
        let writer = Writer::for_new(
            &path,
            &document::KEYRING,
            options.wide_permissions,
            Arc::clone(&options.disk),
        )?;
        writer.create(&document::render(&keyring, &protection)?)?;
        // Read back what the disk has, under the same lock.
        Self::load(path, options, |_| Ok(protection))
    }

    /// Opens a keyring.
    ///
    /// Takes as long as its passphrase costs, if it has one. The passphrase is not kept.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if the file is torn or tampered with; [`ErrorKind::Unauthenticated`]
    /// if the passphrase is wrong or missing; [`ErrorKind::InvalidInput`] if one is given and the
    /// keyring has none; [`ErrorKind::PermissionDenied`] if others than its owner have rights to
    /// the file, or can write to its directory and that is not sticky; [`ErrorKind::Unsupported`] if a newer version of this software wrote it;
    /// [`ErrorKind::Io`] if it is not there or cannot be read.
    pub fn open(path: impl Into<PathBuf>, mut options: LocalOptions) -> Result<Self, Error> {
        let path = path.into();
        let name = name_of(&path);
        let passphrase = options.passphrase.take();
        Self::load(path, options, |parsed| unlock(parsed, passphrase.as_ref()))
            .map_err(|error| error.with_provider(name))
    }

    fn load(
        path: PathBuf,
        options: LocalOptions,
        unlock: impl FnOnce(&Parsed) -> Result<Protection, Error>,
    ) -> Result<Self, Error> {
        let contents = disk::read(&path, &document::KEYRING, options.wide_permissions)?;
        let parsed = document::parse(&contents.bytes)?;
        let protection = unlock(&parsed)?;
        let keyring = parsed.open(&protection)?;
        contents.make_durable(&*options.disk)?;
        Ok(Self {
            name: name_of(&path),
            path,
            clock: options.clock,
            random: options.random,
            min_grace: options.min_grace,
            wide_permissions: options.wide_permissions,
            disk: options.disk,
            served: Mutex::new(Served {
                keyring: Arc::new(keyring),
                protection: Arc::new(protection),
                digest: parsed.digest(),
                pin: contents.pin,
            }),
        })
    }

    /// Where the keyring file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Describes every version, oldest first, destroyed ones included.
    ///
    /// # Errors
    ///
    /// The fault of the file, if it cannot be read any more.
    pub fn list(&self) -> Result<Vec<KeyringVersion>, Error> {
        self.named(self.fresh().and_then(|keyring| keyring.describe_all()))
    }

    /// Reads the file now, changed or not, and says whether it is in order.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`], [`ErrorKind::Io`], [`ErrorKind::PermissionDenied`] and
    /// [`ErrorKind::Unsupported`] as in [`open`](Self::open); [`ErrorKind::Corrupt`] also if the
    /// file is another keyring or an older state than the one served;
    /// [`ErrorKind::Unauthenticated`] if its passphrase was changed since. What was served is
    /// served on.
    pub fn reload(&self) -> Result<(), Error> {
        let mut served = self.served();
        self.named(self.read_again(&mut served))
    }

    /// Adds a version with a fresh key, which becomes the current one. The former one still
    /// unwraps.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the keyring holds 10,000 versions; the errors of
    /// [`reload`](Self::reload), and then nothing is written; [`ErrorKind::Io`] if the file cannot
    /// be written, or if it is in place and its directory cannot be synced: then the change may or
    /// may not survive a power failure, and nothing here uses it until a sync has succeeded.
    pub fn rotate(&self) -> Result<KeyringVersion, Error> {
        let key = SecretBytes::random(&*self.random, KEY_LEN);
        self.named(key.and_then(|key| self.add(key, false)))
    }

    /// Adds a version with a key that was made elsewhere, 32 bytes, which becomes the current one.
    ///
    /// Its id is one of this keyring like any other, so it opens nothing that was wrapped with the
    /// same key elsewhere.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is not 32 bytes long, or is in the keyring already;
    /// otherwise as [`rotate`](Self::rotate).
    pub fn import(&self, key: SecretBytes) -> Result<KeyringVersion, Error> {
        if key.len() == KEY_LEN {
            self.named(self.add(key, true))
        } else {
            self.named(Err(Error::new(
                ErrorKind::InvalidInput,
                "the key to import is not 32 bytes long",
            )))
        }
    }

    fn add(&self, key: SecretBytes, imported: bool) -> Result<KeyringVersion, Error> {
        self.edit(|keyring, protection, now_ms| {
            let number = keyring.next_number()?;
            let material = protection.seal(key, keyring.id, number, &*self.random)?;
            let number = keyring.add(material, imported, now_ms)?;
            keyring.describe(keyring.version(number)?)
        })
    }

    /// Switches a version off: it does not unwrap until it is enabled again.
    ///
    /// A good first step before it is destroyed, since what still needs it fails while there is a
    /// way back. But **silence proves nothing** at first: programs that keep unwrapped DEKs go on
    /// opening data without asking. A KMS plugin's cache may do so for ten minutes, kube-apiserver
    /// for a day or longer. Only when each of them has restarted and read what it stores does
    /// silence mean that nothing needs the version; a census of the stored data says it better.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is the current version (rotate first) or its destruction
    /// is scheduled; [`ErrorKind::KeyDestroyed`]; [`ErrorKind::KeyNotFound`]; otherwise as
    /// [`rotate`](Self::rotate).
    pub fn disable(&self, version: u32) -> Result<KeyringVersion, Error> {
        self.change(version, |keyring, now_ms| keyring.disable(version, now_ms))
    }

    /// Switches a version on again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if its destruction is scheduled (cancel that first);
    /// [`ErrorKind::KeyDestroyed`]; [`ErrorKind::KeyNotFound`]; otherwise as
    /// [`rotate`](Self::rotate).
    pub fn enable(&self, version: u32) -> Result<KeyringVersion, Error> {
        self.change(version, |keyring, now_ms| keyring.enable(version, now_ms))
    }

    /// Takes a version out of use at once, and marks it to be destroyed when `grace` is over.
    ///
    /// The grace period is counted from the later of the clock and the last change of the keyring,
    /// so a clock that is behind does not make it shorter. Nothing is destroyed until
    /// [`destroy_due`](Self::destroy_due) is called.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the grace period is under [`LocalOptions::min_grace`] or
    /// ends after the year 9999, if it is the current version (rotate first), or if its
    /// destruction is scheduled already; [`ErrorKind::KeyDestroyed`]; [`ErrorKind::KeyNotFound`];
    /// otherwise as [`rotate`](Self::rotate).
    pub fn schedule_destruction(
        &self,
        version: u32,
        grace: Duration,
    ) -> Result<KeyringVersion, Error> {
        if grace < self.min_grace {
            return self.named(Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "the grace period of {} s is under the least, {} s",
                    grace.as_secs(),
                    self.min_grace.as_secs()
                ),
            )));
        }
        self.change(version, |keyring, now_ms| {
            keyring.schedule_destruction(version, grace, now_ms)
        })
    }

    /// Saves a version that is to be destroyed, even after its grace period if it still has its
    /// key. It is disabled then; enable it to use it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if no destruction is scheduled; [`ErrorKind::KeyDestroyed`] if
    /// it is too late; [`ErrorKind::KeyNotFound`]; otherwise as [`rotate`](Self::rotate).
    pub fn cancel_destruction(&self, version: u32) -> Result<KeyringVersion, Error> {
        self.change(version, |keyring, now_ms| {
            keyring.cancel_destruction(version, now_ms)
        })
    }

    /// Destroys the versions whose grace period is over, and describes them. What they wrapped can
    /// never be opened again; their numbers stay taken.
    ///
    /// The keys leave the memory and the file. The file system, its snapshots and backups may
    /// still hold the old file.
    ///
    /// # Errors
    ///
    /// As [`rotate`](Self::rotate).
    pub fn destroy_due(&self) -> Result<Vec<KeyringVersion>, Error> {
        self.named(self.edit(|keyring, _, now_ms| {
            keyring
                .destroy_due(now_ms)?
                .into_iter()
                .map(|number| keyring.describe(keyring.version(number)?))
                .collect()
        }))
    }

    /// Puts the keyring under another passphrase, under one for the first time, or with `None`
    /// under none. The keys and their ids stay.
    ///
    /// Other processes that have the keyring open report [`ErrorKind::Unauthenticated`] until they
    /// open it again, and unwrap meanwhile. The old passphrase still opens older copies of the
    /// file; if it has leaked, rotate as well.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the passphrase is empty or over 1,024 bytes; otherwise as
    /// [`rotate`](Self::rotate). If the directory cannot be synced, open the keyring again: with
    /// the new passphrase, or the old one if the change has not survived.
    pub fn change_passphrase(
        &self,
        passphrase: Option<&SecretBytes>,
        cost: PassphraseCost,
    ) -> Result<(), Error> {
        self.named(self.protect(passphrase, cost))
    }

    fn protect(&self, passphrase: Option<&SecretBytes>, cost: PassphraseCost) -> Result<(), Error> {
        let protection = protection_of(passphrase, cost, &*self.random)?;
        let writer = Writer::for_existing(&self.path, &document::KEYRING, Arc::clone(&self.disk))?;
        // Held until the new keys are in place: nobody here may see the file without them.
        let mut served = self.served();
        self.read_again(&mut served)?;
        let mut next = Keyring::clone(&served.keyring);
        for version in &mut next.versions {
            let number = version.number;
            let again = |old: &Material| {
                let key = SecretBytes::copy_from_slice(old.key.expose());
                protection
                    .seal(key, served.keyring.id, number, &*self.random)
                    .map(Arc::new)
            };
            version.life = match &version.life {
                Life::Enabled(old) => Life::Enabled(again(old)?),
                Life::Disabled(old) => Life::Disabled(again(old)?),
                Life::PendingDestruction { material, due_ms } => Life::PendingDestruction {
                    material: again(material)?,
                    due_ms: *due_ms,
                },
                Life::Destroyed => Life::Destroyed,
            };
        }
        next.touch(millis_of(self.clock.wall_time()))?;
        let written = writer.replace(&document::render(&next, &protection)?);
        let adopted = self.adopt(&mut served, Arc::new(protection));
        written.and(adopted)
    }

    /// Changes one version.
    fn change(
        &self,
        version: u32,
        change: impl FnOnce(&mut Keyring, u64) -> Result<(), Error>,
    ) -> Result<KeyringVersion, Error> {
        self.named(self.edit(|keyring, _, now_ms| {
            change(keyring, now_ms)?;
            keyring.describe(keyring.version(version)?)
        }))
    }

    /// Reads, changes and writes under the lock that all writers take.
    fn edit<T>(
        &self,
        change: impl FnOnce(&mut Keyring, &Protection, u64) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let writer = Writer::for_existing(&self.path, &document::KEYRING, Arc::clone(&self.disk))?;
        let (keyring, protection) = {
            let mut served = self.served();
            self.read_again(&mut served)?;
            (Arc::clone(&served.keyring), Arc::clone(&served.protection))
        };
        // From here to the end wrapping goes on: the disk may take its time.
        let mut next = Keyring::clone(&keyring);
        let now_ms = millis_of(self.clock.wall_time());
        let outcome = change(&mut next, &protection, now_ms)?;
        if next.revision != keyring.revision {
            let written = writer.replace(&document::render(&next, &protection)?);
            // Even if that failed, there may be a new file; then it is taken over as a reader would.
            let adopted = self.read_again(&mut self.served());
            written.and(adopted)?;
        }
        Ok(outcome)
    }

    /// The keyring as the file has it now.
    fn fresh(&self) -> Result<Arc<Keyring>, Error> {
        let (keyring, fault) = self.look();
        fault.map_or(Ok(keyring), Err)
    }

    /// The newest keyring that could be read, and why the file cannot be if it cannot.
    fn look(&self) -> (Arc<Keyring>, Option<Error>) {
        let mut served = self.served();
        // A file at fault is not the pinned one, so it is tried again each time.
        let fault = if served.pin.is_current(&self.path) {
            None
        } else {
            self.read_again(&mut served).err()
        };
        (Arc::clone(&served.keyring), fault)
    }

    /// Serves what the file holds; if it cannot, what was served stays.
    fn read_again(&self, served: &mut Served) -> Result<(), Error> {
        let protection = Arc::clone(&served.protection);
        self.adopt(served, protection)
    }

    /// As [`read_again`](Self::read_again), for a file that is under this protection.
    fn adopt(&self, served: &mut Served, protection: Arc<Protection>) -> Result<(), Error> {
        let contents = disk::read(&self.path, &document::KEYRING, self.wide_permissions)?;
        let parsed = document::parse(&contents.bytes)?;
        if parsed.id() != served.keyring.id {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the keyring file was replaced by another keyring",
            )
            .with_remedy("put the file back; if the other one is meant, start again with it"));
        }
        if parsed.lock() != protection.lock() {
            return Err(Error::new(
                ErrorKind::Unauthenticated,
                "the passphrase of the keyring was changed, set or removed",
            )
            .with_remedy("open the keyring again with the passphrase it has now"));
        }
        let keyring = parsed.open(&protection)?;
        let older = keyring.revision < served.keyring.revision
            || (keyring.revision == served.keyring.revision && parsed.digest() != served.digest);
        if older || !keyring.continues(&served.keyring) {
            // What was wrapped here since would not open with it.
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "the keyring file went back to revision {} from {}, or has another history",
                    keyring.revision, served.keyring.revision
                ),
            )
            .with_remedy("put the newest copy of the file back"));
        }
        if parsed.digest() != served.digest {
            contents.make_durable(&*self.disk)?;
        }
        served.keyring = Arc::new(keyring);
        served.protection = protection;
        served.digest = parsed.digest();
        served.pin = contents.pin;
        Ok(())
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        // Every change is made whole or not at all, so a panic elsewhere spoils nothing.
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| error.with_provider(self.name.as_str()))
    }

    fn wrap_now(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        if dek.is_empty() || dek.len() > wrap::MAX_DEK_LEN {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the DEK is empty or over 4096 bytes",
            ));
        }
        let keyring = self.fresh()?;
        let (id, ciphertext) = wrap::seal(&keyring, &options.context, dek, &*self.random)?;
        WrappedKey::new(id, ciphertext)
    }

    fn unwrap_now(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let (keyring, fault) = self.look();
        let named = wrap::named_version(wrapped.ciphertext());
        let found = match wrapped.key_id() {
            Some(id) => keyring.find(id),
            None => named
                .ok_or_else(Error::crypto)
                .and_then(|number| keyring.version(number).map_err(|_| Error::crypto())),
        };
        let is_ours = wrapped
            .key_id()
            .map_or_else(|| named.is_some(), |id| keyring.id.named_by(id).is_some());
        let version = match (found, fault) {
            (Ok(version), _) if named == Some(version.number) => version,
            (Ok(_), _) => return Err(Error::crypto()),
            // The file that cannot be read may hold it.
            (Err(_), Some(fault)) if is_ours => return Err(fault),
            (Err(unknown), _) => return Err(unknown),
        };
        wrap::open(&keyring, version, &options.context, wrapped.ciphertext())
    }
}

#[async_trait]
impl KeyProvider for LocalProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
            .with_context(ContextSupport::Native)
            .with_max_plaintext_len(wrap::MAX_DEK_LEN)
            .with_unwraps_without_key_id(true)
            .with_describes_keys(true)
            .with_lists_keys(true)
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        self.named(self.fresh().and_then(|keyring| {
            let current = keyring.current()?;
            Ok(keyring.describe(current)?.info)
        }))
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.named(self.wrap_now(dek, options))
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.named(self.unwrap_now(wrapped, options))
    }

    async fn describe_key(&self, id: &KeyId, _: &CallOptions) -> Result<KeyInfo, Error> {
        self.named(
            self.fresh()
                .and_then(|keyring| Ok(keyring.describe(keyring.find(id)?)?.info)),
        )
    }

    async fn list_keys(&self, _: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        let versions = self.list()?;
        Ok(versions.into_iter().map(|version| version.info).collect())
    }
}

impl fmt::Display for LocalProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for LocalProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalProvider")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn protection_of(
    passphrase: Option<&SecretBytes>,
    cost: PassphraseCost,
    random: &dyn SecureRandom,
) -> Result<Protection, Error> {
    passphrase.map_or(Ok(Protection::None), |passphrase| {
        PassphraseKeys::create(passphrase, cost, random).map(Protection::Passphrase)
    })
}

/// The name in errors and logs. A path may hold what a terminal must not see.
fn name_of(path: &Path) -> String {
    let path = path.display().to_string();
    format!("local:{}", path.replace(char::is_control, "\u{fffd}"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::SystemTime;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::{Sleep, Tick};

    #[derive(Debug)]
    struct StoppedClock;

    impl Clock for StoppedClock {
        fn now(&self) -> Tick {
            Tick::ORIGIN
        }
        fn wall_time(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
        fn sleep_until(&self, _: Tick) -> Sleep {
            Box::pin(core::future::pending())
        }
    }

    /// A disk that can lose its ability to sync directories.
    #[derive(Debug, Default)]
    struct FragileDisk {
        broken: AtomicBool,
        syncs: AtomicUsize,
    }

    impl FragileDisk {
        fn set_broken(&self, broken: bool) {
            self.broken.store(broken, Ordering::SeqCst);
        }
    }

    impl Disk for FragileDisk {
        fn sync(&self, handle: &File) -> io::Result<()> {
            self.syncs.fetch_add(1, Ordering::SeqCst);
            if self.broken.load(Ordering::SeqCst) && handle.metadata()?.is_dir() {
                return Err(io::Error::other("the disk is full of holes"));
            }
            Ok(())
        }
    }

    fn options(disk: &Arc<FragileDisk>) -> LocalOptions {
        let mut options = LocalOptions::new(Arc::new(StoppedClock));
        options.disk = Arc::clone(disk) as Arc<dyn Disk>;
        options
    }

    /// Two providers over one keyring, each with its own disk.
    struct Pair {
        _directory: tempfile::TempDir,
        path: PathBuf,
        disks: [Arc<FragileDisk>; 2],
        providers: [LocalProvider; 2],
    }

    fn pair() -> Pair {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keyring.json");
        let disks = [Arc::default(), Arc::default()];
        let one = LocalProvider::create(&path, options(&disks[0])).unwrap();
        let two = LocalProvider::open(&path, options(&disks[1])).unwrap();
        Pair {
            _directory: directory,
            path,
            disks,
            providers: [one, two],
        }
    }

    fn wrap(provider: &LocalProvider) -> Result<WrappedKey, Error> {
        let dek = SecretBytes::from_vec(vec![7; 32]);
        let options = WrapOptions::default();
        provider.wrap(&dek, &options).now_or_never().unwrap()
    }

    fn opens(provider: &LocalProvider, wrapped: &WrappedKey) -> bool {
        let options = UnwrapOptions::default();
        provider
            .unwrap(wrapped, &options)
            .now_or_never()
            .unwrap()
            .is_ok()
    }

    #[test]
    fn a_reader_wraps_with_no_key_that_a_power_failure_could_take() {
        let pair = pair();
        let [writer, reader] = &pair.providers;
        let old = wrap(reader).unwrap();
        pair.disks[1].set_broken(true);
        let rotated = writer.rotate().unwrap().info.id;
        for _ in 0..2 {
            let error = wrap(reader).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.message().contains("not used yet"), "{error}");
            assert!(reader.list().is_err());
            assert!(opens(reader, &old));
        }
        let late = LocalProvider::open(&pair.path, options(&pair.disks[1]));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Io);
        pair.disks[1].set_broken(false);
        assert_eq!(wrap(reader).unwrap().key_id(), Some(&rotated));
    }

    #[test]
    fn a_writer_whose_sync_fails_says_so_and_does_not_use_the_new_key() {
        let pair = pair();
        let [writer, reader] = &pair.providers;
        let old = wrap(writer).unwrap();
        pair.disks[0].set_broken(true);
        let error = writer.rotate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.message().contains("may or may not"), "{error}");
        assert_eq!(wrap(writer).unwrap_err().kind(), ErrorKind::Io);
        // Nor is another version made on top of it.
        assert_eq!(writer.rotate().unwrap_err().kind(), ErrorKind::Io);
        assert!(opens(writer, &old));
        pair.disks[0].set_broken(false);
        let new = wrap(writer).unwrap();
        assert_ne!(new.key_id(), old.key_id());
        assert_eq!(writer.list().unwrap().len(), 2);
        assert!(opens(reader, &new));
    }

    #[test]
    fn a_passphrase_whose_sync_fails_leaves_the_provider_whole() {
        let pair = pair();
        let [writer, _] = &pair.providers;
        let old = wrap(writer).unwrap();
        pair.disks[0].set_broken(true);
        let passphrase = SecretBytes::copy_from_slice(b"open sesame");
        let cost = PassphraseCost::new(8, 1, 1).unwrap();
        let error = writer
            .change_passphrase(Some(&passphrase), cost)
            .unwrap_err();
        assert!(error.message().contains("may or may not"), "{error}");
        assert!(opens(writer, &old));
        pair.disks[0].set_broken(false);
        assert_eq!(wrap(writer).unwrap_err().kind(), ErrorKind::Unauthenticated);
        assert!(opens(writer, &old));
        let again = options(&pair.disks[0]).with_passphrase(passphrase);
        assert!(opens(
            &LocalProvider::open(&pair.path, again).unwrap(),
            &old
        ));
    }

    #[test]
    fn only_a_change_is_synced() {
        let pair = pair();
        let [writer, reader] = &pair.providers;
        writer.rotate().unwrap();
        wrap(reader).unwrap();
        let syncs = pair.disks[1].syncs.load(Ordering::SeqCst);
        for _ in 0..10 {
            wrap(reader).unwrap();
            reader.reload().unwrap();
        }
        assert_eq!(pair.disks[1].syncs.load(Ordering::SeqCst), syncs);
    }
}
