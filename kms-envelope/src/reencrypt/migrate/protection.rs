//! What a value is under.

use core::fmt;
use std::sync::Arc;

use kms_core::KeyId;
use serde::{Deserialize, Serialize};

use crate::kubernetes::{Opened, ProviderKind, WrittenWith};

/// What a stored value is under: the provider, the name in its prefix and, for KMS v2, the id of
/// the KEK.
///
/// Two values that agree in these need the same key, as far as a value can tell: a KMS v1 value
/// does not name its KEK.
///
/// ```
/// use kms_envelope::kubernetes::ProviderKind;
/// use kms_envelope::reencrypt::Protection;
///
/// let plain = Protection::new(ProviderKind::Identity, None, None);
/// assert_eq!(plain.to_string(), "in clear");
/// let aes = Protection::new(ProviderKind::AesGcm, Some("key1".into()), None);
/// assert_eq!(aes.to_string(), "aesgcm key1");
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(into = "Document", try_from = "Document")]
pub struct Protection {
    provider: ProviderKind,
    name: Option<Arc<str>>,
    key_id: Option<KeyId>,
}

impl Protection {
    /// What is under a provider, with the name of the key or KMS, and for KMS v2 the id of the KEK.
    #[must_use]
    pub const fn new(
        provider: ProviderKind,
        name: Option<Arc<str>>,
        key_id: Option<KeyId>,
    ) -> Self {
        Self {
            provider,
            name,
            key_id,
        }
    }

    /// The provider.
    #[must_use]
    pub const fn provider(&self) -> ProviderKind {
        self.provider
    }

    /// The name of the key, for KMS the name of the provider; none for `identity`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// KMS v2: the id of the KEK.
    #[must_use]
    pub const fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
    }

    /// Whether both are of one KMS v2, under whichever of its keys.
    pub(super) fn is_of_same_kms(&self, other: &Self) -> bool {
        self.provider == ProviderKind::KmsV2
            && self.provider == other.provider
            && self.name == other.name
    }
}

impl From<&Opened> for Protection {
    fn from(opened: &Opened) -> Self {
        Self {
            provider: opened.provider(),
            name: opened.shared_name().cloned(),
            key_id: opened.key_id().cloned(),
        }
    }
}

impl From<WrittenWith> for Protection {
    fn from(written: WrittenWith) -> Self {
        Self {
            provider: written.provider,
            name: written.name,
            key_id: written.key_id,
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.provider == ProviderKind::Identity {
            return f.write_str("in clear");
        }
        write!(f, "{}", self.provider)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        if let Some(key_id) = &self.key_id {
            write!(f, ", key {key_id}")?;
        }
        Ok(())
    }
}

/// As it stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    provider: String,
    name: Option<String>,
    key_id: Option<String>,
}

impl From<Protection> for Document {
    fn from(protection: Protection) -> Self {
        Self {
            provider: protection.provider.as_str().to_owned(),
            name: protection.name.map(|name| name.as_ref().to_owned()),
            key_id: protection.key_id.map(|id| id.as_str().to_owned()),
        }
    }
}

impl TryFrom<Document> for Protection {
    type Error = String;

    fn try_from(document: Document) -> Result<Self, String> {
        let provider = ProviderKind::from_name(&document.provider)
            .ok_or_else(|| "provider is not known".to_owned())?;
        let key_id = document.key_id.map(KeyId::new).transpose();
        Ok(Self {
            provider,
            name: document.name.map(Into::into),
            key_id: key_id.map_err(|error| error.message().to_owned())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gives_back_what_it_was_made_of() {
        let id = KeyId::new("vault/key/1").unwrap();
        for protection in [
            Protection::new(ProviderKind::Identity, None, None),
            Protection::new(ProviderKind::KmsV2, Some("a".into()), Some(id)),
        ] {
            let text = serde_json::to_string(&protection).unwrap();
            let back: Protection = serde_json::from_str(&text).unwrap();
            assert_eq!(back, protection);
        }
        for bad in [
            r#"{"provider":"rot13","name":null,"key_id":null}"#,
            r#"{"provider":"kms-v2","name":"a","key_id":""}"#,
            r#"{"provider":"kms-v2","name":"a","key_id":null,"more":1}"#,
        ] {
            assert!(serde_json::from_str::<Protection>(bad).is_err(), "{bad}");
        }
    }
}
