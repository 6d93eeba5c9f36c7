//! The keyring file as text: JSON in exactly one spelling.
//!
//! The reader writes down again what it has understood and compares, so any byte that was changed,
//! cut off or added is refused, white space included. The format is described in the module
//! documentation of [`local`](super).

use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::id::{Fingerprint, KeyringId};
use super::protect::{self, Lock, PassphraseCost, Protection};
use super::state::{Keyring, Life, MAX_TIME_MS, MAX_VERSIONS, Material, Version};
use crate::disk::Subject;
use crate::{Error, ErrorKind};

const FORMAT: &str = "kms-local-keyring";
const FORMAT_VERSION: u32 = 1;
const KDF: &str = "argon2id";
/// The longest file, in bytes.
const MAX_LEN: usize = 4 * 1024 * 1024;

/// The keyring as a file.
pub(super) static KEYRING: Subject = Subject {
    noun: "keyring",
    max_len: MAX_LEN,
    unsure: "check the disk, then look which versions there are before you try again",
};

/// Just enough to know whether the rest is for us.
#[derive(Deserialize)]
struct Probe {
    format: String,
    version: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u32,
    content: Content,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Content {
    keyring_id: String,
    revision: u64,
    updated_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passphrase: Option<Passphrase>,
    keys: Vec<Record>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Passphrase {
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    check: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    fingerprint: String,
    state: RecordState,
    origin: Origin,
    created_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destroy_due_ms: Option<u64>,
    /// Possibly a key in clear, hence wiped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    material: Option<SecretText>,
}

impl Record {
    fn read(
        &self,
        passphrase: bool,
        open: impl Fn(u32, &[u8]) -> Option<Material>,
    ) -> Option<Version> {
        let material = || {
            let stored = decode_material(&self.material.as_ref()?.0, passphrase)?;
            open(self.version, &stored).map(Arc::new)
        };
        let life = match (self.state, self.destroy_due_ms) {
            (RecordState::Enabled, None) => Life::Enabled(material()?),
            (RecordState::Disabled, None) => Life::Disabled(material()?),
            (RecordState::PendingDestruction, Some(due_ms)) if due_ms <= MAX_TIME_MS => {
                Life::PendingDestruction {
                    material: material()?,
                    due_ms,
                }
            }
            (RecordState::Destroyed, None) if self.material.is_none() => Life::Destroyed,
            _ => return None,
        };
        Some(Version {
            number: self.version,
            fingerprint: Fingerprint::from_hex(&self.fingerprint)?,
            created_ms: self.created_ms,
            imported: self.origin == Origin::Imported,
            life,
        })
    }
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum RecordState {
    Enabled,
    Disabled,
    PendingDestruction,
    Destroyed,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Origin {
    Generated,
    Imported,
}

struct SecretText(Zeroizing<String>);

impl Serialize for SecretText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// A file that is whole, but whose keys are not opened and whose MAC is not checked yet.
pub(super) struct Parsed {
    id: KeyringId,
    content: Content,
    lock: Option<Lock>,
    encoded: Zeroizing<Vec<u8>>,
    digest: [u8; 32],
    mac: Option<[u8; 32]>,
}

impl Parsed {
    /// Which keyring it is.
    pub(super) const fn id(&self) -> KeyringId {
        self.id
    }

    /// What it says about its passphrase, if it has one.
    pub(super) const fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// What tells this content from any other.
    pub(super) const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Checks the MAC and opens the keys.
    pub(super) fn open(&self, protection: &Protection) -> Result<Keyring, Error> {
        if !protection.verifies(&self.encoded, self.mac.as_ref()) {
            return Err(corrupt("its MAC is wrong: it was tampered with"));
        }
        let keyring = self.keyring(|version, stored| protection.open(stored, self.id, version))?;
        let foreign = keyring.versions.iter().find(|version| {
            version
                .life
                .material()
                .is_some_and(|material| Fingerprint::of(&material.key) != version.fingerprint)
        });
        match foreign {
            None => Ok(keyring),
            Some(version) => Err(corrupt(&format!(
                "`keys`, version {}: its fingerprint is not that of its material",
                version.number
            ))),
        }
    }

    /// The versions without their keys, of a file whose passphrase is not known.
    pub(super) fn outline(&self) -> Result<Keyring, Error> {
        self.keyring(|_, stored| {
            Some(Material {
                key: crate::SecretBytes::from_vec(Vec::new()),
                sealed: Some(stored.to_vec()),
            })
        })
    }

    fn keyring(&self, open: impl Fn(u32, &[u8]) -> Option<Material>) -> Result<Keyring, Error> {
        let mut versions = Vec::with_capacity(self.content.keys.len());
        for record in &self.content.keys {
            let version = record.read(self.lock.is_some(), &open).ok_or_else(|| {
                corrupt(&format!(
                    "`keys`, version {}: its fingerprint, state, due time and material do not fit together",
                    record.version
                ))
            })?;
            versions.push(version);
        }
        let keyring = Keyring {
            id: self.id,
            revision: self.content.revision,
            updated_ms: self.content.updated_ms,
            versions,
        };
        match keyring.fault() {
            None => Ok(keyring),
            Some(fault) => Err(corrupt(fault)),
        }
    }
}

/// Reads a file up to the point where the passphrase is needed.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
    if bytes.len() > MAX_LEN {
        return Err(corrupt("it is over 4194304 bytes"));
    }
    // What serde says may quote the file, and with it a key: only the place is told.
    let syntax = |error: serde_json::Error| {
        corrupt(&format!(
            "it is torn, damaged or written by a newer version; line {}, column {}",
            error.line(),
            error.column()
        ))
    };
    let probe: Probe = serde_json::from_slice(bytes).map_err(syntax)?;
    if probe.format != FORMAT {
        return Err(corrupt("`format` is not that of a keyring"));
    }
    if probe.version > u64::from(FORMAT_VERSION) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the keyring file was written by a newer version of this software",
        )
        .with_remedy("use that version; this one leaves the file as it is"));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(syntax)?;
    if document.version != FORMAT_VERSION {
        return Err(corrupt("`version` is not 1"));
    }
    if document.content.keys.len() > MAX_VERSIONS {
        return Err(corrupt("`keys` holds over 10000 versions"));
    }
    if pretty(&document)?.as_slice() != bytes {
        return Err(corrupt(
            "it is not spelled as we spell it: it was damaged or edited",
        ));
    }
    let encoded = compact(&document.content)?;
    let digest = protect::digest(&encoded);
    if decode(&document.digest) != Some(digest) {
        return Err(corrupt("its digest is wrong: it was damaged or edited"));
    }
    let mac = match &document.mac {
        None => None,
        Some(text) => Some(decode(text).ok_or_else(|| corrupt("`mac` is not 32 bytes"))?),
    };
    let id = KeyringId::from_hex(&document.content.keyring_id)
        .ok_or_else(|| corrupt("`keyring_id` is not 32 lower-case hexadecimal digits"))?;
    let lock = document
        .content
        .passphrase
        .as_ref()
        .map(lock_of)
        .transpose()?;
    if lock.is_some() != mac.is_some() {
        return Err(corrupt("`mac` and `passphrase` do not go together"));
    }
    Ok(Parsed {
        id,
        content: document.content,
        lock,
        encoded,
        digest,
        mac,
    })
}

/// Writes a keyring down.
pub(super) fn render(
    keyring: &Keyring,
    protection: &Protection,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let content = Content {
        keyring_id: keyring.id.to_hex(),
        revision: keyring.revision,
        updated_ms: keyring.updated_ms,
        passphrase: protection.lock().map(|lock| Passphrase {
            kdf: KDF.to_owned(),
            memory_kib: lock.cost.memory_kib(),
            passes: lock.cost.passes(),
            lanes: lock.cost.lanes(),
            salt: BASE64.encode(lock.salt),
            check: BASE64.encode(lock.check),
        }),
        keys: keyring.versions.iter().map(record_of).collect(),
    };
    let encoded = compact(&content)?;
    let bytes = pretty(&Document {
        format: FORMAT.to_owned(),
        version: FORMAT_VERSION,
        digest: BASE64.encode(protect::digest(&encoded)),
        mac: protection.mac(&encoded).map(|mac| BASE64.encode(mac)),
        content,
    })?;
    if bytes.len() > MAX_LEN {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the keyring would be over 4194304 bytes",
        )
        .with_remedy("create a new keyring, and keep this one to unwrap old data"));
    }
    Ok(bytes)
}

