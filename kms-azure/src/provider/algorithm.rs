//! Which algorithm a key wraps with, and what a wrapped key looks like.
//!
//! | key | algorithm | ciphertext |
//! |---|---|---|
//! | RSA | RSA-OAEP-256 | as the service gives it: 256, 384 or 512 bytes |
//! | AES | A128KW, A192KW, A256KW | `01`, then the wrapped frame: 16 random bytes, the DEK's length as `u16`, the DEK, zeros up to a multiple of 8 |
//! | AES | A128GCM, A192GCM, A256GCM | `02`, the service's nonce of 12 bytes, the tag of 16, the ciphertext; AAD is the canonical context |
//!
//! AES key wrapping is deterministic and takes multiples of 8 bytes alone, hence the frame: two
//! wraps of one DEK must differ, and any length must do.

use azure_security_keyvault_keys::models::EncryptionAlgorithm;
use kms_core::{Error, ErrorKind, SecretBytes, SecureRandom};
use zeroize::Zeroizing;

use super::local;
use super::options::Operations;
use crate::error::Operation;
use crate::vault::KeyKind;

/// The longest DEK, in bytes: what RSA-OAEP-256 takes under the smallest key, 2,048 bits. The same
/// for every key, since a rotation may change the size.
pub(super) const MAX_DEK: usize = 190;

const KEY_WRAP: u8 = 1;
const GCM: u8 = 2;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const SALT_LEN: usize = 16;
const LENGTH_LEN: usize = 2;
const WRAP_BLOCK: usize = 8;

/// The size of an AES key. A Managed HSM does not tell it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum AesSize {
    /// 128 bits.
    Aes128,
    /// 192 bits.
    Aes192,
    /// 256 bits.
    #[default]
    Aes256,
}

/// How an AES key wraps. An RSA key always wraps by RSA-OAEP-256.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AesMode {
    /// AES key wrap (RFC 3394), by `wrapKey` and `unwrapKey`: needs the fewest rights. It takes no
    /// context.
    KeyWrap(AesSize),
    /// AES-GCM, by `encrypt` and `decrypt`, which the role "Managed HSM Crypto Service Encryption
    /// User" does not have. It binds the context, so it is for AES keys only: with it, an RSA key
    /// is refused.
    Gcm(AesSize),
}

impl Default for AesMode {
    fn default() -> Self {
        Self::KeyWrap(AesSize::default())
    }
}

/// How a key of some kind wraps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Algorithm {
    RsaOaep256,
    KeyWrap(AesSize),
    Gcm(AesSize),
}

impl Algorithm {
    /// The algorithm for a key.
    pub(super) fn of(kind: &KeyKind, mode: AesMode) -> Result<Self, Error> {
        let unsuitable = |what: &str| {
            let error = Error::new(
                ErrorKind::Unsupported,
                format!("the key cannot wrap: {what}"),
            );
            Err(error.with_remedy(
                "make an RSA key of 2048, 3072 or 4096 bits, or in a Managed HSM an oct-HSM key; \
                 elliptic-curve keys only sign",
            ))
        };
        match (kind, mode) {
            (KeyKind::Rsa { .. }, AesMode::KeyWrap(_)) => Ok(Self::RsaOaep256),
            (KeyKind::Rsa { .. }, AesMode::Gcm(_)) => {
                unsuitable("AES-GCM was asked for, and it is an RSA key")
            }
            (KeyKind::Aes, AesMode::KeyWrap(size)) => Ok(Self::KeyWrap(size)),
            (KeyKind::Aes, AesMode::Gcm(size)) => Ok(Self::Gcm(size)),
            (KeyKind::Unsuitable(what), _) => unsuitable(what),
        }
    }

    /// The operation that wraps.
    pub(super) const fn wrap_operation(self, operations: Operations) -> Operation {
        match self {
            Self::RsaOaep256 => operations.wrap(),
            Self::KeyWrap(_) => Operation::WrapKey,
            Self::Gcm(_) => Operation::Encrypt,
        }
    }

