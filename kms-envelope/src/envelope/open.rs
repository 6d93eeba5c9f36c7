//! Opening, and replacing recipients.

use std::sync::Arc;

use kms_core::{SecretBytes, UnwrapOptions, WrappedKey};

use super::builder::wrap_for_all;
use super::{Envelope, Member, Purpose};
use crate::cache::{Partition, UnwrapCache};
use crate::sealed::stream::ChunkOpener;
use crate::sealed::{ContextDigest, Dek, RecipientInfo, SealedInfo, inspect};
use crate::{Error, ErrorKind};

impl Envelope {
    /// Opens a message with whichever provider can.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if it is not of the format; [`ErrorKind::NoMatchingProvider`] if no
    /// recipient is a provider of this envelope; [`ErrorKind::Crypto`] if it does not open, without
    /// a word on why; [`ErrorKind::Provider`] if the providers that could open it failed.
    pub async fn open(
        &self,
        purpose: &Purpose,
        aad: &[u8],
        message: &[u8],
    ) -> Result<SecretBytes, Error> {
        let context = self.digest(purpose);
        let info = checked(message, &context)?;
        self.with_each_dek(&info, purpose, |dek| dek.open(message, &context, aad))
            .await
            .map(SecretBytes::from_vec)
    }

    /// Opens a message where it lies, and returns the part of it that is the plaintext. Wiping
    /// that is the caller's business.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_in_place<'m>(
        &self,
        purpose: &Purpose,
        aad: &[u8],
        message: &'m mut [u8],
    ) -> Result<&'m mut [u8], Error> {
        let context = self.digest(purpose);
        let dek = {
            let info = checked(message, &context)?;
            // Whose DEK it is, commitment and MAC tell; the body is opened once, below.
            self.with_each_dek(&info, purpose, |dek| {
                dek.check(message).map(|()| Arc::clone(dek))
            })
            .await?
        };
        dek.open_in_place(message, &context, aad)
    }

    /// Opens a stream, of which `preamble` is the beginning, for as long as
    /// [`sealed::preamble_len`](crate::sealed::preamble_len) says.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_stream(
        &self,
        purpose: &Purpose,
        aad: &[u8],
        preamble: &[u8],
    ) -> Result<ChunkOpener, Error> {
        let context = self.digest(purpose);
        let info = checked(preamble, &context)?;
        self.with_each_dek(&info, purpose, |dek| {
            dek.open_stream(preamble, &context, aad)
        })
        .await
    }

    /// Wraps a message's DEK again, for all recipients of this envelope under their current keys.
    /// Header and body stay as they are; only the beginning of the message changes. So of a stream
    /// the preamble is enough ([`sealed::preamble_len`](crate::sealed::preamble_len)): what comes
    /// back then goes in its place.
    ///
    /// This is how a KEK is retired. It is no answer to a DEK that leaked: that stays the same.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) and [`seal`](Self::seal).
    pub async fn rewrap(&self, purpose: &Purpose, message: &[u8]) -> Result<Vec<u8>, Error> {
        let info = checked(message, &self.digest(purpose))?;
        let dek = self
            .with_each_dek(&info, purpose, |dek| {
                dek.check(message).map(|()| Arc::clone(dek))
            })
            .await?;
        let recipients = wrap_for_all(&self.members, dek.secret(), &purpose.context)
            .await
            .map_err(|error| Error::provider("wrapping the DEK again", error))?;
        dek.rewrap(message, &dek.recipients_block(&recipients)?)
    }

    /// Tries the DEK of every recipient that is a provider here: first those that are cached, so
    /// that a region that is down costs nothing once another has answered; then the others, in the
    /// message's order.
    async fn with_each_dek<T>(
        &self,
        info: &SealedInfo<'_>,
        purpose: &Purpose,
        mut work: impl FnMut(&Arc<Dek>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut ways = info
            .recipients()
            .filter_map(|recipient| self.way(&recipient, purpose).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        if ways.len() > 1 {
            ways.sort_by_cached_key(|way| !way.is_cached());
        }
        let mut failure: Option<Error> = None;
        for way in ways {
            match way.dek().await.and_then(|dek| work(&dek)) {
                Ok(done) => return Ok(done),
                // A provider that is down says more than one that does not have the key: with it
                // up, the message may open.
                Err(error) => {
                    if failure.as_ref().is_none_or(|first| !first.is_retryable()) {
                        failure = Some(error);
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            let ids: Vec<_> = info
                .recipients()
                .map(|recipient| recipient.provider_id())
                .collect();
            Error::new(
                ErrorKind::NoMatchingProvider,
                format!(
                    "the message is for `{}`, none of which is here",
                    ids.join("`, `")
                ),
            )
        }))
    }

    /// `None` if the recipient is no provider of this envelope.
    fn way<'e>(
        &'e self,
        recipient: &RecipientInfo<'_>,
        purpose: &'e Purpose,
    ) -> Result<Option<Way<'e>>, Error> {
        let mut places = self.members.iter().zip(&self.opened);
        let Some((member, cache)) = places.find(|(member, _)| member.id == recipient.provider_id())
        else {
            return Ok(None);
        };
        Ok(Some(Way {
            member,
            cache,
            partition: &purpose.partition,
            wrapped: recipient.to_wrapped_key()?,
            options: member.unwrap_options(&purpose.context),
        }))
    }
}

/// How a recipient's DEK is had: out of a cache, or from the provider behind it.
struct Way<'e> {
    member: &'e Member,
    cache: &'e UnwrapCache<Dek>,
    partition: &'e Partition,
    wrapped: WrappedKey,
    options: UnwrapOptions,
}

impl Way<'_> {
    fn is_cached(&self) -> bool {
        self.cache
            .knows(self.partition, &self.wrapped, &self.options.context)
    }

    async fn dek(&self) -> Result<Arc<Dek>, Error> {
        self.cache
            .unwrap(self.partition, &self.wrapped, &self.options)
            .await
            .map_err(|error| match error.kind() {
                kms_core::ErrorKind::Crypto => Error::new(
                    ErrorKind::Crypto,
                    "the message does not open under this DEK and aad",
                ),
                _ => Error::provider(format!("unwrapping with `{}`", self.member.id), error),
            })
    }
}

/// Reads the header, and refuses another context before any provider is asked.
fn checked<'m>(message: &'m [u8], context: &ContextDigest) -> Result<SealedInfo<'m>, Error> {
    let info = inspect(message)?;
    if info.context_digest() == *context {
        return Ok(info);
    }
    Err(Error::new(
        ErrorKind::Crypto,
        "the message was sealed under another encryption context",
    ))
}
