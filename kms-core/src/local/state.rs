//! The key versions of one keyring and what may be done to them: pure, without files or clocks.

use core::time::Duration;
use std::sync::Arc;
use std::time::SystemTime;

use super::id::{Fingerprint, KeyringId};
use crate::{Error, ErrorKind, KeyId, KeyInfo, KeyState, SecretBytes};

/// What every local key wraps with.
pub(super) const ALGORITHM: &str = "AES-256-GCM";
/// The bytes of one key.
pub(super) const KEY_LEN: usize = 32;
/// The most versions a keyring holds, tombstones included.
pub(super) const MAX_VERSIONS: usize = 10_000;
/// The last moment a keyring can speak of, the end of the year 9999, in ms since the Unix epoch.
/// Up to here every platform's `SystemTime` can follow.
pub(super) const MAX_TIME_MS: u64 = 253_402_300_799_999;

/// One key, in memory and as it lies in the file.
pub(super) struct Material {
    pub(super) key: SecretBytes,
    /// The key under the passphrase; `None` in a keyring without one. Kept, so that a rewrite of
    /// the file does not draw a new nonce for every version.
    pub(super) sealed: Option<Vec<u8>>,
}

/// Where one version is in its life.
#[derive(Clone)]
pub(super) enum Life {
    Enabled(Arc<Material>),
    Disabled(Arc<Material>),
    PendingDestruction {
        material: Arc<Material>,
        due_ms: u64,
    },
    Destroyed,
}

impl Life {
    pub(super) const fn state(&self) -> KeyState {
        match self {
            Self::Enabled(_) => KeyState::Enabled,
            Self::Disabled(_) => KeyState::Disabled,
            Self::PendingDestruction { .. } => KeyState::PendingDestruction,
            Self::Destroyed => KeyState::Destroyed,
        }
    }

    pub(super) const fn material(&self) -> Option<&Arc<Material>> {
        match self {
            Self::Enabled(material)
            | Self::Disabled(material)
            | Self::PendingDestruction { material, .. } => Some(material),
            Self::Destroyed => None,
        }
    }
}

/// One key version.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) number: u32,
    /// Outlives the key, so that a destroyed version keeps its id.
    pub(super) fingerprint: Fingerprint,
    pub(super) created_ms: u64,
    pub(super) imported: bool,
    pub(super) life: Life,
}

/// One version of a local keyring, as [`LocalProvider::list`](super::LocalProvider::list) and
/// [`check_keyring`](super::check_keyring) show it. Holds no key material.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyringVersion {
    /// Its number: 1, 2, 3, … in order of creation, never used again.
    pub version: u32,
    /// Its id, state and time of creation, as the provider trait describes them.
    pub info: KeyInfo,
    /// Whether new DEKs are wrapped with it. Always the newest version.
    pub current: bool,
    /// Whether its material was brought in rather than generated here.
    pub imported: bool,
    /// From when on [`destroy_due`](super::LocalProvider::destroy_due) destroys it, if that is
    /// scheduled.
    pub destroy_due: Option<SystemTime>,
}

/// All versions of a keyring.
///
/// Numbers run 1, 2, 3, … without a gap, since destroyed versions leave a tombstone. The newest
/// one is the current one and is always enabled, so that wrapping never falls back to an older
/// key by itself.
#[derive(Clone)]
pub(super) struct Keyring {
    pub(super) id: KeyringId,
    /// Counts the changes, so that an older copy of the file is told from a newer one.
    pub(super) revision: u64,
    /// The latest time any change was made at. Never goes back, whatever the clock does.
    pub(super) updated_ms: u64,
    pub(super) versions: Vec<Version>,
}

impl Keyring {
    /// A keyring with one enabled version.
    pub(super) fn new(id: KeyringId, first: Material, imported: bool, now_ms: u64) -> Self {
        let first = Version {
            number: 1,
            fingerprint: Fingerprint::of(&first.key),
            created_ms: now_ms,
            imported,
            life: Life::Enabled(Arc::new(first)),
        };
        Self {
            id,
            revision: 1,
            updated_ms: now_ms,
            versions: vec![first],
        }
    }

