//! The configuration once it has been checked.

use core::time::Duration;

use kms_core::SecretBytes;

/// A whole configuration: which resources are encrypted with what.
#[derive(Debug)]
#[non_exhaustive]
pub struct EncryptionConfiguration {
    /// The entries, in order.
    pub resources: Vec<ResourceConfiguration>,
}

/// Providers for some resources.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResourceConfiguration {
    /// Resource names as written: `secrets`, `deployments.apps`, `*.apps`, `*.`, `*.*`.
    pub resources: Vec<String>,
    /// The providers, in order: all of them read, the first one writes.
    pub providers: Vec<ProviderConfiguration>,
}

/// One provider of a list.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProviderConfiguration {
    /// `identity: {}`: stored as it is.
    Identity,
    /// `aescbc`: AES-CBC with PKCS#7, unauthenticated.
    AesCbc(Vec<NamedKey>),
    /// `aesgcm`: AES-GCM with a random nonce, the etcd key authenticated.
    AesGcm(Vec<NamedKey>),
    /// `secretbox`: XSalsa20-Poly1305.
    Secretbox(Vec<NamedKey>),
    /// `kms`: envelope encryption with a plugin.
    Kms(KmsConfiguration),
}

/// A key of a local provider. The first of a list writes.
#[derive(Debug)]
#[non_exhaustive]
pub struct NamedKey {
    /// Its name, part of the stored value's prefix. May hold a colon.
    pub name: String,
    /// The key, decoded: 16, 24 or 32 bytes, for `secretbox` 32.
    pub secret: SecretBytes,
}

/// A KMS plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KmsConfiguration {
    /// The API that the plugin speaks and the format that is stored.
    pub api_version: KmsApiVersion,
    /// Its name, part of the stored value's prefix. Holds no colon with v2; may with v1.
    pub name: String,
    /// Where it listens, such as `unix:///run/kms/plugin.sock`.
    pub endpoint: String,
    /// How long one call may take; 3 s unless written.
    pub timeout: Duration,
    /// v1 only: how many DEKs are kept; 1000 unless written, negative for none.
    pub cache_size: Option<i32>,
}

/// The version of the KMS API, and with it of the stored format.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KmsApiVersion {
    /// A new DEK for each value, wrapped by the plugin.
    V1,
    /// One DEK seed for many values.
    V2,
}
