//! Where a plugin listens.

use core::fmt;
use core::str::FromStr;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use kms_core::{Error, ErrorKind};

/// What `sun_path` holds, less one byte: the NUL after a path, or before an abstract name.
const MAX_LEN: usize = 107;

/// A Unix socket: a file, or on Linux an abstract name.
///
/// | written | means |
/// |---|---|
/// | `unix:///run/kms.sock` | the file `/run/kms.sock`; the form that Kubernetes documents |
/// | `unix:/run/kms.sock` | the same |
/// | `unix:kms.sock` | a file relative to the working directory |
/// | `unix:///@kms`, `unix:@kms` | the abstract socket `@kms` (Linux), which has no file |
///
/// `%`, `?` and `#` are refused: kube-apiserver reads the text as a URL and would give them a
/// meaning of their own. So is a path or name over 107 bytes, the most that the operating system
/// takes.
///
/// ```
/// use kms_plugin::socket::SocketAddress;
///
/// let address: SocketAddress = "unix:/run/kms.sock".parse()?;
/// assert_eq!(address.to_string(), "unix:///run/kms.sock");
/// assert_eq!("unix:///@kms".parse::<SocketAddress>()?.abstract_name(), Some("kms"));
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SocketAddress(Kind);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Kind {
    File(PathBuf),
    Abstract(String),
}

impl SocketAddress {
    /// The socket file at this path.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the path is empty, over 107 bytes, or holds a NUL byte.
    pub fn from_path(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        check("socket path", path.as_os_str().as_bytes())?;
        Ok(Self(Kind::File(path)))
    }

    /// The abstract socket of this name, which is given without the `@`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the name is empty, over 107 bytes, or holds a NUL byte.
    /// Whether the operating system has abstract sockets shows when it is used.
    pub fn from_abstract_name(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        check("abstract socket name", name.as_bytes())?;
        Ok(Self(Kind::Abstract(name)))
    }

    /// The path of a socket file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::File(path) => Some(path),
            Kind::Abstract(_) => None,
        }
    }

    /// The name of an abstract socket, without the `@`.
    #[must_use]
    pub fn abstract_name(&self) -> Option<&str> {
        match &self.0 {
            Kind::File(_) => None,
            Kind::Abstract(name) => Some(name),
        }
    }

    /// As `tokio::net::UnixStream::connect` takes it: an abstract name begins with a NUL byte.
    pub(crate) fn to_connect_path(&self) -> OsString {
        match &self.0 {
            Kind::File(path) => path.clone().into_os_string(),
            Kind::Abstract(name) => {
                let mut bytes = vec![0];
                bytes.extend_from_slice(name.as_bytes());
                OsString::from_vec(bytes)
            }
        }
    }
}

fn check(what: &str, bytes: &[u8]) -> Result<(), Error> {
    if bytes.is_empty() {
        return Err(fault(format!("{what} is empty")));
    }
    if bytes.len() > MAX_LEN {
        return Err(fault(format!(
            "{what} of {} bytes is over the operating system's limit of {MAX_LEN}",
            bytes.len()
        )));
    }
    if bytes.contains(&0) {
        return Err(fault(format!("{what} holds a NUL byte")));
    }
    Ok(())
}

fn fault(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

impl FromStr for SocketAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let path = path_of(text)?;
        let made = match path.strip_prefix("/@").or_else(|| path.strip_prefix('@')) {
            Some(name) => Self::from_abstract_name(name),
            None => Self::from_path(OsStr::new(path)),
        };
        made.map_err(|error| bad_address(error.message()))
    }
}

/// What follows `unix:`, without the slashes of an empty host part.
fn path_of(text: &str) -> Result<&str, Error> {
    let Some(rest) = text.strip_prefix("unix:") else {
        return Err(bad_address(fault_of_scheme(text)));
    };
    let path = match rest.strip_prefix("//") {
        Some(path) if path.is_empty() || path.starts_with('/') => path,
        Some(_) => {
            return Err(bad_address(
                "it has a host part; an absolute path begins with a third slash",
            ));
        }
        None => rest,
    };
    if let Some(letter) = path
        .chars()
        .find(|letter| matches!(letter, '%' | '?' | '#'))
    {
        return Err(bad_address(format!(
            "it holds {letter}, which kube-apiserver reads as URL syntax"
        )));
    }
    Ok(path)
}

