//! Which re-encryptor an object belongs to.

use core::fmt;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kms_core::{Clock, KeyProvider, SecureRandom};

use super::scope::kept_with;
use super::{MigrationScope, Reencryptor, TargetSelector, TransformerPair};
use crate::kubernetes::{
    DekSourceType, EncryptionConfiguration, GroupResource, ProviderConfiguration, Transformer,
    resource_of_etcd_key_under,
};
use crate::reencrypt::Place;
use crate::{Error, ErrorKind};

/// The re-encryptors of a migration, and which of them an object belongs to.
pub trait Reencryptors: fmt::Debug + Send + Sync {
    /// All of them. The list does not change.
    fn all(&self) -> &[Arc<dyn Reencryptor>];

    /// Who is responsible for the object under this key.
    fn lookup(&self, etcd_key: &[u8]) -> Lookup;

    /// How the target was chosen, as text: part of what tells one migration from another.
    fn selector(&self) -> String;
}

/// Who is responsible for an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// The re-encryptor of this number in [`Reencryptors::all`].
    Found(usize),
    /// Nobody: it is not to be encrypted, or not in the scope.
    NotConfigured,
    /// It cannot be told which resource the object is of, and so what API servers read it with.
    Unknown,
}

/// What [`ConfiguredReencryptors`] are made of.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReencryptorOptions {
    /// What to bring objects to.
    pub target: TargetSelector,
    /// The key providers behind the KMS of the configuration, by name.
    pub kms: Vec<(String, Arc<dyn KeyProvider>)>,
    /// The source type that API servers write KMS v2 values with.
    pub kms_v2_source_type: DekSourceType,
    /// The time that seeds are refreshed and cached by.
    pub clock: Arc<dyn Clock>,
    /// Where keys and nonces come from.
    pub random: Arc<dyn SecureRandom>,
}

impl ReencryptorOptions {
    /// To what API servers write with, and no KMS.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn SecureRandom>) -> Self {
        Self {
            target: TargetSelector::default(),
            kms: Vec::new(),
            kms_v2_source_type: DekSourceType::default(),
            clock,
            random,
        }
    }

    /// Sets what to bring objects to.
    #[must_use]
    pub fn with_target(mut self, target: TargetSelector) -> Self {
        self.target = target;
        self
    }

    /// Sets the key provider behind the KMS of this name.
    #[must_use]
    pub fn with_kms(mut self, name: impl Into<String>, provider: Arc<dyn KeyProvider>) -> Self {
        self.kms.push((name.into(), provider));
        self
    }

    /// Sets the source type that API servers write KMS v2 values with.
    #[must_use]
    pub const fn with_kms_v2_source_type(mut self, written: DekSourceType) -> Self {
        self.kms_v2_source_type = written;
        self
    }
}

/// One [`TransformerPair`] for each list of providers that a configuration makes, for the
/// resources of a scope.
pub struct ConfiguredReencryptors {
    etcd_prefix: Vec<u8>,
    selector: String,
    pairs: Vec<Arc<dyn Reencryptor>>,
    /// Resources that are named, as printed.
    named: HashMap<String, usize>,
    /// `*.group`.
    groups: HashMap<String, usize>,
    /// `*.*`.
    rest: Option<usize>,
    /// Named resources outside the scope.
    has_scope: bool,
}

impl ConfiguredReencryptors {
    /// The re-encryptors for the resources of this scope. Calls no provider.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the configuration has no provider for a resource that the scope
    /// names, or not the target; and as [`TransformerPair::new`].
    pub fn new(
        config: &EncryptionConfiguration,
        scope: &MigrationScope,
        options: &ReencryptorOptions,
    ) -> Result<Self, Error> {
        let mut made = Self {
            etcd_prefix: scope.etcd_prefix().as_bytes().to_vec(),
            selector: options.target.to_string(),
            pairs: Vec::new(),
            named: HashMap::new(),
            groups: HashMap::new(),
            rest: None,
            has_scope: !scope.resources().is_empty(),
        };
        let mut lists = Vec::new();
        let mut place = |made: &mut Self, resource: GroupResource<'_>| {
            let providers = config.providers_for(resource.group, resource.resource);
            if providers.is_empty() {
                return Ok(None);
            }
            let list: Vec<_> = providers
                .iter()
                .map(|it| core::ptr::from_ref(*it))
                .collect();
            if let Some(known) = lists.iter().position(|known| *known == list) {
                return Ok(Some(known));
            }
            let name = resource.to_string();
            let pair = pair(&providers, &name, options)?;
            made.pairs.push(Arc::new(pair));
            lists.push(list);
            Ok::<_, Error>(Some(made.pairs.len().saturating_sub(1)))
        };
        if made.has_scope {
            for name in scope.resources() {
                let resource = kept_with(GroupResource::parse(name));
                let Some(found) = place(&mut made, resource)? else {
                    return Err(Error::new(
                        ErrorKind::Config,
                        format!("the configuration has no provider for the resource {name}"),
                    ));
                };
                made.named.insert(resource.to_string(), found);
            }
            return Ok(made);
        }
        let names: BTreeSet<_> = config
            .resources
            .iter()
            .flat_map(|entry| &entry.resources)
            .map(|name| GroupResource::parse(name))
            .collect();
        for resource in names {
            let Some(found) = place(&mut made, resource)? else {
                continue;
            };
            match (resource.group, resource.resource) {
                ("*", "*") => made.rest = Some(found),
                (group, "*") => {
                    made.groups.insert(group.to_owned(), found);
                }
                _ => {
                    made.named.insert(resource.to_string(), found);
                }
            }
        }
        Ok(made)
    }

    /// Whether every resource, of whatever name, has the same providers.
    fn one_for_all(&self) -> Option<usize> {
        self.rest
            .filter(|_| self.named.is_empty() && self.groups.is_empty())
    }
}

