//! RSA keys: encryption by the three paddings of Key Vault, and signatures.

use core::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{
    KeyPair, KeyPairComponents, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm,
    OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey,
    Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::KeyPair as _;
use zeroize::Zeroizing;

use crate::vault::refusal::Refusal;

/// A key pair of 2048, 3072 or 4096 bits.
pub(in crate::vault) struct RsaKey {
    pair: KeyPair,
    decrypting: PrivateDecryptingKey,
}

/// The numbers of a private key in a JWK, big-endian.
#[derive(Debug)]
pub(in crate::vault) struct RsaParts {
    pub(in crate::vault) n: Vec<u8>,
    pub(in crate::vault) e: Vec<u8>,
    pub(in crate::vault) d: Zeroizing<Vec<u8>>,
    pub(in crate::vault) p: Zeroizing<Vec<u8>>,
    pub(in crate::vault) q: Zeroizing<Vec<u8>>,
    pub(in crate::vault) dp: Zeroizing<Vec<u8>>,
    pub(in crate::vault) dq: Zeroizing<Vec<u8>>,
    pub(in crate::vault) qi: Zeroizing<Vec<u8>>,
}

/// The paddings of `encrypt`, `decrypt`, `wrapKey` and `unwrapKey`.
#[derive(Clone, Copy)]
enum Padding {
    Oaep(&'static OaepAlgorithm),
    Pkcs1,
}

impl Padding {
    fn named(algorithm: &str) -> Option<Self> {
        match algorithm {
            "RSA-OAEP-256" => Some(Self::Oaep(&OAEP_SHA256_MGF1SHA256)),
            "RSA-OAEP" => Some(Self::Oaep(&OAEP_SHA1_MGF1SHA1)),
            "RSA1_5" => Some(Self::Pkcs1),
            _ => None,
        }
    }
}

impl RsaKey {
    /// A new key. Takes from a tenth of a second to seconds, by size.
    pub(in crate::vault) fn generate(bits: usize) -> Result<Self, Refusal> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            other => {
                return Err(Refusal::bad_parameter(format!(
                    "Key size {other} is not supported: 2048, 3072 or 4096."
                )));
            }
        };
        let pair = KeyPair::generate(size)
            .map_err(|_| Refusal::internal("no RSA key could be generated"))?;
        Self::new(pair)
    }

    /// A key from PKCS#8 DER.
    pub(in crate::vault) fn from_pkcs8(der: &[u8]) -> Result<Self, Refusal> {
        let pair = KeyPair::from_pkcs8(der)
            .map_err(|_| Refusal::bad_parameter("The RSA key is not a valid private key."))?;
        Self::new(pair)
    }

    /// A key from the numbers of a JWK, checked against each other.
    pub(in crate::vault) fn from_parts(parts: &RsaParts) -> Result<Self, Refusal> {
        let strip = |number: &[u8]| -> Vec<u8> {
            number
                .iter()
                .copied()
                .skip_while(|byte| *byte == 0)
                .collect()
        };
        let components = KeyPairComponents::<Vec<u8>, &[u8]> {
            public_key: PublicKeyComponents {
                n: strip(&parts.n),
                e: strip(&parts.e),
            },
            d: &parts.d,
            p: &parts.p,
            q: &parts.q,
            dP: &parts.dp,
            dQ: &parts.dq,
            qInv: &parts.qi,
        };
        let pair = KeyPair::from_components(&components)
            .map_err(|_| Refusal::bad_parameter("The RSA key is not a valid private key."))?;
        Self::new(pair)
    }

    fn new(pair: KeyPair) -> Result<Self, Refusal> {
        let unusable = || Refusal::bad_parameter("The RSA key cannot be used.");
        let der = pair.as_der().map_err(|_| unusable())?;
        let decrypting = PrivateDecryptingKey::from_pkcs8(der.as_ref()).map_err(|_| unusable())?;
        match decrypting.key_size_bits() {
            2048 | 3072 | 4096 => Ok(Self { pair, decrypting }),
            other => Err(Refusal::bad_parameter(format!(
                "Key size {other} is not supported: 2048, 3072 or 4096."
            ))),
        }
    }

    /// PKCS#8 DER, for a backup.
    pub(in crate::vault) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let der = self
            .pair
            .as_der()
            .map_err(|_| Refusal::internal("the RSA key could not be encoded"))?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    pub(in crate::vault) fn bits(&self) -> usize {
        self.decrypting.key_size_bits()
    }

    pub(in crate::vault) fn modulus(&self) -> Vec<u8> {
        self.public().n
    }

    pub(in crate::vault) fn exponent(&self) -> Vec<u8> {
        self.public().e
    }

    pub(in crate::vault) const fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// The public half as PKCS#1 has it.
    pub(in crate::vault) fn public_der(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn public(&self) -> PublicKeyComponents<Vec<u8>> {
        PublicKeyComponents::from(self.pair.public_key())
    }

    /// Encrypts with the public half; the refusals name what is wrong.
    pub(in crate::vault) fn encrypt(
        &self,
        algorithm: &str,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let padding = Padding::named(algorithm).ok_or_else(|| unsupported(algorithm))?;
        let public = self.decrypting.public_key();
        let failed = |_| Refusal::internal("RSA encryption failed");
        let mut out = vec![0; public.key_size_bytes()];
        match padding {
            Padding::Oaep(oaep) => {
                let key = OaepPublicEncryptingKey::new(public).map_err(failed)?;
                fits(algorithm, plaintext, key.max_plaintext_size(oaep))?;
                key.encrypt(oaep, plaintext, &mut out, None)
                    .map_err(failed)?;
            }
            Padding::Pkcs1 => {
                let key = Pkcs1PublicEncryptingKey::new(public).map_err(failed)?;
                fits(algorithm, plaintext, key.max_plaintext_size())?;
                key.encrypt(plaintext, &mut out).map_err(failed)?;
            }
        }
        Ok(out)
    }

    /// Decrypts with the private half. What does not open is refused without a reason.
    pub(in crate::vault) fn decrypt(
        &self,
        algorithm: &str,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let padding = Padding::named(algorithm).ok_or_else(|| unsupported(algorithm))?;
        let private = self.decrypting.clone();
        let size = private.key_size_bytes();
        if ciphertext.len() != size {
            return Err(Refusal::bad_parameter(format!(
                "Property value has invalid length {}: {algorithm} with this key takes {size} bytes.",
                ciphertext.len()
            )));
        }
        let failed = |_| Refusal::bad_parameter("The parameter is incorrect.\r\n");
        let mut out = Zeroizing::new(vec![0; size]);
        let length = match padding {
            Padding::Oaep(oaep) => OaepPrivateDecryptingKey::new(private)
                .and_then(|key| Ok(key.decrypt(oaep, ciphertext, &mut out, None)?.len()))
                .map_err(failed)?,
            Padding::Pkcs1 => Pkcs1PrivateDecryptingKey::new(private)
                .and_then(|key| Ok(key.decrypt(ciphertext, &mut out)?.len()))
                .map_err(failed)?,
        };
        out.truncate(length);
        Ok(out)
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaKey")
            .field("bits", &self.bits())
            .finish_non_exhaustive()
    }
}

fn fits(algorithm: &str, plaintext: &[u8], limit: usize) -> Result<(), Refusal> {
    if plaintext.len() > limit {
        return Err(Refusal::bad_parameter(format!(
            "Property value has invalid length {}: {algorithm} with this key takes at most {limit} \
             bytes.",
            plaintext.len()
        )));
    }
    Ok(())
}

fn unsupported(algorithm: &str) -> Refusal {
    Refusal::bad_parameter(format!(
        "Algorithm {algorithm} is not supported by a key of type RSA."
    ))
}