fn record_of(version: &Version) -> Record {
    let (state, destroy_due_ms) = match &version.life {
        Life::Enabled(_) => (RecordState::Enabled, None),
        Life::Disabled(_) => (RecordState::Disabled, None),
        Life::PendingDestruction { due_ms, .. } => (RecordState::PendingDestruction, Some(*due_ms)),
        Life::Destroyed => (RecordState::Destroyed, None),
    };
    Record {
        version: version.number,
        fingerprint: version.fingerprint.to_hex(),
        state,
        origin: if version.imported {
            Origin::Imported
        } else {
            Origin::Generated
        },
        created_ms: version.created_ms,
        destroy_due_ms,
        material: version.life.material().map(|material| {
            let stored = material
                .sealed
                .as_deref()
                .unwrap_or_else(|| material.key.expose());
            SecretText(Zeroizing::new(BASE64.encode(stored)))
        }),
    }
}

fn lock_of(text: &Passphrase) -> Result<Lock, Error> {
    if text.kdf != KDF {
        return Err(corrupt("`passphrase.kdf` is not argon2id"));
    }
    Ok(Lock {
        cost: PassphraseCost::new(text.memory_kib, text.passes, text.lanes)
            .map_err(|error| corrupt(&format!("`passphrase`: {}", error.message())))?,
        salt: decode(&text.salt).ok_or_else(|| corrupt("`passphrase.salt` is not 32 bytes"))?,
        check: decode(&text.check).ok_or_else(|| corrupt("`passphrase.check` is not 32 bytes"))?,
    })
}

