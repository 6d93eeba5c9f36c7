//! What names a keyring, a key, and one version of a keyring.

use ring::hmac;

use crate::{Error, KeyId, SecretBytes};

const LABEL_FINGERPRINT: &[u8] = b"kms local key id v1";

/// 128 random bits that name a keyring and begin the ids of its keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct KeyringId([u8; 16]);

impl KeyringId {
    pub(super) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// 32 lower-case hexadecimal digits.
    pub(super) fn to_hex(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    /// Reads what [`to_hex`](Self::to_hex) writes, and nothing else.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let value = is_hex(text, 32).then(|| u128::from_str_radix(text, 16).ok())??;
        Some(Self(value.to_be_bytes()))
    }

    /// The id of a key: `local/<keyring id>/<version>-<fingerprint>`.
    pub(super) fn key_id(self, version: u32, fingerprint: Fingerprint) -> Result<KeyId, Error> {
        let (keyring, fingerprint) = (self.to_hex(), fingerprint.to_hex());
        KeyId::new(format!("local/{keyring}/{version}-{fingerprint}"))
    }

    /// The version and the key that an id of this keyring names; `None` if it is not one.
    pub(super) fn named_by(self, id: &KeyId) -> Option<(u32, Fingerprint)> {
        let rest = id.as_str().strip_prefix("local/")?;
        let rest = rest.strip_prefix(&self.to_hex())?.strip_prefix('/')?;
        let (digits, fingerprint) = rest.split_once('-')?;
        let version = digits.parse::<u32>().ok()?;
        // "+4" and "04" parse too; only one spelling is the id.
        let canonical = version.to_string() == digits;
        Some((
            canonical.then_some(version)?,
            Fingerprint::from_hex(fingerprint)?,
        ))
    }
}

/// Says which key it is, and nothing about the key: 64 bits of HMAC-SHA256 under it.
///
/// Two copies of a keyring that are both rotated give one version number to two keys. This tells
/// them apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fingerprint([u8; 8]);

impl Fingerprint {
    pub(super) fn of(key: &SecretBytes) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        let tag = hmac::sign(&key, LABEL_FINGERPRINT);
        // The tag has 32 bytes.
        Self(tag.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// 16 lower-case hexadecimal digits.
    pub(super) fn to_hex(self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.0))
    }

    /// Reads what [`to_hex`](Self::to_hex) writes, and nothing else.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let value = is_hex(text, 16).then(|| u64::from_str_radix(text, 16).ok())??;
        Some(Self(value.to_be_bytes()))
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_has_one_spelling() {
        let id = KeyringId::from_bytes([0xab; 16]);
        let hex = "ab".repeat(16);
        assert_eq!(KeyringId::from_hex(&hex), Some(id));
        assert_eq!(KeyringId::from_hex(&hex.to_uppercase()), None);
        assert_eq!(KeyringId::from_hex(&format!("+{}", &hex[1..])), None);
        let key = Fingerprint([1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        let named = |text: String| id.named_by(&text.parse().unwrap());
        let text = format!("local/{hex}/42-0123456789abcdef");
        assert_eq!(named(text.clone()), Some((42, key)));
        assert_eq!(id.key_id(42, key).unwrap().as_str(), text);
        for other in [
            format!("local/{hex}/042-0123456789abcdef"),
            format!("local/{hex}/+42-0123456789abcdef"),
            format!("local/{hex}/4294967296-0123456789abcdef"),
            format!("local/{hex}/-0123456789abcdef"),
            format!("local/{hex}/42-0123456789ABCDEF"),
            format!("local/{hex}/42-+123456789abcdef"),
            format!("local/{hex}/42-0123456789abcdef0"),
            format!("local/{hex}/42-0123456789abcde"),
            format!("local/{hex}/42-"),
            format!("local/{hex}/42"),
            format!("local/{hex}42-0123456789abcdef"),
            format!("local/{}/42-0123456789abcdef", "cd".repeat(16)),
            format!("remote/{hex}/42-0123456789abcdef"),
        ] {
            assert_eq!(named(other.clone()), None, "{other}");
        }
    }

    /// `printf 'kms local key id v1' | openssl dgst -sha256 -mac hmac -macopt hexkey:0909…09`
    #[test]
    fn a_fingerprint_is_the_begin_of_an_hmac() {
        let key = SecretBytes::from_vec(vec![9; 32]);
        assert_eq!(Fingerprint::of(&key).to_hex(), "aa9ad633c342b391");
    }
}