    /// The operation that unwraps.
    pub(super) const fn unwrap_operation(self, operations: Operations) -> Operation {
        match self {
            Self::RsaOaep256 => operations.unwrap(),
            Self::KeyWrap(_) => Operation::UnwrapKey,
            Self::Gcm(_) => Operation::Decrypt,
        }
    }

    /// The service's own name for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::KeyWrap(AesSize::Aes128) => "A128KW",
            Self::KeyWrap(AesSize::Aes192) => "A192KW",
            Self::KeyWrap(AesSize::Aes256) => "A256KW",
            Self::Gcm(AesSize::Aes128) => "A128GCM",
            Self::Gcm(AesSize::Aes192) => "A192GCM",
            Self::Gcm(AesSize::Aes256) => "A256GCM",
        }
    }

    pub(super) const fn for_sdk(self) -> EncryptionAlgorithm {
        match self {
            Self::RsaOaep256 => EncryptionAlgorithm::RsaOaep256,
            Self::KeyWrap(AesSize::Aes128) => EncryptionAlgorithm::A128Kw,
            Self::KeyWrap(AesSize::Aes192) => EncryptionAlgorithm::A192Kw,
            Self::KeyWrap(AesSize::Aes256) => EncryptionAlgorithm::A256Kw,
            Self::Gcm(AesSize::Aes128) => EncryptionAlgorithm::A128Gcm,
            Self::Gcm(AesSize::Aes192) => EncryptionAlgorithm::A192Gcm,
            Self::Gcm(AesSize::Aes256) => EncryptionAlgorithm::A256Gcm,
        }
    }
}

/// A stored ciphertext, taken apart.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Parts<'a> {
    pub(super) value: &'a [u8],
    pub(super) nonce: Option<&'a [u8]>,
    pub(super) tag: Option<&'a [u8]>,
}

impl Algorithm {
    /// What is given to the service to wrap.
    pub(super) fn frame(
        self,
        dek: &SecretBytes,
        random: &dyn SecureRandom,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let dek = dek.expose();
        if !matches!(self, Self::KeyWrap(_)) {
            return Ok(Zeroizing::new(dek.to_vec()));
        }
        let length = SALT_LEN
            .saturating_add(LENGTH_LEN)
            .saturating_add(dek.len())
            .next_multiple_of(WRAP_BLOCK);
        let mut salt = [0; SALT_LEN];
        random.fill(&mut salt)?;
        // DEKs are bounded before, far below this.
        let dek_length = u16::try_from(dek.len()).unwrap_or(u16::MAX);
        let mut frame = Zeroizing::new(Vec::with_capacity(length));
        frame.extend_from_slice(&salt);
        frame.extend_from_slice(&dek_length.to_be_bytes());
        frame.extend_from_slice(dek);
        frame.resize(length, 0);
        Ok(frame)
    }

    /// The DEK in what the service has unwrapped; `None` if it is not of this form.
    pub(super) fn unframe(self, frame: SecretBytes) -> Option<SecretBytes> {
        if !matches!(self, Self::KeyWrap(_)) {
            return Some(frame);
        }
        let (_salt, rest) = frame.expose().split_at_checked(SALT_LEN)?;
        let (length, rest) = rest.split_first_chunk::<LENGTH_LEN>()?;
        let (dek, padding) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let fits = padding.len() < WRAP_BLOCK && padding.iter().all(|byte| *byte == 0);
        fits.then(|| SecretBytes::copy_from_slice(dek))
    }

    /// The ciphertext to store. `None` if the service's answer is not of the form it has.
    pub(super) fn assemble(
        self,
        value: &[u8],
        nonce: Option<&[u8]>,
        tag: Option<&[u8]>,
    ) -> Option<Vec<u8>> {
        match self {
            Self::RsaOaep256 => Some(value.to_vec()),
            Self::KeyWrap(_) => Some([&[KEY_WRAP][..], value].concat()),
            Self::Gcm(_) => {
                let nonce = nonce.filter(|nonce| nonce.len() == NONCE_LEN)?;
                let tag = tag.filter(|tag| tag.len() == TAG_LEN)?;
                Some([&[GCM][..], nonce, tag, value].concat())
            }
        }
    }

