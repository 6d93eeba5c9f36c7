//! What a key is called and what state it is in.

use core::fmt;
use core::str::FromStr;
use std::borrow::Borrow;
use std::sync::Arc;
use std::time::SystemTime;

use crate::{Error, ErrorKind};

/// The name of exactly one version of one key-encryption key (KEK), for ever.
///
/// It is stored in clear beside everything the key wraps and may be logged, so it holds no secret.
/// It is never used again for another key, not even for the same version after a rollback: then
/// the provider makes a new id (D8 of the design). Kubernetes bounds it to 1,024 bytes of UTF-8,
/// and so do we. Control characters are refused, since ids end up in terminals and logs.
///
/// ```
/// let id: kms_core::KeyId = "keys.example.com/dek-wrapping/4".parse()?;
/// assert_eq!(id.as_str(), "keys.example.com/dek-wrapping/4");
/// assert!("".parse::<kms_core::KeyId>().is_err());
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Checks and takes a key id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is empty, over [`KeyId::MAX_LEN`] bytes, or holds a
    /// control character.
    pub fn new(id: impl AsRef<str>) -> Result<Self, Error> {
        let id = id.as_ref();
        let fault = match id.len() {
            0 => "key id is empty",
            length if length > Self::MAX_LEN => "key id is over 1024 bytes",
            _ if id.chars().any(char::is_control) => "key id holds a control character",
            _ => return Ok(Self(id.into())),
        };
        Err(Error::new(ErrorKind::InvalidInput, fault))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self, Error> {
        Self::new(id)
    }
}

impl AsRef<str> for KeyId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What may be done with a key version, as its provider sees it.
///
/// This is the provider's view. What a rotation makes of it (pending, active, previous, …) is
/// another matter, and another crate's.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum KeyState {
    /// Wraps and unwraps.
    Enabled,
    /// Switched off by its owner: neither wraps nor unwraps until it is enabled again.
    Disabled,
    /// Does not wrap yet: its start time lies ahead.
    NotYetValid,
    /// Does not wrap any more: its end time is past. It still unwraps.
    Expired,
    /// Will be destroyed when its grace period ends, and can still be saved. Does not wrap;
    /// does not unwrap either, so that a mistake shows while it can be undone.
    PendingDestruction,
    /// Gone.
    Destroyed,
}

impl KeyState {
    /// Whether a key in this state may wrap.
    #[must_use]
    pub const fn can_wrap(self) -> bool {
        matches!(self, Self::Enabled)
    }

    /// Whether a key in this state may unwrap.
    #[must_use]
    pub const fn can_unwrap(self) -> bool {
        matches!(self, Self::Enabled | Self::NotYetValid | Self::Expired)
    }

    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::PendingDestruction => "pending_destruction",
            Self::Destroyed => "destroyed",
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One key version as its provider describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Its id, as it stands beside wrapped data.
    pub id: KeyId,
    /// The provider's own name for the version, such as `3`. For people; the id is what counts.
    pub version: Option<String>,
    /// What may be done with it.
    pub state: KeyState,
    /// The algorithm it wraps with, in the provider's words, such as `AES-256-GCM`.
    pub algorithm: Option<String>,
    /// When it was made.
    pub created: Option<SystemTime>,
    /// Before this it does not wrap.
    pub not_before: Option<SystemTime>,
    /// From this on it does not wrap.
    pub expires: Option<SystemTime>,
}

impl KeyInfo {
    /// A description with nothing but the essentials.
    #[must_use]
    pub const fn new(id: KeyId, state: KeyState) -> Self {
        Self {
            id,
            version: None,
            state,
            algorithm: None,
            created: None,
            not_before: None,
            expires: None,
        }
    }

    /// Sets the provider's own name for the version.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets the wrapping algorithm.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: impl Into<String>) -> Self {
        self.algorithm = Some(algorithm.into());
        self
    }

    /// Sets the time of creation.
    #[must_use]
    pub const fn with_created(mut self, created: SystemTime) -> Self {
        self.created = Some(created);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_is_bounded_at_both_ends() {
        assert!(KeyId::new("a".repeat(1024)).is_ok());
        for bad in [
            String::new(),
            "a".repeat(1025),
            "a\nb".to_owned(),
            "\u{1b}[31m".to_owned(),
        ] {
            assert_eq!(
                KeyId::new(&bad).unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn only_an_enabled_key_wraps_and_no_destroyed_key_unwraps() {
        assert!(KeyState::Enabled.can_wrap() && KeyState::Enabled.can_unwrap());
        for state in [
            KeyState::Disabled,
            KeyState::PendingDestruction,
            KeyState::Destroyed,
        ] {
            assert!(!state.can_wrap() && !state.can_unwrap(), "{state}");
        }
        for state in [KeyState::Expired, KeyState::NotYetValid] {
            assert!(!state.can_wrap() && state.can_unwrap(), "{state}");
        }
    }
}
