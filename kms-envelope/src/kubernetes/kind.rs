//! The names that stored values go by.

use core::fmt;

/// Which provider a stored value belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ProviderKind {
    /// Stored as it is.
    Identity,
    /// AES-CBC, unauthenticated.
    AesCbc,
    /// AES-GCM.
    AesGcm,
    /// XSalsa20-Poly1305.
    Secretbox,
    /// KMS v1: a DEK for each value.
    KmsV1,
    /// KMS v2: a DEK or seed for many values.
    KmsV2,
}

impl ProviderKind {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::AesCbc => "aescbc",
            Self::AesGcm => "aesgcm",
            Self::Secretbox => "secretbox",
            Self::KmsV1 => "kms-v1",
            Self::KmsV2 => "kms-v2",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::Identity,
            Self::AesCbc,
            Self::AesGcm,
            Self::Secretbox,
            Self::KmsV1,
            Self::KmsV2,
        ];
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for ProviderKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What the wrapped secret beside a KMS v2 value is: the protobuf enum `EncryptedDEKSourceType`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DekSourceType {
    /// 0: the AES key itself. Written by Kubernetes 1.25 to 1.28, and all that 1.27 can read.
    AesGcmKey,
    /// 1: a seed, of which HKDF-Expand makes a key for each value. Written since 1.29.
    #[default]
    HkdfSha256XnonceAesGcmSeed,
}

impl DekSourceType {
    /// The name in the protobuf enum.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AesGcmKey => "AES_GCM_KEY",
            Self::HkdfSha256XnonceAesGcmSeed => "HKDF_SHA256_XNONCE_AES_GCM_SEED",
        }
    }

    /// The number in the protobuf enum.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::AesGcmKey => 0,
            Self::HkdfSha256XnonceAesGcmSeed => 1,
        }
    }

    pub(super) const fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::AesGcmKey),
            1 => Some(Self::HkdfSha256XnonceAesGcmSeed),
            _ => None,
        }
    }
}

impl fmt::Display for DekSourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for DekSourceType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
