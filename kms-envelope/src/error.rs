//! The one error type of this crate.

use core::fmt;

/// What went wrong, for a program to match on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A configuration file is wrong; the message names the field.
    Config,
    /// A stored value is cut off, too long or not of its format; the message names the field.
    Malformed,
    /// No configured provider and key has the prefix of the stored value, or is one of its
    /// recipients.
    NoMatchingProvider,
    /// A stored value does not open: changed, cut off, under another key or in another place.
    /// Which of these it was is not told.
    Crypto,
    /// The KMS provider failed; the source is its [`kms_core::Error`].
    Provider,
    /// The KMS broke a rule of its API, such as an answer over the limits.
    Protocol,
    /// The KMS encrypts with another key than its Status tells. It is so for a moment when the key
    /// is rotated.
    KeyIdMismatch,
    /// There is no KMS state to write with or to judge staleness by: never established, or expired.
    NotReady,
    /// This build lacks what the data needs, or the format does not allow what was asked.
    Unsupported,
    /// A checkpoint is damaged, or of another migration than this.
    Checkpoint,
    /// A fault of this software or of its environment, such as no randomness.
    Internal,
}

impl ErrorKind {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Malformed => "malformed",
            Self::NoMatchingProvider => "no_matching_provider",
            Self::Crypto => "crypto",
            Self::Provider => "provider",
            Self::Protocol => "protocol",
            Self::KeyIdMismatch => "key_id_mismatch",
            Self::NotReady => "not_ready",
            Self::Unsupported => "unsupported",
            Self::Checkpoint => "checkpoint",
            Self::Internal => "internal",
        }
    }

    /// What the operator should do, when nothing better is known.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Config => "correct the configuration where it is named",
            Self::Malformed => "restore the value from a backup; it is damaged",
            Self::NoMatchingProvider => {
                "configure the provider that the data names, by its prefix or among its recipients"
            }
            Self::Crypto => {
                "check the key, what the data is bound to (etcd key, context, aad), and that it is complete; else restore it from a backup"
            }
            Self::Provider => "check the KMS provider",
            Self::Protocol => "check the KMS plugin's version and health",
            Self::KeyIdMismatch => {
                "try again: the key is being rotated; if it stays so, check the KMS plugin's version and health"
            }
            Self::NotReady => "check that the KMS answers Status and Encrypt, then try again",
            Self::Unsupported => {
                "use a build with the feature that is named, or keep to the limit that is"
            }
            Self::Checkpoint => {
                "begin again without the checkpoint; what is right already is not touched"
            }
            Self::Internal => "report this as a defect",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something could not be read, written or configured.
///
/// One pointer in size. It never holds key material or plaintext.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<kms_core::Error>,
}

impl Error {
    /// An error of this kind; `message` says what is wrong and names the field.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
        }))
    }

    /// The failure of a key provider.
    #[must_use]
    pub fn provider(message: impl Into<String>, source: kms_core::Error) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::Provider,
            message: message.into(),
            source: Some(source),
        }))
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What is wrong, without the cause.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The key provider's own error, if that was the cause.
    #[must_use]
    pub fn provider_error(&self) -> Option<&kms_core::Error> {
        self.0.source.as_ref()
    }

    /// Whether the same call may succeed later without anyone changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &self.0.source {
            Some(source) => source.is_retryable(),
            None => matches!(self.0.kind, ErrorKind::NotReady | ErrorKind::KeyIdMismatch),
        }
    }

    /// What the operator should do.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match &self.0.source {
            Some(source) => source.remedy(),
            None => self.0.kind.remedy(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn the_cause_decides_retry_and_remedy() {
        let cause = kms_core::Error::new(kms_core::ErrorKind::Throttled, "slow down");
        let error = Error::provider("unwrapping the DEK source", cause);
        assert!(error.is_retryable());
        assert_eq!(error.remedy(), kms_core::ErrorKind::Throttled.remedy());
    }
}