    /// Says what a keyring read from outside lacks to be one.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let numbers = self.versions.iter().map(|version| version.number);
        let created = self.versions.iter().map(|version| version.created_ms);
        if self.versions.len() > MAX_VERSIONS {
            Some("it holds over 10000 versions")
        } else if !numbers.eq((1..).take(self.versions.len())) {
            Some("its versions are not 1, 2, 3, … in order: one is missing, double or misplaced")
        } else if !created.is_sorted() {
            Some("`created_ms` goes back from one version to the next")
        } else if self.versions.iter().any(|v| v.created_ms > self.updated_ms) {
            Some("`created_ms` of a version is after `updated_ms`")
        } else if self.updated_ms > MAX_TIME_MS {
            Some("`updated_ms` is beyond the year 9999")
        } else if !self
            .versions
            .last()
            .is_some_and(|last| matches!(last.life, Life::Enabled(_)))
        {
            Some("its newest version is not enabled, or there is none")
        } else {
            None
        }
    }

    pub(super) fn current(&self) -> Result<&Version, Error> {
        self.versions
            .last()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the keyring holds no version"))
    }

    pub(super) fn version(&self, number: u32) -> Result<&Version, Error> {
        self.versions
            .get(index_of(number))
            .ok_or_else(|| unknown(number))
    }

    /// The id of one version's key.
    pub(super) fn id_of(&self, version: &Version) -> Result<KeyId, Error> {
        self.id.key_id(version.number, version.fingerprint)
    }

    /// Whether every key of `earlier` has its place here too, with its material or without.
    pub(super) fn continues(&self, earlier: &Self) -> bool {
        let mut pairs = self.versions.iter().zip(&earlier.versions);
        self.versions.len() >= earlier.versions.len()
            && pairs.all(|(now, then)| now.fingerprint == then.fingerprint)
    }

    /// The version whose key has this id.
    pub(super) fn find(&self, id: &KeyId) -> Result<&Version, Error> {
        let found = match self.id.named_by(id) {
            None => Err(Error::new(
                ErrorKind::KeyNotFound,
                "this keyring has no such key",
            )),
            Some((number, fingerprint)) => match self.version(number) {
                Ok(version) if version.fingerprint == fingerprint => Ok(version),
                Ok(_) => Err(Error::new(
                    ErrorKind::KeyNotFound,
                    format!(
                        "version {number} of this keyring is another key: \
                         the id was given out by another copy of the keyring, rotated apart from this one"
                    ),
                )
                .with_remedy(
                    "find that copy and unwrap with it; from now on rotate in one place only, \
                     then copy the file",
                )),
                Err(unknown) => Err(unknown.with_remedy(
                    "check that this is the newest copy of the keyring file",
                )),
            },
        };
        found.map_err(|error| error.with_key_id(id.clone()))
    }

    /// The number that the next version will have.
    pub(super) fn next_number(&self) -> Result<u32, Error> {
        if self.versions.len() >= MAX_VERSIONS {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the keyring holds 10000 versions, which is the most",
            )
            .with_remedy("create a new keyring, and keep this one to unwrap old data"));
        }
        let last = self.current()?.number;
        last.checked_add(1)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the version numbers are used up"))
    }

    /// Adds a version with the next number, which becomes the current one.
    pub(super) fn add(
        &mut self,
        material: Material,
        imported: bool,
        now_ms: u64,
    ) -> Result<u32, Error> {
        let number = self.next_number()?;
        let double = self.versions.iter().find(|version| {
            version
                .life
                .material()
                .is_some_and(|m| m.key == material.key)
        });
        if let Some(double) = double {
            // Two ids for one key: destroying one of them would destroy nothing.
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "this key is already in the keyring",
            )
            .with_key_id(self.id_of(double)?)
            .with_remedy("import fresh key material"));
        }
        self.touch(now_ms)?;
        self.versions.push(Version {
            number,
            fingerprint: Fingerprint::of(&material.key),
            created_ms: self.updated_ms,
            imported,
            life: Life::Enabled(Arc::new(material)),
        });
        Ok(number)
    }

    /// Switches an old version off. Nothing changes if it is off.
    pub(super) fn disable(&mut self, number: u32, now_ms: u64) -> Result<(), Error> {
        self.refuse_current(number, "disabled")?;
        let next = match &self.version(number)?.life {
            Life::Enabled(material) => Life::Disabled(Arc::clone(material)),
            Life::Disabled(_) => return Ok(()),
            Life::PendingDestruction { .. } => return Err(self.pending(number)),
            Life::Destroyed => return Err(self.destroyed(number)),
        };
        self.change(number, next, now_ms)
    }

    /// Switches a version on again. Nothing changes if it is on.
    pub(super) fn enable(&mut self, number: u32, now_ms: u64) -> Result<(), Error> {
        let next = match &self.version(number)?.life {
            Life::Enabled(_) => return Ok(()),
            Life::Disabled(material) => Life::Enabled(Arc::clone(material)),
            Life::PendingDestruction { .. } => return Err(self.pending(number)),
            Life::Destroyed => return Err(self.destroyed(number)),
        };
        self.change(number, next, now_ms)
    }

    /// Schedules the destruction of an old version, `grace` from now.
    ///
    /// *Now* is the later of the clock and the last change of this file: a due time that was set
    /// while the clock was behind would come early once the clock is right.
    pub(super) fn schedule_destruction(
        &mut self,
        number: u32,
        grace: Duration,
        now_ms: u64,
    ) -> Result<(), Error> {
        self.refuse_current(number, "destroyed")?;
        let material = match &self.version(number)?.life {
            Life::Enabled(material) | Life::Disabled(material) => Arc::clone(material),
            Life::PendingDestruction { .. } => return Err(self.pending(number)),
            Life::Destroyed => return Err(self.destroyed(number)),
        };
        let due_ms = u64::try_from(grace.as_millis())
            .ok()
            .and_then(|grace| self.updated_ms.max(now_ms).checked_add(grace))
            .filter(|due| *due <= MAX_TIME_MS)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidInput,
                    "the grace period ends after the year 9999",
                )
            })?;
        let next = Life::PendingDestruction { material, due_ms };
        self.change(number, next, now_ms)
    }

    /// Saves a version from destruction, for as long as its material is there. It is disabled
    /// then: whether it may be used again is a decision of its own.
    pub(super) fn cancel_destruction(&mut self, number: u32, now_ms: u64) -> Result<(), Error> {
        let next = match &self.version(number)?.life {
            Life::PendingDestruction { material, .. } => Life::Disabled(Arc::clone(material)),
            Life::Destroyed => return Err(self.destroyed(number)),
            Life::Enabled(_) | Life::Disabled(_) => {
                let message = "no destruction is scheduled for this version";
                return Err(self
                    .about(number, Error::new(ErrorKind::InvalidInput, message))
                    .with_remedy("nothing needs to be done"));
            }
        };
        self.change(number, next, now_ms)
    }

    /// Destroys every version whose grace period is over, and says which.
    pub(super) fn destroy_due(&mut self, now_ms: u64) -> Result<Vec<u32>, Error> {
        let mut destroyed = Vec::new();
        for version in &mut self.versions {
            if matches!(version.life, Life::PendingDestruction { due_ms, .. } if due_ms <= now_ms) {
                version.life = Life::Destroyed;
                destroyed.push(version.number);
            }
        }
        if !destroyed.is_empty() {
            self.touch(now_ms)?;
        }
        Ok(destroyed)
    }

    /// Counts one change.
    pub(super) fn touch(&mut self, now_ms: u64) -> Result<(), Error> {
        self.revision = self.revision.checked_add(1).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "the keyring's revisions are used up")
        })?;
        self.updated_ms = self.updated_ms.max(now_ms);
        Ok(())
    }

    /// Describes one version.
    pub(super) fn describe(&self, version: &Version) -> Result<KeyringVersion, Error> {
        let info = KeyInfo::new(self.id_of(version)?, version.life.state())
            .with_version(version.number.to_string())
            .with_algorithm(ALGORITHM)
            .with_created(time_of(version.created_ms));
        let destroy_due = match version.life {
            Life::PendingDestruction { due_ms, .. } => Some(time_of(due_ms)),
            Life::Enabled(_) | Life::Disabled(_) | Life::Destroyed => None,
        };
        Ok(KeyringVersion {
            version: version.number,
            info,
            current: self
                .versions
                .last()
                .is_some_and(|last| last.number == version.number),
            imported: version.imported,
            destroy_due,
        })
    }

    /// Describes every version, oldest first.
    pub(super) fn describe_all(&self) -> Result<Vec<KeyringVersion>, Error> {
        self.versions.iter().map(|v| self.describe(v)).collect()
    }

    /// The key of a version, if it may be used.
    pub(super) fn usable<'a>(&self, version: &'a Version) -> Result<&'a Arc<Material>, Error> {
        let disabled =
            |message: &str| self.about(version.number, Error::new(ErrorKind::KeyDisabled, message));
        match &version.life {
            Life::Enabled(material) => Ok(material),
            Life::Disabled(_) => Err(disabled("this key version is disabled")),
            Life::PendingDestruction { .. } => {
                Err(disabled("this key version is about to be destroyed").with_remedy(SAVE))
            }
            Life::Destroyed => Err(self.destroyed(version.number)),
        }
    }

    fn change(&mut self, number: u32, next: Life, now_ms: u64) -> Result<(), Error> {
        self.touch(now_ms)?;
        let version = self
            .versions
            .get_mut(index_of(number))
            .ok_or_else(|| unknown(number))?;
        version.life = next;
        Ok(())
    }

    fn refuse_current(&self, number: u32, what: &str) -> Result<(), Error> {
        if self.current()?.number != number {
            return Ok(());
        }
        let message = format!("the current key version cannot be {what}");
        Err(self
            .about(number, Error::new(ErrorKind::InvalidInput, message))
            .with_remedy("rotate first; then this version is no longer the current one"))
    }

    /// Says which key an error is about.
    fn about(&self, number: u32, error: Error) -> Error {
        match self.version(number).and_then(|version| self.id_of(version)) {
            Ok(id) => error.with_key_id(id),
            Err(_) => error,
        }
    }

    fn pending(&self, number: u32) -> Error {
        let message = "destruction of this version is already scheduled";
        self.about(number, Error::new(ErrorKind::InvalidInput, message))
            .with_remedy(SAVE)
    }

    fn destroyed(&self, number: u32) -> Error {
        let message = "this key version was destroyed";
        self.about(number, Error::new(ErrorKind::KeyDestroyed, message))
    }
}