fn fault_of_scheme(text: &str) -> &'static str {
    match text.split_once(':') {
        _ if text.is_empty() => "it is empty",
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("unix") => {
            "unix: must be written in lower case"
        }
        Some((scheme, _)) if !scheme.is_empty() && !scheme.contains(['/', '.', '@']) => {
            "its scheme is not unix:, and only Unix sockets are used"
        }
        _ => "it does not begin with unix:",
    }
}

fn bad_address(fault: impl fmt::Display) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!(
            "socket address is refused: {fault}; accepted are unix:///DIR/NAME, unix:/DIR/NAME, \
             unix:NAME (in the working directory), and unix:///@NAME or unix:@NAME (abstract)"
        ),
    )
    .with_remedy("write the address as unix:///run/kms/kms.sock")
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::File(path) if path.is_absolute() => write!(f, "unix://{}", path.display()),
            Kind::File(path) => write!(f, "unix:{}", path.display()),
            Kind::Abstract(name) => write!(f, "unix:///@{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_table() {
        for (text, path, name, shown) in [
            (
                "unix:///run/a.sock",
                Some("/run/a.sock"),
                None,
                "unix:///run/a.sock",
            ),
            (
                "unix:/run/a.sock",
                Some("/run/a.sock"),
                None,
                "unix:///run/a.sock",
            ),
            ("unix:a.sock", Some("a.sock"), None, "unix:a.sock"),
            ("unix:///@kms", None, Some("kms"), "unix:///@kms"),
            ("unix:@kms", None, Some("kms"), "unix:///@kms"),
            ("unix:/@kms", None, Some("kms"), "unix:///@kms"),
        ] {
            let address: SocketAddress = text.parse().unwrap();
            assert_eq!(address.path(), path.map(Path::new), "{text}");
            assert_eq!(address.abstract_name(), name, "{text}");
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<SocketAddress>().unwrap(), address, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_and_says_why() {
        for (bad, why) in [
            ("", "is empty"),
            ("/run/a.sock", "does not begin with unix:"),
            ("./a:b.sock", "does not begin with unix:"),
            ("@kms", "does not begin with unix:"),
            ("unix", "does not begin with unix:"),
            ("unix:", "path is empty"),
            ("unix://", "path is empty"),
            ("unix://run/a.sock", "host part"),
            ("unix://host/run/a.sock", "host part"),
            ("unix:@", "name is empty"),
            ("unix:///@", "name is empty"),
            ("unix:///a%2Fb", "holds %"),
            ("unix:///a?b", "holds ?"),
            ("unix:///a#b", "holds #"),
            ("unix:///a\0b", "NUL"),
            ("tcp://127.0.0.1:1", "scheme is not unix:"),
            ("UNIX:///a", "lower case"),
        ] {
            let error = bad.parse::<SocketAddress>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
            assert!(error.message().contains(why), "{bad:?}: {error}");
            assert!(error.message().contains("unix:///@NAME"), "{error}");
        }
        let long = format!("unix:///{}", "a".repeat(200));
        let error = long.parse::<SocketAddress>().unwrap_err();
        assert!(error.message().contains("201 bytes"), "{error}");
        assert!(error.message().contains("107"), "{error}");
    }

    #[test]
    fn length_is_bounded_by_the_operating_system() {
        let path = |length: usize| format!("/{}", "a".repeat(length - 1));
        assert!(SocketAddress::from_path(path(107)).is_ok());
        assert!(SocketAddress::from_path(path(108)).is_err());
        assert!(SocketAddress::from_abstract_name("a".repeat(107)).is_ok());
        assert!(SocketAddress::from_abstract_name("a".repeat(108)).is_err());
    }
}
