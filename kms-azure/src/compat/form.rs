//! What upstream's ciphertexts and annotations look like.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kms_core::{Error, SecretBytes, WrappedKey};
use zeroize::Zeroizing;

use crate::vault::KeyKind;

/// The annotation that says how to read the others.
pub const VERSION_ANNOTATION: (&str, &str) = ("version.azure.akv.io", "1");
/// The annotation that names the algorithm.
pub const ALGORITHM_ANNOTATION: (&str, &str) = ("algorithm.azure.akv.io", "RSA-OAEP-256");

/// The longest plaintext that is decoded: what RSA1_5 takes under 4,096 bits.
const MAX_PLAINTEXT: usize = 501;

/// How a ciphertext is stored, which also says how the DEK stands in its plaintext.
///
/// ```
/// use kms_azure::compat::StoredForm;
///
/// assert_eq!(StoredForm::of(&[b'A'; 342]), Some(StoredForm::Text { modulus_len: 256 }));
/// assert_eq!(StoredForm::of(&[b'A'; 256]), Some(StoredForm::Bytes { modulus_len: 256 }));
/// assert_eq!(StoredForm::of(&[b'A'; 512]), Some(StoredForm::Text { modulus_len: 384 }));
/// assert_eq!(StoredForm::of(&[0; 512]), Some(StoredForm::Bytes { modulus_len: 512 }));
/// assert_eq!(StoredForm::of(b"neither"), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoredForm {
    /// Azure/kubernetes-kms: the base64url text, without padding, that Key Vault answers. The
    /// plaintext is the DEK.
    Text {
        /// The length of the RSA modulus, and of the ciphertext, in bytes.
        modulus_len: usize,
    },
    /// openshift/azure-kubernetes-kms: the ciphertext's bytes. The plaintext is base64url text of
    /// the DEK.
    Bytes {
        /// The length of the RSA modulus, and of the ciphertext, in bytes.
        modulus_len: usize,
    },
}

impl StoredForm {
    /// The form of a stored ciphertext; `None` if it is neither.
    #[must_use]
    pub fn of(ciphertext: &[u8]) -> Option<Self> {
        let is_text = || {
            ciphertext
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        match ciphertext.len() {
            342 if is_text() => Some(Self::Text { modulus_len: 256 }),
            512 if is_text() => Some(Self::Text { modulus_len: 384 }),
            683 if is_text() => Some(Self::Text { modulus_len: 512 }),
            modulus_len @ (256 | 384 | 512) => Some(Self::Bytes { modulus_len }),
            _ => None,
        }
    }

    /// What one operation weighs in a vault's limits.
    pub(super) fn units(self) -> u32 {
        let (Self::Text { modulus_len } | Self::Bytes { modulus_len }) = self;
        let bits = u16::try_from(modulus_len.saturating_mul(8)).unwrap_or(u16::MAX);
        KeyKind::Rsa { bits, hsm: false }.units()
    }

    /// The bytes that go to the vault.
    pub(super) fn ciphertext(self, stored: &[u8]) -> Option<Vec<u8>> {
        let (bytes, modulus_len) = match self {
            Self::Text { modulus_len } => (URL_SAFE_NO_PAD.decode(stored).ok()?, modulus_len),
            Self::Bytes { modulus_len } => (stored.to_vec(), modulus_len),
        };
        (bytes.len() == modulus_len).then_some(bytes)
    }

    /// The DEK in what the vault answers.
    pub(super) fn dek(self, plaintext: SecretBytes) -> Option<SecretBytes> {
        if matches!(self, Self::Text { .. }) {
            return Some(plaintext);
        }
        if plaintext.len() > MAX_PLAINTEXT {
            return None;
        }
        let mut decoded = Zeroizing::new([0; MAX_PLAINTEXT]);
        let length = URL_SAFE_NO_PAD
            .decode_slice(plaintext.expose(), decoded.as_mut_slice())
            .ok()?;
        let dek = decoded.get(..length).filter(|dek| !dek.is_empty())?;
        Some(SecretBytes::copy_from_slice(dek))
    }
}

/// What upstream demands of a v2 value before it asks the vault, the key id excepted.
pub(super) fn annotations_fit(wrapped: &WrappedKey) -> bool {
    [VERSION_ANNOTATION, ALGORITHM_ANNOTATION]
        .iter()
        .all(|(name, value)| wrapped.annotation(name) == Some(value.as_bytes()))
}

/// A wrapped key of ours in upstream's form, under upstream's id.
pub(super) fn to_upstream(id: kms_core::KeyId, ciphertext: &[u8]) -> Result<WrappedKey, Error> {
    let text = URL_SAFE_NO_PAD.encode(ciphertext).into_bytes();
    let mut wrapped = WrappedKey::new(id, text)?;
    for (name, value) in [VERSION_ANNOTATION, ALGORITHM_ANNOTATION] {
        wrapped = wrapped.with_annotation(name, value.as_bytes().to_vec())?;
    }
    Ok(wrapped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_padded_or_foreign_text_is_no_text() {
        for letter in [b'+', b'/', b'=', b' ', b'\n'] {
            let mut text = vec![b'A'; 342];
            text[100] = letter;
            assert_eq!(StoredForm::of(&text), None);
        }
        // The last letter has bits that belong to no byte.
        let mut text = vec![b'A'; 342];
        text[341] = b'B';
        let form = StoredForm::of(&text).unwrap();
        assert_eq!(form.ciphertext(&text), None);
    }

    #[test]
    fn a_dek_is_decoded_once_and_strictly() {
        let bytes = StoredForm::Bytes { modulus_len: 256 };
        let text = StoredForm::Text { modulus_len: 256 };
        let secret = |bytes: &[u8]| SecretBytes::copy_from_slice(bytes);
        assert_eq!(bytes.dek(secret(b"AAEC")).unwrap().expose(), [0, 1, 2]);
        assert_eq!(text.dek(secret(b"AAEC")).unwrap().expose(), b"AAEC");
        for bad in [&b"AAE="[..], b"A", b"", b"AA+/", &[b'A'; 502]] {
            assert_eq!(bytes.dek(secret(bad)), None);
        }
    }

    proptest! {
        #[test]
        fn both_forms_are_told_apart(modulus_len in prop::sample::select(vec![256_usize, 384, 512]), seed: u8) {
            // A ciphertext has a byte outside of the alphabet, but for one in 2^512 at least.
            let ciphertext: Vec<u8> = (0..modulus_len)
                .map(|at| u8::try_from(at % 251).unwrap().wrapping_add(seed))
                .collect();
            let text = URL_SAFE_NO_PAD.encode(&ciphertext).into_bytes();
            let form = StoredForm::of(&text).unwrap();
            prop_assert_eq!(form, StoredForm::Text { modulus_len });
            prop_assert_eq!(&form.ciphertext(&text).unwrap(), &ciphertext);
            let form = StoredForm::of(&ciphertext).unwrap();
            prop_assert_eq!(form, StoredForm::Bytes { modulus_len });
            prop_assert_eq!(form.ciphertext(&ciphertext).unwrap(), ciphertext);
        }

        #[test]
        fn hostile_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            if let Some(form) = StoredForm::of(&bytes) {
                form.ciphertext(&bytes);
                form.dek(SecretBytes::copy_from_slice(&bytes));
            }
        }
    }
}
