//! Operating system and architecture.

use core::fmt;

use crate::{Error, ErrorKind};

/// What an image runs on, such as `linux/amd64` or `linux/arm/v7`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Default for Platform {
    /// `linux/amd64`, which confidential guests are.
    fn default() -> Self {
        Self::new("linux", "amd64", None)
    }
}

impl Platform {
    /// One from its parts. Other names of an architecture (`x86_64`, `aarch64`) count as those that
    /// images have, and so does a variant that goes without saying (`arm64/v8`).
    pub(super) fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let variant = variant.filter(|variant| {
            let goes_without_saying =
                matches!((architecture, *variant), ("arm64", "v8") | ("amd64", "v1"));
            !variant.is_empty() && !goes_without_saying
        });
        Self {
            os: os.to_ascii_lowercase(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Reads `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`] if it is not of this form.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            (1..=32).contains(&part.len()) && part.bytes().all(is_letter)
        };
        match parts.as_slice() {
            [os, architecture] if parts.iter().all(is_word) => {
                Ok(Self::new(os, architecture, None))
            }
            [os, architecture, variant] if parts.iter().all(is_word) => {
                Ok(Self::new(os, architecture, Some(variant)))
            }
            _ => Err(Error::new(
                ErrorKind::Image,
                format!("`{}` is no platform", super::digest::shown(text)),
            )
            .with_remedy("give one such as linux/amd64")),
        }
    }

    /// Whether an image for `offered` is what this asks for. Without a variant, any will do.
    pub(super) fn takes(&self, offered: &Self) -> bool {
        self.os == offered.os
            && self.architecture == offered.architecture
            && (self.variant.is_none() || self.variant == offered.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_and_compared() {
        let read = |text| Platform::parse(text).unwrap();
        assert_eq!(read("linux/amd64"), Platform::default());
        assert_eq!(read("linux/x86_64").to_string(), "linux/amd64");
        assert_eq!(read("linux/arm64/v8"), read("linux/aarch64"));
        assert_eq!(read("linux/arm/v7").to_string(), "linux/arm/v7");
        assert!(read("linux/arm").takes(&read("linux/arm/v6")));
        assert!(!read("linux/arm/v7").takes(&read("linux/arm/v6")));
        assert!(!read("linux/amd64").takes(&read("windows/amd64")));
        for bad in ["", "linux", "linux/", "/amd64", "a/b/c/d", "li nux/amd64"] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }
}
