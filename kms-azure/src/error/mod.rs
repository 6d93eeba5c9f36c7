//! What a vault's refusals mean.
//!
//! Every error of this crate is a [`kms_core::Error`]. One that comes from a vault, or from the way
//! to it, has a [`VaultError`] as its source ([`VaultError::of`]), except where a ciphertext does
//! not open: that is opaque.
//!
//! | HTTP | code | [`Fault`] | kind | passes |
//! |---|---|---|---|---|
//! | 401 | `AKV10032` | `InvalidIssuer` | unauthenticated | after a change |
//! | 401 | `AKV10022` | `InvalidAudience` | unauthenticated | after a change |
//! | 401 | `TokenExpired` | `TokenExpired` | unauthenticated | after a change |
//! | 401 | any other | `TokenRefused` | unauthenticated | after a change |
//! | 403 | `ForbiddenByRbac` | `ForbiddenByRbac` | permission_denied | up to 24 h after a grant |
//! | 403 | `ForbiddenByPolicy`, `AccessDenied` | `ForbiddenByPolicy` | permission_denied | minutes after a grant |
//! | 403 | `ForbiddenByFirewall` | `ForbiddenByFirewall` | permission_denied | after a change |
//! | 403 | `ForbiddenByConnection` | `ForbiddenByConnection` | permission_denied | after a change |
//! | 403 | `KeyDisabled` | `KeyDisabled` | key_disabled | after a change |
//! | 403 | `KeyExpired` | `KeyExpired` | key_expired | after a change |
//! | 403 | `KeyNotYetValid` | `KeyNotYetValid` | key_not_yet_valid | with time |
//! | 403 | `KeyOperationForbidden` | `KeyOperationForbidden` | permission_denied | after a change |
//! | 403 | any other | `Forbidden` | permission_denied | after a change |
//! | 404 | `KeyNotFound` | `KeyNotFound`, or `KeyDeleted` if it can be recovered | key_not_found, key_disabled | after a change |
//! | 409 | `ObjectIsDeletedButRecoverable` | `NameTakenByDeletedKey` | invalid_input | after a change |
//! | 409 | `ObjectIsBeingDeleted`, any other | `BeingDeleted`, `Conflict` | conflict | soon |
//! | 400 | `BadParameter`, `BadArgument` for unwrapping | none: opaque | crypto | never |
//! | 400 | `BadParameter`, `BadArgument` | `BadParameter` | invalid_input | after a change |
//! | 429 | any | `Throttled` | throttled | soon |
//! | 408, 5xx | any | `ServerError` | unavailable | soon |
//! | none | no address | `NameNotResolved` | unavailable | soon |
//! | none | no or a broken connection | `ConnectionFailed` | unavailable | soon |
//! | none | certificate | `CertificateNotTrusted` | protocol | after a change |
//! | none | challenge of another service | `ChallengeRefused` | protocol | after a change |
//! | any other | any | `UnexpectedAnswer` | protocol | after a change |

mod body;
mod fault;
mod remedy;
mod sdk;

use core::fmt;
use core::time::Duration;

use kms_core::Error;

pub(crate) use body::readable;
pub use fault::{Fault, Retry};
pub(crate) use sdk::{find, from_sdk, retry_after};

use crate::key_url::KeyUrl;

/// What was asked of a vault.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// `GET /keys/NAME[/VERSION]`
    GetKey,
    /// `GET /keys/NAME/versions`
    ListVersions,
    /// `GET /deletedkeys/NAME`
    GetDeletedKey,
    /// `POST …/wrapkey`
    WrapKey,
    /// `POST …/unwrapkey`
    UnwrapKey,
    /// `POST …/encrypt`
    Encrypt,
    /// `POST …/decrypt`
    Decrypt,
}

impl Operation {
    /// The service's own name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GetKey => "get",
            Self::ListVersions => "list versions",
            Self::GetDeletedKey => "get deleted",
            Self::WrapKey => "wrapKey",
            Self::UnwrapKey => "unwrapKey",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
        }
    }

    const fn opens_ciphertext(self) -> bool {
        matches!(self, Self::UnwrapKey | Self::Decrypt)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal of a vault's, in detail: the source of a [`kms_core::Error`].
///
/// It holds nothing secret. The message is the first line of the vault's own, shortened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VaultError {
    fault: Fault,
    operation: Operation,
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
}

impl VaultError {
    /// The refusal that an error comes from, if it comes from a vault.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        core::error::Error::source(error)?.downcast_ref()
    }

    /// What is wrong.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// What was asked.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// The HTTP status, if there was an answer.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        self.status
    }

    /// The innermost code of the answer.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The first line of the vault's message, shortened.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// `x-ms-request-id`, by which Microsoft finds the call.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// A fault found without a refusal, such as an answer that names another key.
    pub(crate) const fn found(fault: Fault, operation: Operation) -> Self {
        Self {
            fault,
            operation,
            status: None,
            code: None,
            message: None,
            request_id: None,
        }
    }

    pub(crate) fn with_message(mut self, message: &str) -> Self {
        self.message = Some(readable(message));
        self
    }

    /// The error to return for it.
    pub(crate) fn about(self, key: &KeyUrl, retry_after: Option<Duration>) -> Error {
        let error = if self.fault == Fault::DoesNotOpen {
            Error::crypto()
        } else {
            Error::new(self.fault.kind(), self.to_string())
                .with_remedy(remedy::remedy(self.fault, self.operation, key))
                .with_source(self)
        };
        let error = error.with_provider(key.without_version().to_string());
        let error = match key.key_id() {
            Ok(id) => error.with_key_id(id),
            Err(_versionless) => error,
        };
        match retry_after {
            Some(after) => error.with_retry_after(after),
            None => error,
        }
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.operation)?;
        match self.status {
            Some(status) => write!(f, " with {status}")?,
            None => write!(f, ": {}", self.fault.as_str().replace('_', " "))?,
        }
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl core::error::Error for VaultError {}
