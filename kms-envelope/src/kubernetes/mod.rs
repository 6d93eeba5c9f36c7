//! What kube-apiserver stores in etcd, and the configuration that says how.
//!
//! | provider | after its prefix | authenticated with it |
//! |---|---|---|
//! | `identity` | the object as it is, without a prefix | nothing |
//! | `aescbc` | IV (16), AES-CBC with PKCS#7 | nothing, not even the data |
//! | `aesgcm` | nonce (12), ciphertext, tag (16) | the etcd key |
//! | `secretbox` | nonce (24), tag (16), XSalsa20 ciphertext | nothing |
//! | `kms` v1 | length of the encrypted DEK (2, big-endian), encrypted DEK, then as `aesgcm`; up to Kubernetes 1.24 as `aescbc` | the etcd key |
//! | `kms` v2 | protobuf `EncryptedObject`; inside, AES-GCM under a DEK, or under a key that HKDF-Expand makes of a seed | the etcd key |
//!
//! The prefix is `k8s:enc:PROVIDER:v1:NAME:`, for KMS v2 `k8s:enc:kms:v2:NAME:`. The etcd key is
//! all of it, such as `/registry/secrets/default/token`.
//!
//! - [`Transformer`] reads and writes as kube-apiserver does with one list of providers.
//! - [`inspect`] says without any key what a value is encrypted with.
//! - [`convergence`] judges by metrics and plugins which key an API server writes with.
//! - [`plan`] finds the way from one configuration to another, on which everything stays readable.
//! - [`Manifest`] decodes what was opened into something `kubectl apply` takes.
//!
//! AES-CBC, XSalsa20-Poly1305 and AES-192 need the feature `kubernetes-legacy` (default); without
//! it they are refused with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).

mod config;
pub mod convergence;
mod dek_cache;
mod inspect;
mod kind;
mod manifest;
pub mod plan;
mod transformer;
mod value;

pub(crate) use config::etcd_paths_of;
pub use config::{
    EncryptionConfiguration, GroupResource, KmsApiVersion, KmsConfiguration, NamedKey,
    ProviderConfiguration, ResourceConfiguration, resource_of_etcd_key, resource_of_etcd_key_under,
};
pub use inspect::{ConfiguredNames, DamagedValue, DekSourceDigest, Inspection, inspect};
pub(crate) use inspect::{Inspector, prefix_of};
pub use kind::{DekSourceType, ProviderKind};
pub use manifest::{Manifest, ManifestOptions};
pub(crate) use transformer::WrittenWith;
pub use transformer::{KmsWriteState, Opened, Transformer, TransformerBuilder};
