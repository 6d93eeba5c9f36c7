//! The one error type of this crate: what a command failed with, ready to be told to a person.

use core::fmt;
use std::io;

/// Why a command was refused or failed: what, where, and what to do about it.
pub struct Failure(Box<Inner>);

struct Inner {
    kind: &'static str,
    message: String,
    remedy: String,
    source: Option<Box<dyn core::error::Error + Send + Sync>>,
}

/// The kind of a [`Failure`] by which the command itself was called wrongly.
const USAGE: &str = "usage";
/// The kind of a [`Failure`] by which something waits for somebody.
const WAITS: &str = "waits";

impl Failure {
    /// A failure of a kind named in lower case, such as `io`.
    #[must_use]
    pub fn new(kind: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            remedy: remedy.into(),
            source: None,
        }))
    }

    /// The command was called wrongly.
    #[must_use]
    pub fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(USAGE, message, remedy)
    }

    /// All that could be done was done, and somebody has to do something before it goes on.
    #[must_use]
    pub fn waits(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(WAITS, message, remedy)
    }

    /// A file or socket operation failed; `what` says which, such as `reading /etc/x`.
    #[must_use]
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::new("io", what, "check the path, its permissions and the disk").with_source(source)
    }

    /// Says where it happened, in front of the message.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// Puts something worth trying in front of the remedy.
    #[must_use]
    pub fn with_advice(mut self, advice: &str) -> Self {
        self.0.remedy = format!("{advice}; else {}", self.0.remedy);
        self
    }

    /// Whether the reader of the output went away, as `head` does.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        let source = self
            .0
            .source
            .as_ref()
            .and_then(|source| source.downcast_ref::<io::Error>());
        source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn core::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// A stable lower-case name, as it stands in JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.0.kind
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.0.remedy
    }

    /// Whether the command was called wrongly, which has an exit code of its own.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.0.kind == USAGE
    }

    /// Whether something waits for somebody, which has an exit code of its own.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.0.kind == WAITS
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl core::error::Error for Failure {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<kms_core::Error> for Failure {
    fn from(error: kms_core::Error) -> Self {
        let failure = Self::new(error.kind().as_str(), error.to_string(), error.remedy());
        match core::error::Error::source(&error) {
            // The source is inside the shared error; its text is all that a person needs.
            Some(source) => failure.with_source(source.to_string()),
            None => failure,
        }
    }
}

impl From<kms_envelope::Error> for Failure {
    fn from(error: kms_envelope::Error) -> Self {
        let failure = Self::new(error.kind().as_str(), error.to_string(), error.remedy());
        match error.provider_error() {
            Some(source) => failure.with_source(source.clone()),
            None => failure,
        }
    }
}

impl From<kms_policy::Error> for Failure {
    fn from(error: kms_policy::Error) -> Self {
        let failure = Self::new(error.kind().as_str(), error.to_string(), error.remedy());
        match core::error::Error::source(&error) {
            // Its text is all that a person needs; not every message says it.
            Some(source) => failure.with_source(source.to_string()),
            None => failure,
        }
    }
}
