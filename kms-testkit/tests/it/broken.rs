//! Providers that each break one rule.

use core::future::poll_fn;
use core::task::Poll;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, ContextSupport, Error, ErrorKind, KeyId, KeyInfo, KeyProvider,
    KeyState, SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_testkit::StaticProvider;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Defect {
    LosesLastByteOfLongDeks,
    SecondUnwrapFails,
    RepeatsCiphertext,
    NamesAnotherKey,
    TakesEmptyDek,
    TakesTooLongDek,
    IgnoresContext,
    IgnoresContextOnUnwrap,
    SaysContextIsBound,
    DoesNotAuthenticate,
    IgnoresTrailingByte,
    CallsTamperingInternal,
    LetsAnnotationDecide,
    TreatsUnknownIdAsCurrent,
    CallsUnknownIdCrypto,
    ForgetsItsName,
    WrapIsNotAnnounced,
    WrapDoesNotWork,
    DescribesSilently,
    DescribesNothing,
    DescribesUnknownKeys,
    ListsSilently,
    ListsTwice,
    ListsNewestFirst,
    OpensWithoutIdSilently,
    DoesNotOpenWithoutId,
    NeedsAnnotationsWithoutId,
    OpensByAnnotationsSilently,
    FailsUnderLoad,
    StaysBusyAfterCancellation,
    HangsAfterCancellation,
    ShowsDekInError,
    ShowsKeyInDebug,
    SecondInstanceIsAnother,
    ForgetsOldKeys,
    ReusesKeyId,
    TriesEveryKey,
    UnwrapsUnderDisabledKey,
    UnwrapsUnderDestroyedKey,
}

use Defect::*;

impl Defect {
    /// Each defect and the rule that must find it.
    pub const ALL: &[(Self, &str)] = &[
        (LosesLastByteOfLongDeks, "round_trip"),
        (SecondUnwrapFails, "round_trip"),
        (RepeatsCiphertext, "wraps_differ"),
        (NamesAnotherKey, "wrap_names_the_current_key"),
        (TakesEmptyDek, "dek_length_is_bounded"),
        (TakesTooLongDek, "dek_length_is_bounded"),
        (IgnoresContext, "context_is_bound_or_refused"),
        (IgnoresContextOnUnwrap, "context_is_bound_or_refused"),
        (SaysContextIsBound, "context_is_bound_or_refused"),
        (DoesNotAuthenticate, "tampering_is_detected"),
        (IgnoresTrailingByte, "tampering_is_detected"),
        (CallsTamperingInternal, "tampering_is_detected"),
        (LetsAnnotationDecide, "annotations_do_not_mislead"),
        (TreatsUnknownIdAsCurrent, "unknown_key_id_is_not_found"),
        (CallsUnknownIdCrypto, "unknown_key_id_is_not_found"),
        (ForgetsItsName, "unknown_key_id_is_not_found"),
        (WrapIsNotAnnounced, "wrapping_is_as_announced"),
        (WrapDoesNotWork, "wrapping_is_as_announced"),
        (DescribesSilently, "describing_is_as_announced"),
        (DescribesNothing, "describing_is_as_announced"),
        (DescribesUnknownKeys, "describing_is_as_announced"),
        (ListsSilently, "listing_is_as_announced"),
        (ListsTwice, "listing_is_as_announced"),
        (ListsNewestFirst, "rotation_keeps_old_keys"),
        (
            OpensWithoutIdSilently,
            "unwrapping_without_key_id_is_as_announced",
        ),
        (
            DoesNotOpenWithoutId,
            "unwrapping_without_key_id_is_as_announced",
        ),
        (
            NeedsAnnotationsWithoutId,
            "unwrapping_without_key_id_is_as_announced",
        ),
        (
            OpensByAnnotationsSilently,
            "unwrapping_without_key_id_is_as_announced",
        ),
        (FailsUnderLoad, "concurrent_calls_succeed"),
        (StaysBusyAfterCancellation, "cancellation_leaves_no_trace"),
        (HangsAfterCancellation, "cancellation_leaves_no_trace"),
        (ShowsDekInError, "nothing_secret_is_shown"),
        (ShowsKeyInDebug, "nothing_secret_is_shown"),
        (SecondInstanceIsAnother, "another_instance_opens"),
        (ForgetsOldKeys, "rotation_keeps_old_keys"),
        (ReusesKeyId, "rotation_keeps_old_keys"),
        (TriesEveryKey, "key_id_is_bound"),
        (UnwrapsUnderDisabledKey, "disabled_key_is_refused"),
        (UnwrapsUnderDestroyedKey, "destroyed_key_is_refused"),
    ];
}

