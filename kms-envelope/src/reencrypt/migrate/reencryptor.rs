//! Who opens what is stored, and seals it for the target.

use core::fmt;

use async_trait::async_trait;
use kms_core::SecretBytes;

use super::{Protection, TargetSelector};
use crate::kubernetes::{ProviderConfiguration, ProviderKind, Transformer, TransformerBuilder};
use crate::{Error, ErrorKind};

/// Opens stored values, whatever they are under, and seals them for one target.
///
/// What is sealed is opened again before it is stored. So [`open`](Self::open) should learn nothing
/// from [`seal`](Self::seal), or that proves little.
#[async_trait]
pub trait Reencryptor: fmt::Debug + Send + Sync + 'static {
    /// Gets ready to seal: called before the first value and every minute after that.
    ///
    /// # Errors
    ///
    /// What the key provider of the target fails with.
    async fn refresh(&self) -> Result<(), Error>;

    /// What is sealed now; `None` before a refresh has succeeded.
    fn target(&self) -> Option<Protection>;

    /// Opens a stored value.
    ///
    /// # Errors
    ///
    /// Why it does not open. An error that is [retryable](Error::is_retryable) says nothing of the
    /// value.
    async fn open(&self, etcd_key: &[u8], value: &[u8]) -> Result<Reading, Error>;

    /// Makes the value to store under this key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] and [`ErrorKind::Malformed`] are about this value; any other is
    /// about the target.
    async fn seal(&self, etcd_key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error>;
}

/// A value that was opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reading {
    /// What was inside.
    pub plaintext: SecretBytes,
    /// What it was under.
    pub protection: Protection,
    /// Whether it is in the form in which the target is written now, key id aside: with the
    /// first key of its provider, and of no old version of its format.
    pub is_current_form: bool,
}

impl Reading {
    /// A value that was opened.
    #[must_use]
    pub const fn new(
        plaintext: SecretBytes,
        protection: Protection,
        is_current_form: bool,
    ) -> Self {
        Self {
            plaintext,
            protection,
            is_current_form,
        }
    }
}

/// A [`Reencryptor`] over one list of providers of an `EncryptionConfiguration`.
///
/// Two transformers: one reads with the whole list, one writes with the target alone. The
/// reader knows nothing of the seed that the writer had wrapped, so that it opens what was written
/// only if the KMS does unwrap it, as for an API server after a restart. And it asks other KMS of the
/// list for nothing but unwrapping: a key that wraps no more can still be migrated from.
#[derive(Debug)]
pub struct TransformerPair {
    reader: Transformer,
    writer: Transformer,
}

impl TransformerPair {
    /// A pair for the providers of `resource`, which is named in errors. `builder` makes a builder
    /// for a list of providers, and gives it the key providers behind its KMS.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the list has no such target; and as [`TransformerBuilder::build`].
    pub fn new<'c>(
        providers: &[&'c ProviderConfiguration],
        target: &TargetSelector,
        resource: &str,
        builder: impl Fn(Vec<&'c ProviderConfiguration>) -> TransformerBuilder<'c>,
    ) -> Result<Self, Error> {
        const PLAIN: &ProviderConfiguration = &ProviderConfiguration::Identity;
        // Read in this order, what is under anything but the target is not in its current form.
        let mut order = providers.to_vec();
        let first = match target.place_in(providers, resource)? {
            Some(place) => order.remove(place),
            None => PLAIN,
        };
        order.insert(0, first);
        Ok(Self {
            reader: builder(order).read_only().build()?,
            writer: builder(vec![first]).build()?,
        })
    }
}

#[async_trait]
impl Reencryptor for TransformerPair {
    async fn refresh(&self) -> Result<(), Error> {
        match self.writer.refresh().await {
            // A plugin that looks for a new key now and then finds it when it is to encrypt: its
            // next Status tells that key. An API server gets there at its next poll.
            Err(error) if error.kind() == ErrorKind::KeyIdMismatch => self.writer.refresh().await,
            done => done,
        }
    }

    fn target(&self) -> Option<Protection> {
        self.writer.written_with().map(Protection::from)
    }

    async fn open(&self, etcd_key: &[u8], value: &[u8]) -> Result<Reading, Error> {
        let opened = self.reader.read(etcd_key, value).await?;
        let is_vouched_for =
            opened.is_authenticated() || opened.provider() == ProviderKind::Identity;
        if !is_vouched_for && !looks_like_object(opened.plaintext()) {
            return Err(Error::new(
                ErrorKind::Crypto,
                "the value does not open: what AES-CBC makes of it is no object",
            ));
        }
        let protection = Protection::from(&opened);
        let is_current_form = !opened.is_old_form();
        Ok(Reading::new(
            opened.into_plaintext(),
            protection,
            is_current_form,
        ))
    }

    async fn seal(&self, etcd_key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        self.writer.write(etcd_key, plaintext).await
    }
}

/// Whether these bytes are what kube-apiserver stores. One garbled value in 256 opens under
/// AES-CBC with a wrong key; written anew, it would be lost for good.
fn looks_like_object(plaintext: &[u8]) -> bool {
    plaintext.starts_with(b"k8s\0")
        || (plaintext.starts_with(b"{")
            && serde_json::from_slice::<serde::de::IgnoredAny>(plaintext).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_protobuf_or_json() {
        for object in [&b"k8s\0\x0a\x00"[..], b"{}", b"{\"kind\":\"Gadget\"}\n"] {
            assert!(looks_like_object(object));
        }
        for garbage in [&b""[..], b"k8s", b"{", b"{\xff}", b"[]", b"7"] {
            assert!(!looks_like_object(garbage));
        }
    }
}
