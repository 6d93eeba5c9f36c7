//! `sign` and `verify`, over a digest that the caller made.
//!
//! `RSNULL` (a bare PKCS#1 padding, for TLS 1.1 and older) is refused: aws-lc-rs does not have it.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, UnparsedPublicKey, VerificationAlgorithm,
};

use super::{Curve, Material};
use crate::vault::refusal::Refusal;

impl Material {
    /// Signs a digest. For `HS…` it is the message authentication code of these bytes.
    pub(in crate::vault) fn sign(&self, alg: &str, digest: &[u8]) -> Result<Vec<u8>, Refusal> {
        let failed = |_| Refusal::internal("signing failed");
        match self {
            Self::Rsa(key) => {
                let algorithm = rsa(alg).ok_or_else(|| unsupported(alg, "RSA"))?;
                let digest = imported(alg, algorithm.hash, digest)?;
                let mut signature = vec![0; key.pair().public_modulus_len()];
                key.pair()
                    .sign_digest(algorithm.signing, &digest, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Self::Ec(key) => {
                let hash = ec(alg, key.curve())?;
                let digest = imported(alg, hash, digest)?;
                let signature = key.pair().sign_digest(&digest).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Oct(key) => {
                let key = hmac::Key::new(mac(alg)?, key.bytes());
                Ok(hmac::sign(&key, digest).as_ref().to_vec())
            }
        }
    }

    /// Whether the signature belongs to the digest.
    pub(in crate::vault) fn verify(
        &self,
        alg: &str,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, Refusal> {
        let verified = match self {
            Self::Rsa(key) => {
                let algorithm = rsa(alg).ok_or_else(|| unsupported(alg, "RSA"))?;
                let digest = imported(alg, algorithm.hash, digest)?;
                UnparsedPublicKey::new(algorithm.verifying, key.public_der())
                    .verify_digest(&digest, signature)
            }
            Self::Ec(key) => {
                let digest = imported(alg, ec(alg, key.curve())?, digest)?;
                UnparsedPublicKey::new(key.curve().verifying(), key.point())
                    .verify_digest(&digest, signature)
            }
            Self::Oct(key) => {
                let key = hmac::Key::new(mac(alg)?, key.bytes());
                hmac::verify(&key, digest, signature)
            }
        };
        Ok(verified.is_ok())
    }
}

struct RsaAlgorithm {
    hash: &'static digest::Algorithm,
    signing: &'static dyn RsaEncoding,
    verifying: &'static dyn VerificationAlgorithm,
}

fn rsa(alg: &str) -> Option<RsaAlgorithm> {
    let algorithm = |hash, signing, verifying| {
        Some(RsaAlgorithm {
            hash,
            signing,
            verifying,
        })
    };
    match alg {
        "RS256" => algorithm(
            &digest::SHA256,
            &RSA_PKCS1_SHA256,
            &RSA_PKCS1_2048_8192_SHA256,
        ),
        "RS384" => algorithm(
            &digest::SHA384,
            &RSA_PKCS1_SHA384,
            &RSA_PKCS1_2048_8192_SHA384,
        ),
        "RS512" => algorithm(
            &digest::SHA512,
            &RSA_PKCS1_SHA512,
            &RSA_PKCS1_2048_8192_SHA512,
        ),
        "PS256" => algorithm(&digest::SHA256, &RSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256),
        "PS384" => algorithm(&digest::SHA384, &RSA_PSS_SHA384, &RSA_PSS_2048_8192_SHA384),
        "PS512" => algorithm(&digest::SHA512, &RSA_PSS_SHA512, &RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

/// The hash of the one algorithm that fits the curve.
fn ec(alg: &str, curve: Curve) -> Result<&'static digest::Algorithm, Refusal> {
    match (alg, curve) {
        ("ES256", Curve::P256) | ("ES256K", Curve::P256K) => Ok(&digest::SHA256),
        ("ES384", Curve::P384) => Ok(&digest::SHA384),
        ("ES512", Curve::P521) => Ok(&digest::SHA512),
        _ => Err(unsupported(alg, curve.name())),
    }
}

fn mac(alg: &str) -> Result<hmac::Algorithm, Refusal> {
    match alg {
        "HS256" => Ok(hmac::HMAC_SHA256),
        "HS384" => Ok(hmac::HMAC_SHA384),
        "HS512" => Ok(hmac::HMAC_SHA512),
        other => Err(unsupported(other, "oct-HSM")),
    }
}

fn imported(alg: &str, hash: &'static digest::Algorithm, bytes: &[u8]) -> Result<Digest, Refusal> {
    Digest::import_less_safe(bytes, hash).map_err(|_| {
        Refusal::bad_parameter(format!(
            "Property value has invalid length {}: {alg} takes a digest of {} bytes.",
            bytes.len(),
            hash.output_len()
        ))
    })
}

fn unsupported(alg: &str, kind: &str) -> Refusal {
    Refusal::bad_parameter(format!(
        "Algorithm {alg} is not supported by a key of type {kind}."
    ))
}