/// 32 bytes that are no secret.
fn decode(text: &str) -> Option<[u8; 32]> {
    // 44 characters are what 32 bytes take; more would be allocated for nothing.
    (text.len() == 44)
        .then(|| BASE64.decode(text).ok()?.try_into().ok())
        .flatten()
}

fn decode_material(text: &str, passphrase: bool) -> Option<Zeroizing<Vec<u8>>> {
    let length = protect::stored_len(passphrase);
    if text.len() != base64::encoded_len(length, true)? {
        return None;
    }
    let mut stored = Zeroizing::new(vec![0; text.len()]);
    let written = BASE64.decode_slice(text, &mut stored).ok()?;
    stored.truncate(written);
    (written == length).then_some(stored)
}

fn corrupt(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the keyring file is refused: {what}"),
    )
}

fn pretty<T: Serialize>(value: &T) -> Result<Zeroizing<Vec<u8>>, Error> {
    encode(|out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    })
}

fn compact<T: Serialize>(value: &T) -> Result<Zeroizing<Vec<u8>>, Error> {
    encode(|out| Ok(serde_json::to_writer(out, value)?))
}

/// Writes twice, first only to count: a vector that grows leaves copies of keys behind.
fn encode(write: impl Fn(&mut dyn Write) -> io::Result<()>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let fault = |source: io::Error| {
        Error::new(ErrorKind::Internal, "the keyring cannot be written as JSON").with_source(source)
    };
    let mut count = Counter(0);
    write(&mut count).map_err(fault)?;
    let mut out = Zeroizing::new(Vec::with_capacity(count.0));
    write(&mut *out).map_err(fault)?;
    Ok(out)
}

struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;

    use super::super::protect::PassphraseKeys;
    use super::super::{check_keyring, state};
    use super::*;
    use crate::{OsRandom, SecretBytes};

    fn passphrase() -> SecretBytes {
        SecretBytes::copy_from_slice(b"correct horse")
    }

    fn cheap() -> Protection {
        let cost = PassphraseCost::new(8, 1, 1).unwrap();
        Protection::Passphrase(PassphraseKeys::create(&passphrase(), cost, &OsRandom).unwrap())
    }

    /// A keyring with a version in each state.
    fn keyring(protection: &Protection) -> Keyring {
        let id = KeyringId::from_bytes([0x5a; 16]);
        let material = |version| {
            let key = SecretBytes::random(&OsRandom, state::KEY_LEN).unwrap();
            protection.seal(key, id, version, &OsRandom).unwrap()
        };
        let mut keyring = Keyring::new(id, material(1), false, 1_700_000_000_000);
        for version in 2..=5 {
            keyring
                .add(material(version), version == 3, 1_700_000_000_000)
                .unwrap();
        }
        keyring.schedule_destruction(4, Duration::ZERO, 0).unwrap();
        keyring.destroy_due(u64::MAX >> 1).unwrap();
        keyring.updated_ms = 1_700_000_000_000;
        keyring.disable(2, 0).unwrap();
        keyring
            .schedule_destruction(1, Duration::from_secs(604_800), 0)
            .unwrap();
        keyring
    }

    fn file(protection: &Protection) -> Vec<u8> {
        render(&keyring(protection), protection).unwrap().to_vec()
    }

    fn read(bytes: &[u8], protection: &Protection) -> Result<Keyring, Error> {
        let parsed = parse(bytes)?;
        if parsed.lock() != protection.lock() {
            return Err(Error::new(ErrorKind::Unauthenticated, "another passphrase"));
        }
        parsed.open(protection)
    }

    #[test]
    fn what_is_written_is_read_again() {
        for protection in [Protection::None, cheap()] {
            let before = keyring(&protection);
            let bytes = render(&before, &protection).unwrap();
            let after = read(&bytes, &protection).unwrap();
            assert_eq!(
                after.describe_all().unwrap(),
                before.describe_all().unwrap()
            );
            for (before, after) in before.versions.iter().zip(&after.versions) {
                let key = |version: &Version| {
                    version
                        .life
                        .material()
                        .map(|material| material.key.expose().to_vec())
                };
                assert_eq!(key(before), key(after));
            }
            assert_eq!(*render(&after, &protection).unwrap(), *bytes);
        }
    }

    #[test]
    fn a_file_torn_at_any_byte_is_corrupt() {
        for protection in [Protection::None, cheap()] {
            let bytes = file(&protection);
            for length in 0..bytes.len() {
                let error = parse(&bytes[..length]).err().unwrap();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}");
            }
            let longer = [bytes.as_slice(), b"\n"].concat();
            assert_eq!(parse(&longer).err().unwrap().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_change_of_any_byte_is_refused() {
        for protection in [Protection::None, cheap()] {
            let bytes = file(&protection);
            for position in 0..bytes.len() {
                for change in [1, 2, 4, 8, 16, 32, 64, 128, 0x2a] {
                    let mut changed = bytes.clone();
                    changed[position] ^= change;
                    let error = read(&changed, &protection).err().unwrap_or_else(|| {
                        panic!("byte {position} changed by {change:#x} is accepted")
                    });
                    // One digit of `version` makes it look like a file of the future.
                    assert!(
                        matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported),
                        "{position} {change:#x} {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_digest_made_anew_does_not_get_past_the_mac() {
        let protection = cheap();
        let bytes = file(&protection);
        let mut document: Document = serde_json::from_slice(&bytes).unwrap();
        // What an attacker would want: a key that was switched off, back in use.
        document.content.keys[1].state = RecordState::Enabled;
        document.digest = BASE64.encode(protect::digest(&compact(&document.content).unwrap()));
        let forged = pretty(&document).unwrap();
        assert!(check_keyring(&forged, None).is_ok_and(|summary| !summary.authenticated));
        let error = check_keyring(&forged, Some(&passphrase())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        // Nor does leaving the MAC out.
        document.mac = None;
        let error = check_keyring(&pretty(&document).unwrap(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_key_cannot_take_the_place_of_another() {
        let protection = cheap();
        let mut document: Document = serde_json::from_slice(&file(&protection)).unwrap();
        let moved = document.content.keys[1].material.take();
        document.content.keys[4].material = moved;
        document.content.keys[1].state = RecordState::Destroyed;
        let content = compact(&document.content).unwrap();
        document.digest = BASE64.encode(protect::digest(&content));
        document.mac = protection.mac(&content).map(|mac| BASE64.encode(mac));
        let error = read(&pretty(&document).unwrap(), &protection)
            .err()
            .unwrap();
        assert!(error.message().contains("version 5"), "{error}");
    }

    /// Changes the content and makes the digest fit.
    fn forged(change: impl FnOnce(&mut Content)) -> Error {
        let mut document: Document = serde_json::from_slice(&file(&Protection::None)).unwrap();
        change(&mut document.content);
        document.digest = BASE64.encode(protect::digest(&compact(&document.content).unwrap()));
        check_keyring(&pretty(&document).unwrap(), None).unwrap_err()
    }

    #[test]
    fn what_no_keyring_holds_is_refused_by_name() {
        type Change = fn(&mut Content);
        let changes: [(&str, Change); 17] = [
            ("keyring_id", |c| c.keyring_id = "5A".repeat(16)),
            ("in order", |c| c.keys[1].version = 1),
            ("in order", |c| drop(c.keys.remove(0))),
            ("in order", |c| c.keys.swap(0, 1)),
            ("newest version", |c| drop(c.keys.pop())),
            ("newest version", |c| c.keys.clear()),
            ("newest version", |c| {
                c.keys[4].state = RecordState::Disabled;
            }),
            ("version 5", |c| c.keys[4].destroy_due_ms = Some(1)),
            ("version 4", |c| c.keys[3].state = RecordState::Enabled),
            ("version 1", |c| c.keys[0].destroy_due_ms = Some(u64::MAX)),
            ("version 2", |c| {
                c.keys[1].material = Some(SecretText(Zeroizing::new("AAAA".into())));
            }),
            ("version 2", |c| {
                c.keys[1].fingerprint = "0123456789ABCDEF".into();
            }),
            ("version 4", |c| c.keys[3].fingerprint.clear()),
            ("version 5: its fingerprint is not", |c| {
                c.keys[4].fingerprint = c.keys[1].fingerprint.clone();
            }),
            ("version 2: its fingerprint is not", |c| {
                c.keys[1].fingerprint = "0".repeat(16);
            }),
            ("created_ms", |c| c.keys[4].created_ms = 1),
            ("updated_ms", |c| c.updated_ms = u64::MAX),
        ];
        for (name, change) in changes {
            let error = forged(change);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
            assert!(error.message().contains(name), "{name}: {error}");
        }
    }

    #[test]
    fn a_hostile_file_cannot_ask_for_much_work() {
        for (memory_kib, passes, lanes) in [
            (1 << 30, 1, 1),
            (u32::MAX, u32::MAX, u32::MAX),
            (8, 17, 1),
            (8, 0, 1),
            (128, 1, 17),
            (1024 * 1024, 5, 1),
            (7, 1, 1),
        ] {
            let error = forged(|content| {
                content.passphrase = Some(Passphrase {
                    kdf: KDF.to_owned(),
                    memory_kib,
                    passes,
                    lanes,
                    salt: BASE64.encode([0; 32]),
                    check: BASE64.encode([0; 32]),
                });
            });
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(
                error.message().contains("`passphrase`: Argon2id"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_newer_format_and_a_foreign_file_are_told_apart() {
        let text = String::from_utf8(file(&Protection::None)).unwrap();
        let newer = text.replace(
            "\"version\": 1,\n  \"content\"",
            "\"version\": 2,\n  \"new\": 1,\n  \"content\"",
        );
        assert_ne!(newer, text);
        assert_eq!(
            parse(newer.as_bytes()).err().unwrap().kind(),
            ErrorKind::Unsupported
        );
        let foreign = text.replace(FORMAT, "something-else");
        assert!(
            parse(foreign.as_bytes())
                .err()
                .unwrap()
                .message()
                .contains("`format`")
        );
        let unknown = text.replace("\"revision\"", "\"extra\": 1,\n    \"revision\"");
        let error = parse(unknown.as_bytes()).err().unwrap();
        assert!(error.message().contains("newer version"), "{error}");
        assert_eq!(
            parse(&vec![b' '; MAX_LEN + 1]).err().unwrap().kind(),
            ErrorKind::Corrupt
        );
    }

    #[test]
    fn a_full_keyring_fits_its_bounds() {
        let protection = cheap();
        let mut full = keyring(&protection);
        let pending = full.versions[0].clone();
        full.versions = (1..=10_000)
            .map(|number| Version {
                number,
                ..pending.clone()
            })
            .collect();
        full.versions[9_999] = Version {
            number: 10_000,
            life: Life::Enabled(Arc::clone(pending.life.material().unwrap())),
            ..pending
        };
        assert_eq!(full.fault(), None);
        let bytes = render(&full, &protection).unwrap();
        assert_eq!(check_keyring(&bytes, None).unwrap().versions.len(), 10_000);
    }

    #[test]
    fn no_error_quotes_a_key() {
        let bytes = file(&Protection::None);
        let document: Document = serde_json::from_slice(&bytes).unwrap();
        let key = &document.content.keys[4].material.as_ref().unwrap().0;
        let text = String::from_utf8(bytes).unwrap();
        let misplaced = text.replace(
            "\"state\": \"enabled\"",
            &format!("\"state\": \"{}\"", **key),
        );
        let error = parse(misplaced.as_bytes()).err().unwrap();
        assert!(!format!("{error} {error:?} {}", error.remedy()).contains(&***key));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(check_keyring(&bytes, None).is_err());
        }

        #[test]
        fn damaged_files_are_read_without_panic(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
            with_passphrase in any::<bool>(),
        ) {
            let protection = if with_passphrase { cheap() } else { Protection::None };
            let bytes = file(&protection);
            let mut changed = bytes.clone();
            for (position, byte) in changes {
                changed[position.index(bytes.len())] = byte;
            }
            prop_assert_eq!(read(&changed, &protection).is_ok(), changed == bytes);
            let _ = check_keyring(&changed[..cut.index(bytes.len())], Some(&passphrase()));
        }

        #[test]
        fn a_forged_content_is_read_without_panic(
            version in any::<u32>(), created in any::<u64>(), due in any::<Option<u64>>(),
            updated in any::<u64>(), state in 0..4_usize, key in 0..5_usize, material in ".{0,50}",
        ) {
            let mut document: Document = serde_json::from_slice(&file(&Protection::None)).unwrap();
            document.content.updated_ms = updated;
            let record = &mut document.content.keys[key];
            record.version = version;
            record.created_ms = created;
            record.destroy_due_ms = due;
            record.state = [
                RecordState::Enabled,
                RecordState::Disabled,
                RecordState::PendingDestruction,
                RecordState::Destroyed,
            ][state];
            record.material = Some(SecretText(Zeroizing::new(material)));
            document.digest = BASE64.encode(protect::digest(&compact(&document.content).unwrap()));
            let error = check_keyring(&pretty(&document).unwrap(), None).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}
