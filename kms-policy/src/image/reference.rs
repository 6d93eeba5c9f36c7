//! Names of images.
//!
//! The grammar is that of Distribution's `reference`; a name without a registry is one of Docker Hub.

use core::fmt;

use super::Digest;
use super::digest::shown;
use crate::{Error, ErrorKind};

/// The longest registry, and the longest repository, in bytes.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
const DOCKER_HUB: &str = "docker.io";

/// The name of an image, as manifests have it.
///
/// ```
/// use kms_policy::image::ImageReference;
///
/// let image = ImageReference::parse("redis:7")?;
/// assert_eq!(image.to_string(), "docker.io/library/redis:7");
/// assert!(image.digest().is_none());
/// # Ok::<(), kms_policy::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ImageReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageReference {
    /// Reads `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`] if it is not of this form.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text).ok_or_else(|| {
            Error::new(
                ErrorKind::Image,
                format!("`{}` is no image's name", shown(text)),
            )
            .with_remedy("give [REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST], in lower case")
        })
    }

    fn read(text: &str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest).ok()?)),
            None => (text, None),
        };
        let last = rest.rsplit('/').next()?;
        let (name, tag) = match last.split_once(':') {
            Some((_, tag)) => {
                let name = rest.strip_suffix(tag)?.strip_suffix(':')?;
                (name, Some(tag.to_owned()))
            }
            None => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, path)
            }
            _ => (DOCKER_HUB, name),
        };
        let registry = if registry == "index.docker.io" {
            DOCKER_HUB
        } else {
            registry
        };
        let is_short = registry == DOCKER_HUB && !path.contains('/');
        let repository = if is_short {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        let fits = registry.len().max(repository.len()) <= MAX_NAME
            && is_registry(registry)
            && repository.split('/').all(is_component)
            && tag.as_deref().is_none_or(is_tag);
        let latest = || digest.is_none().then(|| "latest".to_owned());
        let tag = tag.or_else(latest);
        fits.then_some(Self {
            registry: registry.to_ascii_lowercase(),
            repository,
            tag,
            digest,
        })
    }

    /// The registry's host, with its port if it has one of its own.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name within the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` if the name has neither tag nor digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that it is pinned to. Without one, another image may have this name tomorrow.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same image, pinned to this digest.
    #[must_use]
    pub fn pinned_to(&self, digest: &Digest) -> Self {
        Self {
            digest: Some(digest.clone()),
            ..self.clone()
        }
    }

    /// Whether both are of one name and tag.
    pub(super) fn has_name_of(&self, other: &Self) -> bool {
        self.registry == other.registry
            && self.repository == other.repository
            && self.tag == other.tag
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// `HOST[:PORT]`, where an IPv6 address stands in brackets.
pub(super) fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| {
        port.len() <= 5 && port.bytes().all(|it| it.is_ascii_digit()) && port.parse::<u16>().is_ok()
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(address) => address.parse::<core::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !label.is_empty()
                && label.bytes().all(is_letter)
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    is_host && port.is_none_or(is_port)
}

/// Lower-case letters and digits, with `.`, `_`, `__` or dashes between.
fn is_component(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut between = String::new();
    let mut may_end = false;
    for byte in text.bytes() {
        if is_letter(byte) {
            let is_separator = matches!(&*between, "" | "." | "_" | "__")
                || between.bytes().all(|byte| byte == b'-');
            if !is_separator || (!between.is_empty() && !may_end) {
                return false;
            }
            between.clear();
            may_end = true;
        } else if b"._-".contains(&byte) && may_end {
            between.push(char::from(byte));
        } else {
            return false;
        }
    }
    may_end && between.is_empty()
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_letter = |byte: u8| is_word(byte) || b".-".contains(&byte);
    text.len() <= MAX_TAG && text.bytes().next().is_some_and(is_word) && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_container_engines_read_them() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, expected) in [
            ("redis", "docker.io/library/redis:latest".to_owned()),
            ("a/b:1", "docker.io/a/b:1".to_owned()),
            (
                "index.docker.io/redis",
                "docker.io/library/redis:latest".to_owned(),
            ),
            ("localhost/a", "localhost/a:latest".to_owned()),
            (
                "localhost:5000/a:V.1-x",
                "localhost:5000/a:V.1-x".to_owned(),
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest".to_owned()),
            (
                "Reg.Example/a__b/c-d.e",
                "reg.example/a__b/c-d.e:latest".to_owned(),
            ),
            (&format!("r.io/a@{digest}"), format!("r.io/a@{digest}")),
            (&format!("r.io/a:1@{digest}"), format!("r.io/a:1@{digest}")),
        ] {
            let image = ImageReference::parse(text).unwrap();
            assert_eq!(image.to_string(), expected, "{text}");
            assert_eq!(ImageReference::parse(&expected).unwrap(), image, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(256);
        for bad in [
            "",
            "A",
            "a//b",
            "a:",
            "a:.b",
            "a@sha256:00",
            "a@",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a/",
            "/a",
            "r.io:port/a",
            "r.io:99999/a",
            "r.io/../b",
            "r..io/a",
            "a b",
            "r.io/a?b",
            "ä",
            "user@r.io/a",
            &long,
        ] {
            assert!(ImageReference::parse(bad).is_err(), "{bad}");
        }
    }
}
