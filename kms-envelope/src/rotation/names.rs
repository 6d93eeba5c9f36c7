//! What a provider and a task are called.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Error, ErrorKind};

/// The name under which replicas know a source of keys: all versions of one key, in one vault, in
/// one mode, by one version of the KMS API.
///
/// Versions of one key share it; replicas change over between them by themselves. Everything else
/// is another provider, which has to be brought to the replicas first: another key name, another
/// vault, another network mode, KMS v2 instead of v1, or the same under another name in the
/// `EncryptionConfiguration`. 1 to 512 bytes without control characters. It may be logged.
///
/// ```
/// let name: kms_envelope::rotation::ProviderName = "https://v.vault.azure.net/keys/etcd".parse()?;
/// assert_eq!(name.as_str(), "https://v.vault.azure.net/keys/etcd");
/// # Ok::<(), kms_envelope::Error>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProviderName(Arc<str>);

impl ProviderName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 512;

    /// Checks and takes a name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if it is empty, over [`MAX_LEN`](Self::MAX_LEN) bytes or holds a
    /// control character.
    pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
        let name = name.as_ref();
        let fault = match name.len() {
            0 => "the provider's name is empty",
            length if length > Self::MAX_LEN => "the provider's name is over 512 bytes",
            _ if name.chars().any(char::is_control) => {
                "the provider's name holds a control character"
            }
            _ => return Ok(Self(name.into())),
        };
        Err(Error::new(ErrorKind::Malformed, fault))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProviderName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl Serialize for ProviderName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ProviderName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(from)?).map_err(de::Error::custom)
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Which of its tasks the machine means. An effect carries it and the answer gives it back, so that
/// an answer to an earlier question is told from one to this.
///
/// A number that is never used again within one state.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct TaskId(u64);

impl TaskId {
    /// The task of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_name_is_bounded_at_both_ends() {
        assert!(ProviderName::new("a".repeat(512)).is_ok());
        for bad in [String::new(), "a".repeat(513), "a\nb".to_owned()] {
            assert!(ProviderName::new(&bad).is_err(), "{bad:?}");
        }
    }
}
