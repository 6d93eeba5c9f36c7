//! What stands between the keyring file and someone who reads or changes it.
//!
//! With a passphrase: Argon2id makes a root of it, HKDF-SHA256 makes three keys of the root (labels
//! below). One wraps each key with AES-256-GCM, AAD `"kms local material v1" ‖ keyring id ‖
//! version, u32`; one is for the HMAC-SHA256 over the whole content; the third value is stored and
//! tells a mistyped passphrase from a changed file. Without a passphrase there is a SHA-256 digest,
//! which finds accidents only: whoever can write the file can make a new one.

use core::fmt;

use argon2::{Algorithm, Argon2, Block, Params};
use ring::{digest, hkdf, hmac};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::gcm;
use super::id::KeyringId;
use super::state::{KEY_LEN, Material};
use crate::{Error, ErrorKind, SecretBytes, SecureRandom};

const LABEL_WRAP: &[u8] = b"kms local keyring v1: wrap";
const LABEL_MAC: &[u8] = b"kms local keyring v1: mac";
const LABEL_CHECK: &[u8] = b"kms local keyring v1: check";
const LABEL_MATERIAL: &[u8] = b"kms local material v1";
const LABEL_DIGEST: &[u8] = b"kms local keyring v1: digest";

/// A key under the passphrase, in bytes.
const SEALED_LEN: usize = 60;
const MAX_PASSPHRASE_LEN: usize = 1024;

/// What it costs to try one passphrase: the parameters of Argon2id (RFC 9106).
///
/// They are stored in the keyring file, so a file made with other values still opens. The default
/// is 64 MiB, 3 passes, 1 lane, the second recommendation of RFC 9106, section 4, for one thread.
/// The bounds also hold for values read from a file, so that a hostile one costs seconds at most.
///
/// ```
/// use kms_core::local::PassphraseCost;
///
/// assert_eq!(PassphraseCost::default(), PassphraseCost::new(64 * 1024, 3, 1)?);
/// assert!(PassphraseCost::new(1 << 30, 3, 1).is_err()); // 1 TiB
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PassphraseCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl PassphraseCost {
    /// The most memory, in KiB: 1 GiB.
    pub const MAX_MEMORY_KIB: u32 = 1024 * 1024;
    /// The most passes over the memory.
    pub const MAX_PASSES: u32 = 16;
    /// The most lanes.
    pub const MAX_LANES: u32 = 16;
    /// The most memory times passes, in KiB: 4 GiB, a few seconds of work.
    pub const MAX_WORK_KIB: u32 = 4 * 1024 * 1024;

    /// Checks and takes the parameters. Values below the default are for tests.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if a value is zero or over its bound, the work over
    /// [`PassphraseCost::MAX_WORK_KIB`], or the memory under 8 KiB a lane.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, Error> {
        let fault = if memory_kib > Self::MAX_MEMORY_KIB {
            "Argon2id memory is over 1048576 KiB"
        } else if !(1..=Self::MAX_PASSES).contains(&passes) {
            "Argon2id passes are not 1 to 16"
        } else if !(1..=Self::MAX_LANES).contains(&lanes) {
            "Argon2id lanes are not 1 to 16"
        } else if memory_kib < lanes.saturating_mul(8) {
            "Argon2id memory is under 8 KiB a lane"
        } else if memory_kib.saturating_mul(passes) > Self::MAX_WORK_KIB {
            "Argon2id memory times passes is over 4194304 KiB"
        } else {
            return Ok(Self {
                memory_kib,
                passes,
                lanes,
            });
        };
        Err(Error::new(ErrorKind::InvalidInput, fault))
    }

    /// The memory, in KiB.
    #[must_use]
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// How often the memory is passed over.
    #[must_use]
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// How many lanes the memory has.
    #[must_use]
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }
}

impl Default for PassphraseCost {
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        }
    }
}

/// What the file says about its passphrase. Not secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Lock {
    pub(super) cost: PassphraseCost,
    pub(super) salt: [u8; 32],
    pub(super) check: [u8; 32],
}

/// The keys that come from a passphrase, which itself is not kept.
pub(super) struct PassphraseKeys {
    pub(super) lock: Lock,
    wrapping: SecretBytes,
    mac: SecretBytes,
}

impl PassphraseKeys {
    /// Keys for a new file, or for an old one that gets a new passphrase.
    pub(super) fn create(
        passphrase: &SecretBytes,
        cost: PassphraseCost,
        random: &dyn SecureRandom,
    ) -> Result<Self, Error> {
        let mut salt = [0; 32];
        random.fill(&mut salt)?;
        Self::derive(passphrase, cost, salt)
    }

    /// The keys of a file, if this is its passphrase.
    pub(super) fn open(passphrase: &SecretBytes, lock: &Lock) -> Result<Self, Error> {
        let keys = Self::derive(passphrase, lock.cost, lock.salt)?;
        if bool::from(keys.lock.check.ct_eq(&lock.check)) {
            Ok(keys)
        } else {
            Err(Error::new(
                ErrorKind::Unauthenticated,
                "this is not the passphrase of the keyring",
            )
            .with_remedy("check the passphrase and that this is the keyring you mean"))
        }
    }

