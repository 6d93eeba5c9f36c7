//! Elliptic-curve keys. They sign; they can never wrap.

use core::fmt;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED,
    ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm, KeyPair as _,
};
use zeroize::Zeroizing;

use crate::vault::refusal::Refusal;

/// A curve by the name that a JWK gives it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::vault) enum Curve {
    P256,
    P384,
    P521,
    P256K,
}

impl Curve {
    pub(in crate::vault) fn named(name: &str) -> Result<Self, Refusal> {
        match name {
            "P-256" => Ok(Self::P256),
            "P-384" => Ok(Self::P384),
            "P-521" => Ok(Self::P521),
            // The second is what older API versions call it.
            "P-256K" | "SECP256K1" => Ok(Self::P256K),
            other => Err(Refusal::bad_parameter(format!(
                "Invalid crv value: {other}"
            ))),
        }
    }

    pub(in crate::vault) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::P256K => "P-256K",
        }
    }

    pub(in crate::vault) const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
            Self::P256K => &ECDSA_P256K1_SHA256_FIXED_SIGNING,
        }
    }

    pub(in crate::vault) const fn verifying(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
            Self::P256K => &ECDSA_P256K1_SHA256_FIXED,
        }
    }

    /// Bytes of one coordinate, and of the private number.
    const fn width(self) -> usize {
        match self {
            Self::P256 | Self::P256K => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// A key pair on one of the curves.
pub(in crate::vault) struct EcKey {
    curve: Curve,
    pair: EcdsaKeyPair,
}

impl EcKey {
    pub(in crate::vault) fn generate(curve: Curve) -> Result<Self, Refusal> {
        let pair = EcdsaKeyPair::generate(curve.signing())
            .map_err(|_| Refusal::internal("no EC key could be generated"))?;
        Ok(Self { curve, pair })
    }

    /// From the numbers of a JWK, big-endian; the public half must belong to the private one.
    pub(in crate::vault) fn from_parts(
        curve: Curve,
        x: &[u8],
        y: &[u8],
        d: &[u8],
    ) -> Result<Self, Refusal> {
        let invalid = || Refusal::bad_parameter("The EC key is not a valid private key.");
        let width = curve.width();
        let fixed = |number: &[u8]| -> Result<Zeroizing<Vec<u8>>, Refusal> {
            let padding = width.checked_sub(number.len()).ok_or_else(invalid)?;
            let mut fixed = Zeroizing::new(vec![0; padding]);
            fixed.extend_from_slice(number);
            Ok(fixed)
        };
        let mut point = vec![4];
        point.extend_from_slice(&fixed(x)?);
        point.extend_from_slice(&fixed(y)?);
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &fixed(d)?, &point)
                .map_err(|_| invalid())?;
        Ok(Self { curve, pair })
    }

    pub(in crate::vault) const fn curve(&self) -> Curve {
        self.curve
    }

    /// The coordinates of the public point.
    pub(in crate::vault) fn public(&self) -> (Vec<u8>, Vec<u8>) {
        let coordinates = self.point().get(1..).unwrap_or_default();
        let (x, y) = coordinates
            .split_at_checked(self.curve.width())
            .unwrap_or_default();
        (x.to_vec(), y.to_vec())
    }

    /// The public point, uncompressed: a byte 4, then x and y.
    pub(in crate::vault) fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The private number, for a backup.
    pub(in crate::vault) fn private(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let number = self
            .pair
            .private_key()
            .as_be_bytes()
            .map_err(|_| Refusal::internal("the EC key could not be encoded"))?;
        Ok(Zeroizing::new(number.as_ref().to_vec()))
    }

    pub(in crate::vault) const fn pair(&self) -> &EcdsaKeyPair {
        &self.pair
    }
}

impl fmt::Debug for EcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcKey")
            .field("curve", &self.curve)
            .finish_non_exhaustive()
    }
}
