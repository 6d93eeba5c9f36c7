//! Sealing.

use std::sync::Arc;

use kms_core::KeyId;

use super::{Envelope, Purpose};
use crate::sealed::stream::ChunkSealer;
use crate::sealed::{ChunkSize, DekMaterial};
use crate::{Error, ErrorKind};

impl Envelope {
    /// Seals a message for all recipients. `aad` is bound to this message and not stored.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Provider`](crate::ErrorKind::Provider) if a DEK had to be made and a provider
    /// failed; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the plaintext is over
    /// the format's or the DEK's limit.
    pub async fn seal(
        &self,
        purpose: &Purpose,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let material = self.material(purpose, plaintext.len()).await?;
        material.seal(self.suite, &*self.random, aad, plaintext)
    }

    /// Seals the plaintext that `message` holds into a message that replaces it. With enough spare
    /// capacity ([`seal_overhead`](Self::seal_overhead)) nothing is allocated.
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal).
    pub async fn seal_in_place(
        &self,
        purpose: &Purpose,
        aad: &[u8],
        message: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let material = self.material(purpose, message.len()).await?;
        material.seal_in_place(self.suite, &*self.random, aad, message)
    }

    /// How many bytes a message of this purpose is longer than its plaintext, at this moment: a
    /// rotation may change it, since key ids have different lengths. Counts as a message without
    /// bytes.
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal).
    pub async fn seal_overhead(&self, purpose: &Purpose) -> Result<usize, Error> {
        Ok(self.material(purpose, 0).await?.overhead())
    }

    /// Begins a stream of about `plaintext_len` bytes, which count against the DEK's limits; give
    /// the most that it may have. See [`sealed::stream`](crate::sealed::stream) for what to do with
    /// the sealer.
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal).
    pub async fn seal_stream(
        &self,
        purpose: &Purpose,
        aad: &[u8],
        size: ChunkSize,
        plaintext_len: u64,
    ) -> Result<ChunkSealer, Error> {
        let material = self.material_for(purpose, plaintext_len).await?;
        material.seal_stream(self.suite, size, &*self.random, aad)
    }

    async fn material(&self, purpose: &Purpose, len: usize) -> Result<Arc<DekMaterial>, Error> {
        self.material_for(purpose, u64::try_from(len).unwrap_or(u64::MAX))
            .await
    }

    async fn material_for(&self, purpose: &Purpose, len: u64) -> Result<Arc<DekMaterial>, Error> {
        let most = self.live.limits().max_bytes;
        if len > most {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("a plaintext of {len} bytes is over the {most} that one DEK may encrypt"),
            ));
        }
        self.live
            .key_for(&purpose.partition, &purpose.context, len)
            .await
            .map_err(|error| Error::provider("making a DEK", error))
    }
}

/// Whether one of the recipients is under this KEK.
pub(super) fn names(material: &DekMaterial, key_id: &KeyId) -> bool {
    let mut recipients = material.recipients_block().recipients();
    recipients.any(|recipient| recipient.key_id() == key_id.as_str())
}

/// Whether this provider's recipient is under this KEK.
pub(super) fn is_under(material: &DekMaterial, provider_id: &str, key_id: &KeyId) -> bool {
    let mut recipients = material.recipients_block().recipients();
    recipients.any(|recipient| {
        recipient.provider_id() == provider_id && recipient.key_id() == key_id.as_str()
    })
}
