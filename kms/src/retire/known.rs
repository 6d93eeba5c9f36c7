//! Who knows a key that nothing needs any more.

use kms_core::state::StateStore;
use kms_core::{CallOptions, KeyId, KeyInfo};
use kms_envelope::reencrypt::{Evidence, KnownKey, names_one_key};

use super::parse_key_id;
use crate::Failure;
use crate::provider::{Environment, ProviderUri};
use crate::rotation::RotationRecord;

/// How long a provider may take to say which keys it has.
const LIMIT: core::time::Duration = core::time::Duration::from_secs(30);

/// The keys that a provider has, and the one that it wraps with.
#[derive(Clone, Debug)]
pub struct ProviderListing {
    name: String,
    current: KeyId,
    keys: Vec<KeyInfo>,
}

impl ProviderListing {
    /// Asks a provider. One that lists no keys, as a plugin behind a socket, knows its current one.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the provider: it cannot be opened, or does not answer.
    pub async fn ask(uri: ProviderUri, environment: &mut Environment) -> Result<Self, Failure> {
        let name = uri.to_string();
        let clock = environment.clock();
        let provider = uri.open(environment)?;
        let call = CallOptions::default().with_deadline(clock.now() + LIMIT);
        let failed = |error: kms_core::Error| Failure::from(error).at(&name);
        let keys = match provider.capabilities().lists_keys {
            true => provider.list_keys(&call).await.map_err(failed)?,
            false => Vec::new(),
        };
        let current = match provider.current_key(&call).await {
            Ok(key) => key.id,
            // One that cannot wrap just now is the current one nonetheless.
            Err(error) => match error.key_id() {
                Some(id) => id.clone(),
                None => return Err(failed(error)),
            },
        };
        Ok(Self {
            name,
            current,
            keys,
        })
    }

    /// Its keys, for evidence.
    pub fn known(&self) -> impl Iterator<Item = KnownKey> {
        let version = |id: &KeyId| self.keys.iter().find(|key| key.id == *id)?.version.as_ref();
        let current = version(&self.current);
        let others = self.keys.iter().filter(|key| key.id != self.current);
        let others = others.map(move |key| {
            // A version may go by several ids.
            let is_current = current.is_some() && key.version.as_ref() == current;
            KnownKey::new(&self.name, &key.id).with_current(is_current)
        });
        let current = KnownKey::new(&self.name, &self.current).with_current(true);
        others.chain([current])
    }

    /// The key that is meant by the provider's own name for a version, such as `3`. Of several ids
    /// of a version it is the last one, which is written now.
    fn version(&self, version: &str) -> Option<&KeyId> {
        let mut keys = self.keys.iter().rev();
        let meant = keys.find(|key| key.version.as_deref() == Some(version))?;
        Some(&meant.id)
    }
}

/// Takes a key id, as [`parse_key_id`], or the name of a version that a provider has.
///
/// # Errors
///
/// As [`parse_key_id`].
pub fn resolve_key_id(text: &str, provider: Option<&ProviderListing>) -> Result<KeyId, Failure> {
    if let Some(id) = provider.and_then(|provider| provider.version(text)) {
        return Ok(id.clone());
    }
    parse_key_id(text)
}

/// The keys of a stored rotation, for evidence; `None` if there is no rotation.
///
/// # Errors
///
/// A [`Failure`]: it cannot be read.
pub async fn keys_of_rotation(store: &dyn StateStore) -> Result<Option<Vec<KnownKey>>, Failure> {
    let Some(found) = store.load(&CallOptions::default()).await? else {
        return Ok(None);
    };
    let record = RotationRecord::from_bytes(&found.bytes).map_err(|failure| failure.at(store))?;
    let source = format!("the rotation at {store}");
    let keys = record.state.keys().iter();
    Ok(Some(
        keys.map(|key| KnownKey::new(&source, key.id())).collect(),
    ))
}

/// What evidence of before has to say of a key: that it saw it, if it did.
#[must_use]
pub fn key_of_evidence(evidence: &Evidence, key_id: &KeyId) -> Option<KnownKey> {
    let stored = evidence.sources().iter();
    let stored = stored.flat_map(|source| source.references());
    let stored = stored.filter_map(|reference| reference.key_id());
    let written = evidence.replicas().iter().map(|it| it.writes_with());
    let known = evidence.known_keys().iter().map(|it| it.key_id());
    stored
        .chain(written)
        .chain(known)
        .any(|name| names_one_key(name, key_id.as_str()))
        .then(|| KnownKey::new("evidence of before", key_id))
}
