//! AES keys of a Managed HSM.

use core::fmt;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use kms_core::{OsRandom, SecureRandom as _};
use zeroize::Zeroizing;

use super::wrap::{unwrap, unwrap_padded, wrap, wrap_padded};
use crate::vault::refusal::Refusal;

const BLOCK: usize = 16;
/// More plaintext than this is refused in one call.
const MAX_PLAINTEXT: usize = 16 * 1024;

/// A key of 128, 192 or 256 bits.
pub(in crate::vault) struct OctKey(Zeroizing<Vec<u8>>);

/// What symmetric encryption gives.
#[derive(Debug)]
pub(in crate::vault) struct Sealed {
    pub(in crate::vault) value: Vec<u8>,
    pub(in crate::vault) iv: Vec<u8>,
    pub(in crate::vault) tag: Option<Vec<u8>>,
}

/// The modes of `encrypt` and `decrypt`.
#[derive(Clone, Copy)]
enum Mode {
    Gcm,
    Cbc,
    CbcPadded,
}

impl OctKey {
    pub(in crate::vault) fn generate(bits: usize) -> Result<Self, Refusal> {
        let mut key = Zeroizing::new(vec![0; bits / 8]);
        random(&mut key)?;
        Self::new(key)
    }

    pub(in crate::vault) fn new(key: Zeroizing<Vec<u8>>) -> Result<Self, Refusal> {
        match key.len() {
            16 | 24 | 32 => Ok(Self(key)),
            other => Err(Refusal::bad_parameter(format!(
                "Key size {} is not supported: 128, 192 or 256.",
                other.saturating_mul(8)
            ))),
        }
    }

    pub(in crate::vault) fn bits(&self) -> usize {
        self.0.len().saturating_mul(8)
    }

    /// For a backup.
    pub(in crate::vault) const fn bytes(&self) -> &Zeroizing<Vec<u8>> {
        &self.0
    }