fn unknown(number: u32) -> Error {
    let message = format!("the keyring has no version {number}");
    Error::new(ErrorKind::KeyNotFound, message)
}

const SAVE: &str = "cancel the destruction first; to use the version again, enable it then";

fn index_of(number: u32) -> usize {
    // Version 0 does not exist: it maps past every end.
    number
        .checked_sub(1)
        .and_then(|index| usize::try_from(index).ok())
        .unwrap_or(usize::MAX)
}

/// A wall time as ms since the Unix epoch; times before it count as the epoch.
pub(super) fn millis_of(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .map_or(0, |ms| ms.min(MAX_TIME_MS))
}

pub(super) fn time_of(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    fn material(byte: u8) -> Material {
        Material {
            key: SecretBytes::from_vec(vec![byte; KEY_LEN]),
            sealed: None,
        }
    }

    /// Versions 1 to 4 in the four states a version can be in, and 5, the current one.
    fn every_state() -> Keyring {
        let mut keyring = Keyring::new(KeyringId::from_bytes([7; 16]), material(1), false, 100);
        for byte in 2..=5 {
            keyring.add(material(byte), false, 100).unwrap();
        }
        keyring
            .schedule_destruction(4, Duration::ZERO, 100)
            .unwrap();
        assert_eq!(keyring.destroy_due(100).unwrap(), [4]);
        keyring.disable(2, 100).unwrap();
        keyring.schedule_destruction(3, WEEK, 100).unwrap();
        assert!(keyring.fault().is_none());
        keyring
    }

    #[test]
    fn the_table_of_states_and_operations() {
        type Operation = fn(&mut Keyring, u32) -> Result<(), Error>;
        let disable: Operation = |keyring, number| keyring.disable(number, 200);
        let enable: Operation = |keyring, number| keyring.enable(number, 200);
        let schedule: Operation = |keyring, number| keyring.schedule_destruction(number, WEEK, 200);
        let cancel: Operation = |keyring, number| keyring.cancel_destruction(number, 200);
        let destroy: Operation = |keyring, _| keyring.destroy_due(MAX_TIME_MS).map(|_| ());

        use ErrorKind::{InvalidInput as Refused, KeyDestroyed, KeyNotFound};
        use KeyState::{Destroyed, Disabled, Enabled, PendingDestruction as Pending};
        type Row = (u32, KeyState, [Result<KeyState, ErrorKind>; 5]);
        let table: [Row; 5] = [
            // current
            (
                5,
                Enabled,
                [
                    Err(Refused),
                    Ok(Enabled),
                    Err(Refused),
                    Err(Refused),
                    Ok(Enabled),
                ],
            ),
            (
                1,
                Enabled,
                [
                    Ok(Disabled),
                    Ok(Enabled),
                    Ok(Pending),
                    Err(Refused),
                    Ok(Enabled),
                ],
            ),
            (
                2,
                Disabled,
                [
                    Ok(Disabled),
                    Ok(Enabled),
                    Ok(Pending),
                    Err(Refused),
                    Ok(Disabled),
                ],
            ),
            (
                3,
                Pending,
                [
                    Err(Refused),
                    Err(Refused),
                    Err(Refused),
                    Ok(Disabled),
                    Ok(Destroyed),
                ],
            ),
            (
                4,
                Destroyed,
                [
                    Err(KeyDestroyed),
                    Err(KeyDestroyed),
                    Err(KeyDestroyed),
                    Err(KeyDestroyed),
                    Ok(Destroyed),
                ],
            ),
        ];
        let operations = [disable, enable, schedule, cancel, destroy];
        for (number, before, outcomes) in table {
            for (index, (operation, expected)) in operations.iter().zip(outcomes).enumerate() {
                let place = format!("version {number} ({before}), operation {index}");
                let mut keyring = every_state();
                let revision = keyring.revision;
                assert_eq!(keyring.version(number).unwrap().life.state(), before);
                let outcome = operation(&mut keyring, number);
                let after = keyring.version(number).unwrap().life.state();
                assert_eq!(
                    outcome.as_ref().map(|()| after).map_err(Error::kind),
                    expected,
                    "{place}"
                );
                if let Err(error) = outcome {
                    assert_eq!((after, keyring.revision), (before, revision), "{place}");
                    assert_eq!(
                        error.key_id(),
                        keyring
                            .id_of(keyring.version(number).unwrap())
                            .ok()
                            .as_ref(),
                        "{place}"
                    );
                } else if index < 4 {
                    assert_eq!(keyring.revision > revision, after != before, "{place}");
                }
                assert_eq!(keyring.fault(), None, "{place}");
                assert_eq!(keyring.current().unwrap().number, 5, "{place}");
            }
        }
        for operation in [disable, enable, schedule, cancel] {
            for unknown in [0, 6, u32::MAX] {
                let kind = operation(&mut every_state(), unknown).unwrap_err().kind();
                assert_eq!(kind, KeyNotFound, "{unknown}");
            }
        }
    }

    #[test]
    fn nothing_is_destroyed_before_its_time() {
        let mut keyring = every_state();
        let due = 100 + 7 * DAY_MS;
        // Before, and on a clock that jumped back to before it was scheduled.
        for early in [due - 1, 100, 0] {
            let revision = keyring.revision;
            assert!(keyring.destroy_due(early).unwrap().is_empty(), "{early}");
            assert_eq!(keyring.revision, revision);
        }
        assert_eq!(keyring.destroy_due(due).unwrap(), [3]);
    }

    #[test]
    fn a_clock_that_is_behind_does_not_shorten_the_grace_period() {
        let mut keyring = every_state();
        let real_now = 1_000 * DAY_MS;
        keyring.add(material(6), false, real_now).unwrap();
        // The clock jumps back to 1970, destruction is scheduled, the clock is put right.
        keyring.schedule_destruction(1, WEEK, 0).unwrap();
        assert_eq!(
            keyring.destroy_due(real_now + 7 * DAY_MS - 1).unwrap(),
            [3],
            "only the one whose time has really come"
        );
        assert_eq!(keyring.destroy_due(real_now + 7 * DAY_MS).unwrap(), [1]);
    }

    #[test]
    fn times_of_creation_never_go_back() {
        let mut keyring = every_state();
        keyring.add(material(6), false, 5_000).unwrap();
        keyring.add(material(7), false, 3).unwrap();
        assert_eq!(keyring.version(7).unwrap().created_ms, 5_000);
        assert_eq!(keyring.fault(), None);
    }

    #[test]
    fn a_grace_period_that_never_ends_is_refused() {
        for grace in [Duration::MAX, Duration::from_millis(MAX_TIME_MS)] {
            let error = every_state()
                .schedule_destruction(1, grace, 100)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_key_has_one_version_only() {
        let mut keyring = every_state();
        let error = keyring.add(material(2), true, 200).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            error.key_id(),
            keyring.id_of(keyring.version(2).unwrap()).ok().as_ref()
        );
        // Version 4 was destroyed: no version has its key any more.
        assert_eq!(keyring.add(material(4), true, 200).unwrap(), 6);
    }

    #[test]
    fn a_full_keyring_says_so() {
        let mut keyring = every_state();
        while keyring.versions.len() < MAX_VERSIONS {
            let number = u32::try_from(keyring.versions.len()).unwrap() + 1;
            keyring.versions.push(Version {
                number,
                life: Life::Destroyed,
                ..keyring.versions[3].clone()
            });
        }
        let error = keyring.add(material(9), false, 100).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
