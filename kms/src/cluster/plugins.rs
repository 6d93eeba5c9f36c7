//! The key providers behind the KMS of a configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use kms_core::KeyProvider;
use kms_envelope::kubernetes::{EncryptionConfiguration, KmsConfiguration, ProviderConfiguration};

use super::KekArgument;
use crate::Failure;
use crate::provider::{Environment, open_endpoint};

/// Opens the provider of every KMS that a configuration names: the one that `keks` give, or the
/// plugin at its endpoint. Dials nothing yet.
pub(crate) fn open_plugins(
    config: &EncryptionConfiguration,
    keks: Vec<KekArgument>,
    environment: &mut Environment,
) -> Result<BTreeMap<String, Arc<dyn KeyProvider>>, Failure> {
    let mut given = BTreeMap::new();
    for kek in keks {
        if given.insert(kek.name.clone(), kek.provider).is_some() {
            return Err(Failure::usage(
                format!("--kek names the KMS `{}` twice", kek.name),
                "give one provider for each name",
            ));
        }
    }
    let mut plugins = BTreeMap::new();
    for kms in kms_entries(config) {
        if plugins.contains_key(&kms.name) {
            continue;
        }
        let provider = match given.remove(&kms.name) {
            Some(uri) => uri.open_for(kms, environment)?,
            None => open_endpoint(kms, environment.clock())?,
        };
        plugins.insert(kms.name.clone(), provider);
    }
    match given.keys().next() {
        Some(unknown) => Err(unknown_kms(unknown, &plugins)),
        None => Ok(plugins),
    }
}

pub(super) fn kms_entries(
    config: &EncryptionConfiguration,
) -> impl Iterator<Item = &KmsConfiguration> {
    let providers = config.resources.iter().flat_map(|entry| &entry.providers);
    providers.filter_map(|provider| match provider {
        ProviderConfiguration::Kms(kms) => Some(kms),
        _ => None,
    })
}

fn unknown_kms(name: &str, known: &BTreeMap<String, Arc<dyn KeyProvider>>) -> Failure {
    let known: Vec<_> = known.keys().map(String::as_str).collect();
    Failure::usage(
        format!("--kek names the KMS `{name}`, which the configuration does not have"),
        if known.is_empty() {
            "leave --kek away: the configuration has no KMS".to_owned()
        } else {
            format!("give one of `{}`", known.join("`, `"))
        },
    )
}
