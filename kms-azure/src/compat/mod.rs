//! Data of Azure/kubernetes-kms, the KMS plugin that AKS and others have used: read it, and write it
//! so that one can go back.
//!
//! Three programs have written data under keys in Key Vault. Which one wrote a value is told by its
//! structure alone, never by trying:
//!
//! | written by | key id | annotations | ciphertext | plaintext under the key |
//! |---|---|---|---|---|
//! | this crate | the version's URL | none | bytes | the DEK |
//! | Azure/kubernetes-kms, KMS v2 | [hash of that URL](upstream_key_id) | `version.azure.akv.io` `1`, `algorithm.azure.akv.io` `RSA-OAEP-256`, and three that nobody reads | base64url text | the DEK |
//! | openshift/azure-kubernetes-kms, KMS v2 | the same hash | the two that are read | bytes | base64url text of the DEK |
//! | both, KMS v1 (RSA1_5) | not stored | not stored | as above | as above |
//!
//! Text and bytes are told apart by length and alphabet ([`StoredForm`]): the text of a modulus of
//! 256 or 512 bytes has a length that no ciphertext has; 512 bytes are the text of 384 if every one
//! of them is a letter of the alphabet, which of ciphertexts of RSA-4096 one in 2¹⁰²⁴ is.
//!
//! [`UpstreamProvider`] puts this around a provider of one's own. What it cannot do: upstream stores
//! neither authenticated annotations nor, in KMS v1, the version of the key. So annotations are
//! checked as upstream checks them, and for v1 the versions have to be given.

mod form;
mod key_id;
mod options;
mod provider;
mod v1beta1;
mod versions;

pub use form::{ALGORITHM_ANNOTATION, StoredForm, VERSION_ANNOTATION};
pub use key_id::{is_upstream_key_id, upstream_key_id};
pub use options::UpstreamOptions;
pub use provider::UpstreamProvider;