    fn derive(
        passphrase: &SecretBytes,
        cost: PassphraseCost,
        salt: [u8; 32],
    ) -> Result<Self, Error> {
        if passphrase.is_empty() || passphrase.len() > MAX_PASSPHRASE_LEN {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the passphrase is empty or over 1024 bytes",
            ));
        }
        let root = argon2id(passphrase, cost, &salt)?;
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(root.expose());
        let mut check = [0; 32];
        expand(&root, LABEL_CHECK, &mut check)?;
        Ok(Self {
            lock: Lock { cost, salt, check },
            wrapping: expand_key(&root, LABEL_WRAP)?,
            mac: expand_key(&root, LABEL_MAC)?,
        })
    }
}

fn argon2id(
    passphrase: &SecretBytes,
    cost: PassphraseCost,
    salt: &[u8],
) -> Result<SecretBytes, Error> {
    let fault = |source: argon2::Error| {
        Error::new(ErrorKind::Internal, "Argon2id failed").with_source(source)
    };
    let params =
        Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_LEN)).map_err(fault)?;
    // Our own memory, because the crate's is not wiped and the last blocks give the result away.
    let mut blocks = Zeroizing::new(Vec::<Block>::new());
    blocks
        .try_reserve_exact(params.block_count())
        .map_err(|source| {
            Error::new(ErrorKind::Internal, "no memory for Argon2id").with_source(source)
        })?;
    blocks.resize(params.block_count(), Block::new());
    let mut out = Zeroizing::new([0; KEY_LEN]);
    Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into_with_memory(
            passphrase.expose(),
            salt,
            out.as_mut_slice(),
            blocks.as_mut_slice(),
        )
        .map_err(fault)?;
    Ok(SecretBytes::copy_from_slice(out.as_slice()))
}

fn expand(root: &hkdf::Prk, label: &[u8], out: &mut [u8; 32]) -> Result<(), Error> {
    root.expand(&[label], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(out))
        .map_err(|_| Error::new(ErrorKind::Internal, "HKDF failed"))
}

fn expand_key(root: &hkdf::Prk, label: &[u8]) -> Result<SecretBytes, Error> {
    let mut key = Zeroizing::new([0; 32]);
    expand(root, label, &mut key)?;
    Ok(SecretBytes::copy_from_slice(key.as_slice()))
}

/// How a keyring file is protected.
pub(super) enum Protection {
    /// By the permissions of the file alone.
    None,
    /// By a passphrase as well.
    Passphrase(PassphraseKeys),
}

impl Protection {
    pub(super) const fn lock(&self) -> Option<&Lock> {
        match self {
            Self::None => None,
            Self::Passphrase(keys) => Some(&keys.lock),
        }
    }

    /// The HMAC over the content, where there is a passphrase.
    pub(super) fn mac(&self, content: &[u8]) -> Option<[u8; 32]> {
        let Self::Passphrase(keys) = self else {
            return None;
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, keys.mac.expose());
        hmac::sign(&key, content).as_ref().try_into().ok()
    }

    /// Compares in constant time; a file without MAC is right only without a passphrase.
    pub(super) fn verifies(&self, content: &[u8], mac: Option<&[u8; 32]>) -> bool {
        match (self.mac(content), mac) {
            (None, None) => true,
            (Some(expected), Some(mac)) => expected.ct_eq(mac).into(),
            _ => false,
        }
    }

    /// Makes a key ready to be stored.
    pub(super) fn seal(
        &self,
        key: SecretBytes,
        keyring: KeyringId,
        version: u32,
        random: &dyn SecureRandom,
    ) -> Result<Material, Error> {
        let sealed = match self {
            Self::None => None,
            Self::Passphrase(keys) => Some(gcm::seal(
                &keys.wrapping,
                &material_aad(keyring, version),
                key.expose(),
                &[],
                random,
            )?),
        };
        Ok(Material { key, sealed })
    }

    /// Reads a key as it is stored; `None` if it is damaged.
    pub(super) fn open(&self, stored: &[u8], keyring: KeyringId, version: u32) -> Option<Material> {
        let (key, sealed) = match self {
            Self::None => (SecretBytes::copy_from_slice(stored), None),
            Self::Passphrase(keys) => {
                let aad = material_aad(keyring, version);
                (
                    gcm::open(&keys.wrapping, &aad, stored)?,
                    Some(stored.to_vec()),
                )
            }
        };
        (key.len() == KEY_LEN).then_some(Material { key, sealed })
    }
}

/// How many bytes one key takes in the file.
pub(super) const fn stored_len(passphrase: bool) -> usize {
    if passphrase { SEALED_LEN } else { KEY_LEN }
}

/// The digest against accidents.
pub(super) fn digest(content: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(LABEL_DIGEST);
    context.update(content);
    let mut out = [0; 32];
    for (out, byte) in out.iter_mut().zip(context.finish().as_ref()) {
        *out = *byte;
    }
    out
}

fn material_aad(keyring: KeyringId, version: u32) -> Vec<u8> {
    [LABEL_MATERIAL, keyring.as_bytes(), &version.to_be_bytes()].concat()
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "Protection::None",
            Self::Passphrase(_) => "Protection::Passphrase",
        })
    }
}
