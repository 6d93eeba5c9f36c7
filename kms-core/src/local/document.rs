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

use super::protect::{self, Lock, PassphraseCost, Protection};
use super::state::{Keyring, KeyringId, Life, MAX_TIME_MS, MAX_VERSIONS, Material, Version};
use crate::{Error, ErrorKind};

const FORMAT: &str = "kms-local-keyring";
const FORMAT_VERSION: u32 = 1;
const KDF: &str = "argon2id";
/// The longest file, in bytes.
pub(super) const MAX_LEN: usize = 4 * 1024 * 1024;

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
        self.keyring(|version, stored| protection.open(stored, self.id, version))
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
                    "`keys`, version {}: its state, due time and material do not fit together",
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
