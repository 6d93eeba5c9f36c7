//! The messages of both versions, and the limits that kube-apiserver sets on them.
//!
//! [`v2`] and [`v1beta1`] are generated from the `.proto` files beside this crate (`codegen/`).
//! The messages that carry a plaintext key print redacted and are wiped on drop, which is written
//! by hand in this module.

#[cfg(feature = "arbitrary")]
mod arbitrary;
mod check;
mod secret;

/// KMS v1, deprecated in Kubernetes 1.28.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unused_qualifications,
    reason = "generated"
)]
#[path = "generated/v1beta1.rs"]
pub mod v1beta1;
/// KMS v2, of Kubernetes 1.27 and later.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unused_qualifications,
    reason = "generated"
)]
#[path = "generated/v2.rs"]
pub mod v2;

pub use check::{
    MAX_ANNOTATIONS_LEN, MAX_CIPHERTEXT_LEN, MAX_KEY_ID_LEN, MAX_MESSAGE_LEN,
    check_annotation_name, check_wrapped, wrapped_key,
};
