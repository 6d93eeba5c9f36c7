//! How a server stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use kms_core::SecretBytes;
use kms_core::object::ObjectKey;
use kms_envelope::Error;
use kms_envelope::kubernetes::Transformer;

/// How one API server reads and writes stored bytes: a
/// [`Transformer`] for each resource that is encrypted. The others are stored in clear.
///
/// Clones share the transformers. [`Transformer::refresh`] is for whoever made them to call, as the
/// API server's own polling would.
#[derive(Clone, Debug, Default)]
pub struct Encryption(BTreeMap<String, Arc<Transformer>>);

impl Encryption {
    /// Everything in clear.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Encrypts a resource, named as in an `EncryptionConfiguration`.
    #[must_use]
    pub fn with(mut self, resource: impl Into<String>, transformer: Arc<Transformer>) -> Self {
        self.0.insert(resource.into(), transformer);
        self
    }

    /// What is stored, opened, and whether it is stale.
    pub(super) async fn read(
        &self,
        resource: &str,
        key: &ObjectKey,
        value: &[u8],
    ) -> Result<(SecretBytes, bool), Error> {
        match self.0.get(resource) {
            Some(transformer) => {
                let opened = transformer.read(key.as_bytes(), value).await?;
                let stale = opened.is_stale();
                Ok((opened.into_plaintext(), stale))
            }
            // As the identity provider has it.
            None if value.starts_with(b"k8s:enc:") => Err(Error::new(
                kms_envelope::ErrorKind::NoMatchingProvider,
                "identity transformer tried to read encrypted data",
            )),
            None => Ok((SecretBytes::copy_from_slice(value), false)),
        }
    }

    pub(super) async fn write(
        &self,
        resource: &str,
        key: &ObjectKey,
        object: &[u8],
    ) -> Result<Vec<u8>, Error> {
        match self.0.get(resource) {
            Some(transformer) => transformer.write(key.as_bytes(), object).await,
            None => Ok(object.to_vec()),
        }
    }
}
