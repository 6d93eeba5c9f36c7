//! Looking at a keyring file without serving from it.

use std::time::SystemTime;

use super::document::{self, Parsed};
use super::protect::{PassphraseKeys, Protection};
use super::state::{KeyringVersion, time_of};
use crate::{Error, ErrorKind, SecretBytes};

/// What a keyring file holds. No key material.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyringSummary {
    /// The 32 hexadecimal digits that name the keyring and begin the ids of its keys.
    pub keyring_id: String,
    /// How often it was changed, its creation included.
    pub revision: u64,
    /// When it was last changed.
    pub updated: SystemTime,
    /// Whether it is under a passphrase.
    pub passphrase: bool,
    /// Whether the MAC was checked. Without it the content is merely free of accidents.
    pub authenticated: bool,
    /// Every version, oldest first.
    pub versions: Vec<KeyringVersion>,
}

/// Checks the bytes of a keyring file, such as those of a backup, and says what is in it.
///
/// Without a passphrase a keyring that has one is checked for everything but its MAC and its key
/// material; nothing slow is done then.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] if the bytes are no whole keyring; [`ErrorKind::Unsupported`] if a newer
/// version of this software wrote them; [`ErrorKind::Unauthenticated`] if the passphrase is wrong;
/// [`ErrorKind::InvalidInput`] if one is given and the keyring has none.
pub fn check_keyring(
    bytes: &[u8],
    passphrase: Option<&SecretBytes>,
) -> Result<KeyringSummary, Error> {
    let parsed = document::parse(bytes)?;
    let (keyring, authenticated) = match (parsed.lock(), passphrase) {
        (Some(_), None) => (parsed.outline()?, false),
        _ => {
            let protection = unlock(&parsed, passphrase)?;
            (parsed.open(&protection)?, protection.lock().is_some())
        }
    };
    Ok(KeyringSummary {
        keyring_id: keyring.id.to_hex(),
        revision: keyring.revision,
        updated: time_of(keyring.updated_ms),
        passphrase: parsed.lock().is_some(),
        authenticated,
        versions: keyring.describe_all()?,
    })
}

/// Derives the keys of a file from its passphrase; takes as long as that costs.
pub(super) fn unlock(
    parsed: &Parsed,
    passphrase: Option<&SecretBytes>,
) -> Result<Protection, Error> {
    match (parsed.lock(), passphrase) {
        (None, None) => Ok(Protection::None),
        (Some(lock), Some(passphrase)) => {
            PassphraseKeys::open(passphrase, lock).map(Protection::Passphrase)
        }
        (Some(_), None) => Err(Error::new(
            ErrorKind::Unauthenticated,
            "the keyring is under a passphrase and none was given",
        )
        .with_remedy("give the passphrase")),
        // Whoever asks for a passphrase must not be served keys that somebody put there without.
        (None, Some(_)) => Err(Error::new(
            ErrorKind::InvalidInput,
            "a passphrase was given and the keyring has none",
        )
        .with_remedy(
            "check that this is the keyring you mean; if it is, open it without and set one",
        )),
    }
}