    /// `encrypt`: GCM draws its own nonce, CBC takes the caller's.
    pub(in crate::vault) fn encrypt(
        &self,
        algorithm: &str,
        plaintext: &[u8],
        iv: Option<&[u8]>,
        aad: &[u8],
    ) -> Result<Sealed, Refusal> {
        let mode = self.mode(algorithm)?;
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(length(algorithm, plaintext.len()));
        }
        let mut value = plaintext.to_vec();
        match mode {
            Mode::Gcm => {
                if iv.is_some() {
                    return Err(Refusal::bad_parameter(
                        "Property iv must not be given: the service makes it for AES-GCM.",
                    ));
                }
                let mut nonce = [0; NONCE_LEN];
                random(&mut nonce)?;
                let tag = self
                    .aead()?
                    .seal_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::from(aad),
                        &mut value,
                    )
                    .map_err(broken)?;
                Ok(Sealed {
                    value,
                    iv: nonce.to_vec(),
                    tag: Some(tag.as_ref().to_vec()),
                })
            }
            Mode::Cbc | Mode::CbcPadded => {
                let iv = cbc_iv(iv)?;
                let context = EncryptionContext::Iv128(FixedLength::from(iv));
                if matches!(mode, Mode::CbcPadded) {
                    PaddedBlockEncryptingKey::cbc_pkcs7(self.cipher()?)
                        .and_then(|key| key.less_safe_encrypt(&mut value, context))
                        .map_err(broken)?;
                } else {
                    whole_blocks(algorithm, plaintext.len())?;
                    EncryptingKey::cbc(self.cipher()?)
                        .and_then(|key| key.less_safe_encrypt(&mut value, context))
                        .map_err(broken)?;
                }
                Ok(Sealed {
                    value,
                    iv: iv.to_vec(),
                    tag: None,
                })
            }
        }
    }

    /// `decrypt`. What does not open is refused without a reason.
    pub(in crate::vault) fn decrypt(
        &self,
        algorithm: &str,
        ciphertext: &[u8],
        iv: Option<&[u8]>,
        aad: &[u8],
        tag: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let mode = self.mode(algorithm)?;
        let wrong = |_| Refusal::bad_parameter("The parameter is incorrect.\r\n");
        let mut value = Zeroizing::new(ciphertext.to_vec());
        match mode {
            Mode::Gcm => {
                let nonce = iv
                    .and_then(|iv| Nonce::try_assume_unique_for_key(iv).ok())
                    .ok_or_else(|| Refusal::bad_parameter("Property iv must have 12 bytes."))?;
                let tag = tag
                    .filter(|tag| tag.len() == BLOCK)
                    .ok_or_else(|| Refusal::bad_parameter("Property tag must have 16 bytes."))?;
                value.extend_from_slice(tag);
                let length = self
                    .aead()?
                    .open_in_place(nonce, Aad::from(aad), &mut value)
                    .map_err(wrong)?
                    .len();
                value.truncate(length);
            }
            Mode::Cbc | Mode::CbcPadded => {
                let context = DecryptionContext::Iv128(FixedLength::from(cbc_iv(iv)?));
                whole_blocks(algorithm, ciphertext.len())?;
                let length = if matches!(mode, Mode::CbcPadded) {
                    PaddedBlockDecryptingKey::cbc_pkcs7(self.cipher()?)
                        .and_then(|key| Ok(key.decrypt(&mut value, context)?.len()))
                } else {
                    DecryptingKey::cbc(self.cipher()?)
                        .and_then(|key| Ok(key.decrypt(&mut value, context)?.len()))
                }
                .map_err(wrong)?;
                value.truncate(length);
            }
        }
        Ok(value)
    }

    /// `wrapKey`.
    pub(in crate::vault) fn wrap(&self, algorithm: &str, key: &[u8]) -> Result<Vec<u8>, Refusal> {
        let padded = self.wraps_padded(algorithm)?;
        let bad_length = || length(algorithm, key.len());
        if key.len() > MAX_PLAINTEXT {
            return Err(bad_length());
        }
        if padded {
            wrap_padded(&self.0, key).map_err(|_| bad_length())
        } else {
            wrap(&self.0, key).map_err(|_| bad_length())
        }
    }

    /// `unwrapKey`. What does not open is refused without a reason.
    pub(in crate::vault) fn unwrap(
        &self,
        algorithm: &str,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        if self.wraps_padded(algorithm)? {
            unwrap_padded(&self.0, wrapped)
        } else {
            unwrap(&self.0, wrapped)
        }
        .map_err(|_| Refusal::bad_parameter("The parameter is incorrect.\r\n"))
    }

    /// Whether this key wrapping algorithm pads; refused if it is none, or of another key size.
    fn wraps_padded(&self, algorithm: &str) -> Result<bool, Refusal> {
        match algorithm {
            "A128KW" | "A192KW" | "A256KW" => {
                self.of_size(algorithm)?;
                Ok(false)
            }
            "CKM_AES_KEY_WRAP" => Ok(false),
            "CKM_AES_KEY_WRAP_PAD" => Ok(true),
            other => Err(unsupported(other)),
        }
    }

    fn mode(&self, algorithm: &str) -> Result<Mode, Refusal> {
        let mode = match algorithm {
            "A128GCM" | "A192GCM" | "A256GCM" => Mode::Gcm,
            "A128CBC" | "A192CBC" | "A256CBC" => Mode::Cbc,
            "A128CBCPAD" | "A192CBCPAD" | "A256CBCPAD" => Mode::CbcPadded,
            other => return Err(unsupported(other)),
        };
        self.of_size(algorithm)?;
        Ok(mode)
    }

    /// `A256…` needs a key of 256 bits.
    fn of_size(&self, algorithm: &str) -> Result<(), Refusal> {
        if algorithm.get(1..4) == Some(self.bits().to_string().as_str()) {
            return Ok(());
        }
        Err(Refusal::bad_parameter(format!(
            "Algorithm {algorithm} is not supported by a key of {} bits.",
            self.bits()
        )))
    }

    fn aead(&self) -> Result<LessSafeKey, Refusal> {
        let algorithm = match self.bits() {
            128 => &aead::AES_128_GCM,
            192 => &aead::AES_192_GCM,
            _ => &aead::AES_256_GCM,
        };
        UnboundKey::new(algorithm, &self.0)
            .map(LessSafeKey::new)
            .map_err(broken)
    }

    fn cipher(&self) -> Result<UnboundCipherKey, Refusal> {
        UnboundCipherKey::new(block_cipher(self.0.len()), &self.0).map_err(broken)
    }
}

impl fmt::Debug for OctKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OctKey")
            .field("bits", &self.bits())
            .finish_non_exhaustive()
    }
}

const fn block_cipher(key_len: usize) -> &'static cipher::Algorithm {
    match key_len {
        16 => &cipher::AES_128,
        24 => &cipher::AES_192,
        _ => &cipher::AES_256,
    }
}

fn cbc_iv(iv: Option<&[u8]>) -> Result<[u8; BLOCK], Refusal> {
    iv.and_then(|iv| iv.try_into().ok())
        .ok_or_else(|| Refusal::bad_parameter("Property iv must have 16 bytes."))
}

fn whole_blocks(algorithm: &str, len: usize) -> Result<(), Refusal> {
    if len == 0 || !len.is_multiple_of(BLOCK) {
        return Err(length(algorithm, len));
    }
    Ok(())
}

fn length(algorithm: &str, len: usize) -> Refusal {
    Refusal::bad_parameter(format!(
        "Property value has invalid length {len} for {algorithm}."
    ))
}

fn unsupported(algorithm: &str) -> Refusal {
    Refusal::bad_parameter(format!(
        "Algorithm {algorithm} is not supported by a key of type oct-HSM."
    ))
}

fn broken(_: aws_lc_rs::error::Unspecified) -> Refusal {
    Refusal::internal("AES failed")
}

fn random(bytes: &mut [u8]) -> Result<(), Refusal> {
    OsRandom
        .fill(bytes)
        .map_err(|_| Refusal::internal("no randomness"))
}
