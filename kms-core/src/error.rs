//! The one error type of this crate, and what it says to a caller and to an operator.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use crate::KeyId;

/// What went wrong, for a program to match on.
///
/// The kind decides whether a retry can help ([`ErrorKind::is_retryable`]) and what an operator
/// should do ([`ErrorKind::remedy`]). Everything that could tell an attacker *why* a ciphertext did
/// not open is one kind, [`ErrorKind::Crypto`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller gave something that can never work: empty, too long, malformed.
    InvalidInput,
    /// The provider cannot do this at all; see [`Capabilities`](crate::Capabilities).
    Unsupported,
    /// The ciphertext, its key id or its context is not what was wrapped.
    Crypto,
    /// No key has this id, or it was never there.
    KeyNotFound,
    /// The key exists and its owner switched it off.
    KeyDisabled,
    /// The key's life is over. Unwrapping may still work; wrapping does not.
    KeyExpired,
    /// The key's life has not begun.
    KeyNotYetValid,
    /// The key was destroyed: nothing it wrapped can be opened again.
    KeyDestroyed,
    /// The identity is known and may not do this.
    PermissionDenied,
    /// The identity could not be established.
    Unauthenticated,
    /// The service asks us to slow down.
    Throttled,
    /// The service cannot be reached or is failing.
    Unavailable,
    /// The deadline passed before an answer came. Whether the call took effect is unknown.
    DeadlineExceeded,
    /// Someone else changed the same thing first.
    Conflict,
    /// The past state that was asked for, a revision or the rest of a list, is no longer kept.
    Compacted,
    /// Stored state is torn, tampered with or not ours. It is left as it is.
    Corrupt,
    /// A file or socket operation failed.
    Io,
    /// The peer broke its protocol: a wrong key id, an answer over the limits.
    Protocol,
    /// A fault of this software or of its environment, such as no randomness.
    Internal,
}

impl ErrorKind {
    /// Whether the same call may succeed later without anyone changing anything.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Throttled | Self::Unavailable | Self::DeadlineExceeded | Self::Conflict
        )
    }

    /// A stable lower-case name, for metric labels, logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::Unsupported => "unsupported",
            Self::Crypto => "crypto",
            Self::KeyNotFound => "key_not_found",
            Self::KeyDisabled => "key_disabled",
            Self::KeyExpired => "key_expired",
            Self::KeyNotYetValid => "key_not_yet_valid",
            Self::KeyDestroyed => "key_destroyed",
            Self::PermissionDenied => "permission_denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Conflict => "conflict",
            Self::Compacted => "compacted",
            Self::Corrupt => "corrupt",
            Self::Io => "io",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }

    /// What the operator should do, when the provider knows nothing better.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::InvalidInput => "correct the value that is named",
            Self::Unsupported => "use a provider that has this capability",
            Self::Crypto => {
                "check that the data is complete, in its place, and that this is the key it was wrapped with"
            }
            Self::KeyNotFound => "check the key id, or add the provider that holds this key",
            Self::KeyDisabled => "enable the key version again",
            Self::KeyExpired => "extend the key's expiry, then rotate to a new version",
            Self::KeyNotYetValid => "wait for the key's start time, or change it",
            Self::KeyDestroyed => "restore the key from a backup if there is one",
            Self::PermissionDenied => "grant the identity the rights to use this key",
            Self::Unauthenticated => "check the credentials",
            Self::Throttled => "lower the request rate or raise the quota",
            Self::Unavailable => "check that the service runs and can be reached",
            Self::DeadlineExceeded => "check the service's latency, or allow more time",
            Self::Conflict => "read the current state and try again",
            Self::Compacted => "start again from the current state, or compact less often",
            Self::Corrupt => "restore the file from a backup; do not delete it",
            Self::Io => "check the path, its permissions and the disk",
            Self::Protocol => "check the version and health of the peer",
            Self::Internal => "report this as a defect",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a provider operation failed.
///
/// Small (one pointer) and cheap to clone, so that every waiter of a coalesced call can have it.
/// It never holds key material.
///
/// ```
/// use kms_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Throttled, "429 from the vault")
///     .with_provider("vault-1")
///     .with_retry_after(std::time::Duration::from_secs(2));
/// assert!(error.is_retryable());
/// assert_eq!(error.to_string(), "vault-1: 429 from the vault");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    provider: Option<String>,
    key_id: Option<KeyId>,
    retry_after: Option<Duration>,
    remedy: Option<String>,
    source: Option<Arc<dyn core::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind; `message` says what happened and names the field or file.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            provider: None,
            key_id: None,
            retry_after: None,
            remedy: None,
            source: None,
        }))
    }

    /// The opaque failure of a cryptographic operation.
    #[must_use]
    pub fn crypto() -> Self {
        Self::new(
            ErrorKind::Crypto,
            "the ciphertext does not open under this key and context",
        )
    }

    /// Says which provider failed. The first one named, the innermost, stays.
    #[must_use]
    pub fn with_provider(self, provider: impl Into<String>) -> Self {
        self.edit(|inner| {
            inner.provider.get_or_insert_with(|| provider.into());
        })
    }

    /// Says which key was meant.
    #[must_use]
    pub fn with_key_id(self, key_id: KeyId) -> Self {
        self.edit(|inner| inner.key_id = Some(key_id))
    }

    /// The service's own advice on when to come back.
    #[must_use]
    pub fn with_retry_after(self, after: Duration) -> Self {
        self.edit(|inner| inner.retry_after = Some(after))
    }

    /// A remedy more exact than the kind's own.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        self.edit(|inner| inner.remedy = Some(remedy.into()))
    }

    /// The cause.
    #[must_use]
    pub fn with_source(self, source: impl core::error::Error + Send + Sync + 'static) -> Self {
        self.edit(|inner| inner.source = Some(Arc::new(source)))
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without anyone changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// The service's own advice on when to come back, if it gave any. Bound it before you sleep.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What happened, without the provider's name.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The provider that failed.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.0.provider.as_deref()
    }

    /// The key that was meant.
    #[must_use]
    pub fn key_id(&self) -> Option<&KeyId> {
        self.0.key_id.as_ref()
    }

    /// What the operator should do.
    #[must_use]
    pub fn remedy(&self) -> &str {
        self.0
            .remedy
            .as_deref()
            .unwrap_or_else(|| self.0.kind.remedy())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(provider) = &self.0.provider {
            write!(f, "{provider}: ")?;
        }
        f.write_str(&self.0.message)?;
        if let Some(key_id) = &self.0.key_id {
            write!(f, " (key id {key_id})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("provider", &self.0.provider)
            .field("key_id", &self.0.key_id)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish()
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_provider_is_named() {
        let error = Error::crypto()
            .with_provider("inner")
            .with_provider("outer");
        assert_eq!(error.provider(), Some("inner"));
    }

    #[test]
    fn a_clone_is_not_changed_by_its_copy() {
        let first = Error::crypto();
        let second = first.clone().with_remedy("other");
        assert_eq!(first.remedy(), ErrorKind::Crypto.remedy());
        assert_eq!(second.remedy(), "other");
    }

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
