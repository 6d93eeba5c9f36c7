//! What reading gives.

use core::fmt;
use std::sync::Arc;

use kms_core::{KeyId, SecretBytes};

use crate::kubernetes::ProviderKind;
use crate::kubernetes::value::plaintext::Plaintext;

/// A value that was read. The plaintext is wiped when this is dropped.
pub struct Opened {
    pub(super) plaintext: Plaintext,
    pub(super) stale: bool,
    /// Stale for another reason than the key id.
    pub(super) is_old_form: bool,
    pub(super) is_authenticated: bool,
    pub(super) provider: ProviderKind,
    pub(super) name: Option<Arc<str>>,
    pub(super) key_id: Option<KeyId>,
}

/// What [`Transformer::write`](super::Transformer::write) writes with.
pub(crate) struct WrittenWith {
    pub(crate) provider: ProviderKind,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) key_id: Option<KeyId>,
}

impl Opened {
    /// The object as kube-apiserver serialized it: protobuf behind `k8s\0`, or JSON.
    #[must_use]
    pub fn plaintext(&self) -> &[u8] {
        self.plaintext.as_slice()
    }

    /// Takes the plaintext out.
    #[must_use]
    pub fn into_plaintext(self) -> SecretBytes {
        self.plaintext.into_secret()
    }

    /// Whether kube-apiserver would write the object anew at its next update, even an update that
    /// changes nothing.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        self.stale
    }

    /// Whether it is stale whatever the KMS says: read by another provider or key than the first,
    /// or of a form that is written no more.
    pub(crate) const fn is_old_form(&self) -> bool {
        self.is_old_form
    }

    /// Whether a tag vouches for what came out. `aescbc` has none, and KMS v1 data of Kubernetes
    /// 1.24 and before neither: what was changed, or was opened with another key of the same name,
    /// may have come out as garbage. What is stored as it is was not opened, so nothing vouches
    /// for that.
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// The provider that opened it.
    #[must_use]
    pub const fn provider(&self) -> ProviderKind {
        self.provider
    }

    pub(crate) const fn shared_name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// The name of the key, for KMS the name of the provider; none for `identity`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// KMS v2: the id of the KEK.
    #[must_use]
    pub const fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("plaintext_len", &self.plaintext.as_slice().len())
            .field("stale", &self.stale)
            .field("is_authenticated", &self.is_authenticated)
            .field("provider", &self.provider)
            .field("name", &self.name)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
