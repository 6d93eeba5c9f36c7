//! Decrypting values with the keys of a set.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kms_core::{KeyId, OsRandom, TokioClock};
use kms_envelope::kubernetes::{ProviderConfiguration, Transformer, resource_of_etcd_key};
use kms_testkit::StaticProvider;

use crate::set::Set;

/// A transformer for each resource, made when it is first needed.
pub(crate) struct Opener<'s> {
    set: &'s Set,
    provider: Arc<StaticProvider>,
    transformers: BTreeMap<String, Transformer>,
}

impl<'s> Opener<'s> {
    pub(crate) fn new(set: &'s Set) -> Self {
        let current = set.expected["current_key_id"].as_str().unwrap();
        let keks = set.expected["keks"].as_object().unwrap();
        let key = |id: &str| {
            let key = BASE64_STANDARD.decode(keks[id].as_str().unwrap()).unwrap();
            let id: KeyId = id.parse().unwrap();
            (id, <[u8; 32]>::try_from(key).unwrap())
        };
        let (id, first) = key(current);
        let provider = StaticProvider::new(id, first);
        for id in keks.keys().filter(|id| *id != current) {
            let (id, key) = key(id);
            provider.add_key(id, key).unwrap();
        }
        Self {
            set,
            provider: Arc::new(provider),
            transformers: BTreeMap::new(),
        }
    }

    pub(crate) async fn open(&mut self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
        let resource = resource_of_etcd_key(key).map_or_else(String::new, |it| it.to_string());
        if !self.transformers.contains_key(&resource) {
            let transformer = self.transformer(key).await?;
            self.transformers.insert(resource.clone(), transformer);
        }
        let opened = self.transformers[&resource].read(key, value).await;
        opened
            .map(|opened| opened.plaintext().to_vec())
            .map_err(|error| error.to_string())
    }

    async fn transformer(&self, key: &[u8]) -> Result<Transformer, String> {
        let identity = ProviderConfiguration::Identity;
        let mut providers = resource_of_etcd_key(key).map_or_else(Vec::new, |resource| {
            self.set
                .config
                .providers_for(resource.group, resource.resource)
        });
        if providers.is_empty() {
            providers.push(&identity);
        }
        let names: Vec<_> = providers
            .iter()
            .filter_map(|provider| match provider {
                ProviderConfiguration::Kms(kms) => Some(kms.name.clone()),
                _ => None,
            })
            .collect();
        let mut builder =
            Transformer::builder(providers, Arc::new(TokioClock::new()), Arc::new(OsRandom));
        for name in names {
            builder = builder.kms(name, self.provider.clone());
        }
        let transformer = builder.build().map_err(|error| error.to_string())?;
        transformer
            .refresh()
            .await
            .map_err(|error| error.to_string())?;
        Ok(transformer)
    }
}
