//! What one logs in with.

use core::fmt;
use core::ops::Deref;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A text that is not shown, and wiped when it goes.
#[derive(Clone)]
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// What a registry, or its server of tokens, is shown.
#[derive(Clone, Debug)]
pub(super) enum Credentials {
    /// A name and a password.
    Password { name: String, password: Secret },
    /// A token that others are got for (OAuth's refresh token).
    IdentityToken(Secret),
    /// A token for the registry itself.
    RegistryToken(Secret),
}