fn pair(
    providers: &[&ProviderConfiguration],
    resource: &str,
    options: &ReencryptorOptions,
) -> Result<TransformerPair, Error> {
    TransformerPair::new(providers, &options.target, resource, |list| {
        let (clock, random) = (Arc::clone(&options.clock), Arc::clone(&options.random));
        let builder = Transformer::builder(list, clock, random)
            .kms_v2_source_type(options.kms_v2_source_type);
        options.kms.iter().fold(builder, |builder, (name, kms)| {
            builder.kms(name.clone(), Arc::clone(kms))
        })
    })
}

impl Reencryptors for ConfiguredReencryptors {
    fn all(&self) -> &[Arc<dyn Reencryptor>] {
        &self.pairs
    }

    fn lookup(&self, etcd_key: &[u8]) -> Lookup {
        let found = match resource_of_etcd_key_under(&self.etcd_prefix, etcd_key) {
            Some(resource) => {
                let resource = kept_with(resource);
                let named = self.named.get(resource.to_string().as_str());
                let group = || self.groups.get(resource.group);
                named.or_else(group).copied().or(self.rest)
            }
            None if Place::of(&self.etcd_prefix, etcd_key).is_none() || self.has_scope => None,
            None => match self.one_for_all() {
                Some(one) => Some(one),
                None => return Lookup::Unknown,
            },
        };
        found.map_or(Lookup::NotConfigured, Lookup::Found)
    }

    fn selector(&self) -> String {
        self.selector.clone()
    }
}

impl fmt::Debug for ConfiguredReencryptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfiguredReencryptors")
            .field("selector", &self.selector)
            .field("pairs", &self.pairs)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::future::pending;
    use kms_core::{OsRandom, Sleep, Tick};
    use std::time::SystemTime;

    #[derive(Debug)]
    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Tick {
            Tick::ORIGIN
        }

        fn wall_time(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn sleep_until(&self, _: Tick) -> Sleep {
            Box::pin(pending())
        }
    }

    fn reencryptors(resources: &str, scope: &MigrationScope) -> ConfiguredReencryptors {
        let keys = "{keys: [{name: k, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}";
        let mut text =
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
                .to_owned();
        for names in resources.split(';') {
            text.push_str(&format!(
                "  - resources: [{names}]\n    providers: [{{aesgcm: {keys}}}, {{identity: {{}}}}]\n"
            ));
        }
        let config = EncryptionConfiguration::parse(&text).unwrap();
        let options = ReencryptorOptions::new(Arc::new(Stopped), Arc::new(OsRandom));
        ConfiguredReencryptors::new(&config, scope, &options).unwrap()
    }

    #[test]
    fn the_most_exact_entry_is_responsible() {
        let all = MigrationScope::new("/registry");
        let found = reencryptors("secrets, services;'*.apps';'*.*'", &all);
        let names = |key: &str| found.lookup(key.as_bytes());
        let secrets = names("/registry/secrets/a/b");
        assert_eq!(names("/registry/ranges/serviceips"), secrets);
        let apps = names("/registry/deployments/a/b");
        let rest = names("/registry/example.org/gadgets/a/b");
        assert!(secrets != apps && apps != rest && rest != secrets);
        assert_eq!(names("/registry/frobnications/a/b"), Lookup::Unknown);
        assert_eq!(names("compact_rev_key"), Lookup::NotConfigured);
        // One object for one list, however many resources have it.
        assert_eq!(found.all().len(), 3);
    }

    #[test]
    fn what_no_entry_names_is_nobodys() {
        let all = MigrationScope::new("/registry");
        let found = reencryptors("secrets", &all);
        assert_eq!(found.lookup(b"/registry/pods/a/b"), Lookup::NotConfigured);
        assert_eq!(found.lookup(b"/registry/frobs/a/b"), Lookup::Unknown);
        // If all have the same providers, the resource need not be known.
        let found = reencryptors("'*.*'", &all);
        assert_eq!(found.lookup(b"/registry/frobs/a/b"), Lookup::Found(0));
    }

    #[test]
    fn a_scope_leaves_the_rest_alone() {
        let scope = MigrationScope::new("/registry")
            .with_resources(["secrets"])
            .unwrap();
        let found = reencryptors("secrets;configmaps", &scope);
        assert_eq!(found.all().len(), 1);
        assert_eq!(
            found.lookup(b"/registry/configmaps/a/b"),
            Lookup::NotConfigured
        );
    }
}
