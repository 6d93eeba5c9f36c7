//! The one error type of this crate.

use core::fmt;

/// What went wrong, for a program to match on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A manifest is not YAML, or a field in it is not what Kubernetes has there.
    Manifest,
    /// A manifest has a kind or field that a policy cannot speak about.
    Unsupported,
    /// The settings are wrong.
    Settings,
    /// The image facts are wrong, or an image has none.
    Image,
    /// The rules are wrong.
    Rules,
    /// A request is not of its form.
    Request,
    /// Something could not be fetched from a registry.
    Registry,
    /// A file could not be read or written.
    Io,
    /// A fault of this software.
    Internal,
}

impl ErrorKind {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Unsupported => "unsupported",
            Self::Settings => "settings",
            Self::Image => "image",
            Self::Rules => "rules",
            Self::Request => "request",
            Self::Registry => "registry",
            Self::Io => "io",
            Self::Internal => "internal",
        }
    }

    /// What to do, when nothing better is known.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Manifest => "correct the manifest where it is named",
            Self::Unsupported => {
                "remove the field or kind that is named, or have unsupported fields ignored"
            }
            Self::Settings => "correct the settings where they are named",
            Self::Image => "make the lock file of images anew",
            Self::Rules => "correct the rules",
            Self::Request => "correct the request where it is named",
            Self::Registry => "check the image's name, the network and the credentials",
            Self::Io => "check the path and its permissions",
            Self::Internal => "report this as a defect",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a policy could not be made.
///
/// One pointer in size. It holds no content of a Secret.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<String>,
    remedy: Option<String>,
    source: Option<Box<dyn core::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind; `message` says what is wrong.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            path: None,
            remedy: None,
            source: None,
        }))
    }

    /// Says where it is, such as `spec.containers[0].workingDir`.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Says what to do, better than the kind does.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Gives the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn core::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What is wrong, without place and cause.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it is, if that is known.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match &self.0.remedy {
            Some(remedy) => remedy,
            None => self.0.kind.remedy(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("path", &self.0.path)
            .field("source", &self.0.source)
            .finish()
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.0.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