/// A static provider with one defect.
pub struct Broken {
    inner: Arc<StaticProvider>,
    defect: Defect,
    busy: AtomicUsize,
    calls: AtomicUsize,
    last: std::sync::Mutex<Option<WrappedKey>>,
    /// What was wrapped, for defects that open what they should not.
    escrow: std::sync::Mutex<Vec<(WrappedKey, Vec<u8>)>>,
}

impl Broken {
    pub fn new(inner: Arc<StaticProvider>, defect: Defect) -> Self {
        Self {
            inner,
            defect,
            busy: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            last: Default::default(),
            escrow: Default::default(),
        }
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// Counts the call as running, also after it was dropped; ends only if it is awaited.
    async fn occupied(&self) -> Result<(), Error> {
        let others = self.busy.fetch_add(1, Ordering::SeqCst);
        match self.defect {
            StaysBusyAfterCancellation if others > 0 => {
                return Err(Error::new(ErrorKind::Conflict, "busy").with_provider("broken"));
            }
            HangsAfterCancellation if others > 0 => core::future::pending().await,
            FailsUnderLoad if others > 8 => {
                self.busy.fetch_sub(1, Ordering::SeqCst);
                return Err(Error::new(ErrorKind::Unavailable, "too many").with_provider("broken"));
            }
            _ => {}
        }
        if matches!(
            self.defect,
            StaysBusyAfterCancellation | HangsAfterCancellation
        ) {
            pause(1).await;
        }
        if self.is(FailsUnderLoad) {
            pause(50).await;
        }
        self.busy.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    fn escrowed(&self, wrapped: &WrappedKey) -> Option<SecretBytes> {
        let escrow = self.escrow.lock().unwrap();
        let (_, dek) = escrow
            .iter()
            .find(|(known, _)| known.ciphertext() == wrapped.ciphertext())?;
        Some(SecretBytes::copy_from_slice(dek))
    }
}

async fn pause(turns: usize) {
    let mut left = turns;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn with_ciphertext(wrapped: &WrappedKey, ciphertext: &[u8]) -> WrappedKey {
    match wrapped.key_id() {
        Some(id) => WrappedKey::new(id.clone(), ciphertext.to_vec()).unwrap(),
        None => WrappedKey::without_key_id(ciphertext.to_vec()).unwrap(),
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Broken");
        if self.is(ShowsKeyInDebug) {
            debug.field("key", &[0xA7_u8; 32]);
        }
        debug.finish()
    }
}

#[async_trait]
impl KeyProvider for Broken {
    fn capabilities(&self) -> Capabilities {
        let honest = self.inner.capabilities();
        match self.defect {
            SaysContextIsBound => honest.with_context(ContextSupport::Native),
            WrapIsNotAnnounced => honest.with_wraps(false),
            DescribesSilently => honest.with_describes_keys(false),
            ListsSilently => honest.with_lists_keys(false),
            OpensWithoutIdSilently | OpensByAnnotationsSilently => {
                honest.with_unwraps_without_key_id(false)
            }
            TakesTooLongDek => honest.with_max_plaintext_len(1024),
            _ => honest,
        }
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.inner.current_key(options).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.occupied().await?;
        let mut options = options.clone();
        if matches!(self.defect, IgnoresContext | SaysContextIsBound) {
            options.context = Default::default();
        }
        match self.defect {
            WrapDoesNotWork => return Err(Error::new(ErrorKind::Unsupported, "no")),
            TakesEmptyDek if dek.is_empty() => {
                return self
                    .inner
                    .wrap(&SecretBytes::from_vec(vec![0]), &options)
                    .await;
            }
            RepeatsCiphertext if self.last.lock().unwrap().is_some() => {
                return Ok(self.last.lock().unwrap().clone().unwrap());
            }
            ShowsDekInError if dek.len() > 4096 => {
                let message = format!("too long: {:02x?}", &dek.expose()[..33]).replace(", ", "");
                return Err(Error::new(ErrorKind::InvalidInput, message).with_provider("broken"));
            }
            LosesLastByteOfLongDeks if dek.len() > 4000 => {
                let shorter = SecretBytes::copy_from_slice(&dek.expose()[1..]);
                return self.inner.wrap(&shorter, &options).await;
            }
            _ => {}
        }
        let wrapped = self.inner.wrap(dek, &options).await?;
        let wrapped = match self.defect {
            NamesAnotherKey => WrappedKey::new("other".parse()?, wrapped.ciphertext().to_vec())?,
            ReusesKeyId => WrappedKey::new("the-key".parse()?, wrapped.ciphertext().to_vec())?,
            LetsAnnotationDecide => wrapped.with_annotation("length", vec![dek.len() as u8])?,
            NeedsAnnotationsWithoutId | OpensByAnnotationsSilently => {
                wrapped.with_annotation("version", vec![7])?
            }
            DoesNotAuthenticate => with_ciphertext(&wrapped, dek.expose()),
            _ => wrapped,
        };
        *self.last.lock().unwrap() = Some(wrapped.clone());
        let escrow = (wrapped.clone(), dek.expose().to_vec());
        self.escrow.lock().unwrap().push(escrow);
        Ok(wrapped)
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.occupied().await?;
        let mut options = options.clone();
        if matches!(self.defect, IgnoresContextOnUnwrap | SaysContextIsBound) {
            options.context = Default::default();
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.defect {
            SecondUnwrapFails if call == 1 => {
                return Err(Error::new(ErrorKind::Unavailable, "gone").with_provider("broken"));
            }
            DoesNotAuthenticate => {
                return Ok(SecretBytes::copy_from_slice(wrapped.ciphertext()));
            }
            IgnoresTrailingByte => {
                if let Some((0xff, rest)) = wrapped.ciphertext().split_last() {
                    return self
                        .inner
                        .unwrap(&with_ciphertext(wrapped, rest), &options)
                        .await;
                }
            }
            DoesNotOpenWithoutId if wrapped.key_id().is_none() => {
                return Err(Error::new(ErrorKind::Unsupported, "no").with_provider("broken"));
            }
            NeedsAnnotationsWithoutId | OpensByAnnotationsSilently
                if wrapped.key_id().is_none() && wrapped.annotation("version").is_none() =>
            {
                return Err(Error::crypto().with_provider("broken"));
            }
            ForgetsOldKeys => {
                let current = self.inner.current_key(&options.call).await?;
                if wrapped.key_id().is_some_and(|id| *id != current.id) {
                    return Err(Error::new(ErrorKind::KeyNotFound, "no").with_provider("broken"));
                }
            }
            TriesEveryKey => {
                if let Some(id) = wrapped.key_id() {
                    self.inner.describe_key(id, &options.call).await?;
                }
                let bare = WrappedKey::without_key_id(wrapped.ciphertext().to_vec())?;
                return self.inner.unwrap(&bare, &options).await;
            }
            ReusesKeyId => {
                let bare = WrappedKey::without_key_id(wrapped.ciphertext().to_vec())?;
                return self.inner.unwrap(&bare, &options).await;
            }
            _ => {}
        }
        let answer = self.inner.unwrap(wrapped, &options).await;
        match (self.defect, &answer) {
            (LetsAnnotationDecide, Ok(dek)) => {
                let length = wrapped.annotation("length").and_then(|value| value.first());
                let length = length.copied().map_or(dek.len(), usize::from);
                Ok(SecretBytes::copy_from_slice(
                    &dek.expose()[..length.min(dek.len())],
                ))
            }
            (CallsTamperingInternal, Err(error)) if error.kind() == ErrorKind::Crypto => {
                Err(Error::new(ErrorKind::Internal, "oops").with_provider("broken"))
            }
            (TreatsUnknownIdAsCurrent, Err(error)) if error.kind() == ErrorKind::KeyNotFound => {
                let bare = WrappedKey::without_key_id(wrapped.ciphertext().to_vec())?;
                self.inner.unwrap(&bare, &options).await
            }
            (CallsUnknownIdCrypto, Err(error)) if error.kind() == ErrorKind::KeyNotFound => {
                Err(Error::crypto().with_provider("broken"))
            }
            (ForgetsItsName, Err(error)) => Err(Error::new(error.kind(), "somewhere")),
            (UnwrapsUnderDisabledKey, Err(error)) if error.kind() == ErrorKind::KeyDisabled => {
                self.escrowed(wrapped).ok_or_else(Error::crypto)
            }
            (UnwrapsUnderDestroyedKey, Err(error)) if error.kind() == ErrorKind::KeyDestroyed => {
                self.escrowed(wrapped).ok_or_else(Error::crypto)
            }
            _ => answer,
        }
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        match self.defect {
            DescribesNothing => Err(Error::new(ErrorKind::Unsupported, "no")),
            DescribesUnknownKeys => Ok(KeyInfo::new(id.clone(), KeyState::Enabled)),
            _ => self.inner.describe_key(id, options).await,
        }
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        let mut keys = self.inner.list_keys(options).await?;
        match self.defect {
            ListsTwice => keys.extend(keys.clone()),
            ListsNewestFirst => keys.reverse(),
            _ => {}
        }
        Ok(keys)
    }
}