    /// Takes a stored ciphertext apart; `None` if it is not of this form.
    pub(super) fn take_apart(self, ciphertext: &[u8]) -> Option<Parts<'_>> {
        let whole = |value| Parts {
            value,
            nonce: None,
            tag: None,
        };
        match (self, ciphertext) {
            (Self::RsaOaep256, value) => local::rsa_bits(value.len()).map(|_| whole(value)),
            (Self::KeyWrap(_), [KEY_WRAP, value @ ..]) => {
                let fits = value.len() > WRAP_BLOCK && value.len().is_multiple_of(WRAP_BLOCK);
                fits.then_some(whole(value))
            }
            (Self::Gcm(_), [GCM, rest @ ..]) => {
                let (nonce, rest) = rest.split_at_checked(NONCE_LEN)?;
                let (tag, value) = rest.split_at_checked(TAG_LEN)?;
                Some(Parts {
                    value,
                    nonce: Some(nonce),
                    tag: Some(tag),
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use kms_core::OsRandom;
    use proptest::prelude::*;

    use super::*;

    const KW: Algorithm = Algorithm::KeyWrap(AesSize::Aes256);

    #[test]
    fn what_cannot_wrap_is_refused() {
        let rsa = KeyKind::Rsa {
            bits: 2048,
            hsm: false,
        };
        let gcm = AesMode::Gcm(AesSize::Aes256);
        let wrap = AesMode::default();
        assert_eq!(Algorithm::of(&rsa, wrap).unwrap(), Algorithm::RsaOaep256);
        assert_eq!(Algorithm::of(&KeyKind::Aes, wrap).unwrap(), KW);
        for (kind, mode) in [
            (&rsa, gcm),
            (&KeyKind::Unsuitable("an elliptic curve".into()), wrap),
        ] {
            let error = Algorithm::of(kind, mode).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn a_gcm_ciphertext_has_its_parts() {
        let gcm = Algorithm::Gcm(AesSize::Aes256);
        let (nonce, tag) = ([1; NONCE_LEN], [2; TAG_LEN]);
        let stored = gcm.assemble(b"value", Some(&nonce), Some(&tag)).unwrap();
        let parts = gcm.take_apart(&stored).unwrap();
        assert_eq!(parts.value, b"value");
        assert_eq!((parts.nonce, parts.tag), (Some(&nonce[..]), Some(&tag[..])));
        assert_eq!(gcm.assemble(b"value", None, Some(&tag)), None);
        assert_eq!(gcm.assemble(b"value", Some(&nonce[1..]), Some(&tag)), None);
        assert_eq!(KW.take_apart(&stored), None);
    }

    proptest! {
        #[test]
        fn frames_are_reversible(dek in proptest::collection::vec(any::<u8>(), 1..=MAX_DEK)) {
            let dek = SecretBytes::from_vec(dek);
            for algorithm in [KW, Algorithm::RsaOaep256] {
                let frame = algorithm.frame(&dek, &OsRandom).unwrap();
                let back = algorithm.unframe(SecretBytes::copy_from_slice(&frame)).unwrap();
                prop_assert_eq!(&back, &dek);
            }
            prop_assert_eq!(KW.frame(&dek, &OsRandom).unwrap().len() % WRAP_BLOCK, 0);
        }

        #[test]
        fn hostile_ciphertexts_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for algorithm in [KW, Algorithm::RsaOaep256, Algorithm::Gcm(AesSize::Aes128)] {
                algorithm.take_apart(&bytes);
                algorithm.unframe(SecretBytes::copy_from_slice(&bytes));
            }
        }
    }
}
