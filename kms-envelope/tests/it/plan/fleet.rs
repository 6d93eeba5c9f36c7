//! Three API servers over one store, which take the steps of a plan one by one.
//!
//! It knows nothing of how a plan is made: a server is what the file that it has says, and objects
//! are real.

use std::collections::BTreeMap;
use std::sync::Arc;

use kms_core::OsRandom;
use kms_envelope::kubernetes::plan::{Action, Check, Rollout, Step, StoredObjects};
use kms_envelope::kubernetes::{
    EncryptionConfiguration, GroupResource, NamedKey, ProviderConfiguration, Transformer,
    resource_of_etcd_key,
};
use kms_envelope::reencrypt::{Census, CensusOptions};

use crate::support::{ManualClock, Plugin};
use crate::{local, now};

/// Where objects of some resources are kept: one of each class that the tests' configurations name.
const PLACES: [&str; 7] = [
    "/registry/secrets/ns/",
    "/registry/configmaps/ns/",
    "/registry/pods/ns/",
    "/registry/deployments/ns/",
    "/registry/statefulsets/ns/",
    "/registry/leases/ns/",
    "/registry/example.org/gadgets/ns/",
];
const SERVERS: usize = 3;

/// Everything outside the API servers.
pub(super) struct World {
    plugins: BTreeMap<String, Arc<Plugin>>,
    clock: Arc<ManualClock>,
    /// What is stored, and what it should read as.
    objects: BTreeMap<String, (Vec<u8>, Vec<u8>)>,
    writes: usize,
}

struct Server {
    by_place: Vec<Transformer>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            plugins: BTreeMap::new(),
            clock: Arc::new(ManualClock::default()),
            objects: BTreeMap::new(),
            writes: 0,
        }
    }

    /// The plugin behind a socket. Each has a key of its own.
    fn plugin(&mut self, endpoint: &str) -> Arc<Plugin> {
        let made = self.plugins.entry(endpoint.to_owned()).or_insert_with(|| {
            let key_id = format!("key-of-{endpoint}");
            Arc::new(Plugin::new(
                &key_id,
                [(key_id.clone(), super::secret(endpoint))],
            ))
        });
        Arc::clone(made)
    }

    fn transformer(&mut self, providers: &[&ProviderConfiguration]) -> Transformer {
        let clock = Arc::clone(&self.clock) as _;
        let mut builder =
            Transformer::builder(providers.iter().copied(), clock, Arc::new(OsRandom));
        for provider in providers {
            if let ProviderConfiguration::Kms(kms) = provider {
                builder = builder.kms(kms.name.clone(), self.plugin(&kms.endpoint));
            }
        }
        let transformer = builder.build().unwrap();
        now(transformer.refresh()).unwrap();
        transformer
    }

    fn server(&mut self, configuration: Option<&EncryptionConfiguration>) -> Server {
        let identity = [&ProviderConfiguration::Identity];
        let by_place = PLACES.map(|place| {
            let resource = resource_at(place);
            let providers = configuration
                .map(|it| it.providers_for(resource.group, resource.resource))
                .unwrap_or_default();
            match providers.as_slice() {
                [] => self.transformer(&identity),
                providers => self.transformer(providers),
            }
        });
        Server {
            by_place: by_place.into(),
        }
    }

    /// An object of each resource for each provider and key that reads it.
    pub(super) fn populate(&mut self, configuration: Option<&EncryptionConfiguration>) {
        let Some(configuration) = configuration else {
            return;
        };
        for (place, key) in PLACES.iter().enumerate() {
            let resource = resource_at(key);
            for provider in configuration.providers_for(resource.group, resource.resource) {
                for single in one_key_each(provider) {
                    let writer = self.transformer(&[&single]);
                    self.write(&writer, place);
                }
            }
        }
    }

    fn write(&mut self, transformer: &Transformer, place: usize) {
        self.writes += 1;
        let key = format!("{}{}", PLACES[place], self.writes);
        let plain = format!("k8s\0object {}", self.writes).into_bytes();
        let value = now(transformer.write(key.as_bytes(), &plain)).unwrap();
        self.objects.insert(key, (value, plain));
    }

    fn write_everywhere(&mut self, servers: &[Server]) {
        for server in servers {
            for place in 0..PLACES.len() {
                self.write(&server.by_place[place], place);
            }
        }
    }

    /// Every server reads every object, or the first one that does not is named.
    fn read_everything(&self, servers: &[Server]) -> Result<(), String> {
        for (number, server) in servers.iter().enumerate() {
            for (key, (value, plain)) in &self.objects {
                let opened = now(server.by_place[place_of(key)].read(key.as_bytes(), value));
                match opened {
                    Ok(opened) if opened.plaintext() == plain => {}
                    Ok(_) => return Err(format!("server {number} reads garbage at {key}")),
                    Err(error) => {
                        let start = String::from_utf8_lossy(&value[..value.len().min(40)]);
                        return Err(format!("server {number}: {key} ({start}): {error}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// What a census would say.
    pub(super) fn census(&self) -> StoredObjects {
        let mut census = Census::new(CensusOptions::default());
        for (key, (value, _)) in &self.objects {
            census.live(key.as_bytes(), value, false).unwrap();
        }
        StoredObjects::from(&census.report())
    }

    /// Takes the steps, server by server in `order`, while all of them write and read all the
    /// time. At the end a server that knows only the last configuration reads everything.
    pub(super) fn walk(
        &mut self,
        from: Option<&EncryptionConfiguration>,
        steps: &[&Step],
        to: &EncryptionConfiguration,
        rollout: Rollout,
        order: [usize; SERVERS],
    ) -> Result<(), String> {
        let mut servers: Vec<_> = (0..SERVERS).map(|_| self.server(from)).collect();
        self.write_everywhere(&servers);
        self.read_everything(&servers)?;
        for step in steps {
            let at = |error| format!("{}: {error}", step.purpose);
            match &step.action {
                Action::Configure(file) => {
                    let text = std::str::from_utf8(file.text.expose()).unwrap();
                    let configuration = EncryptionConfiguration::parse(text).unwrap();
                    for server in order {
                        servers[server] = self.server(Some(&configuration));
                        if rollout == Rollout::Rolling {
                            self.write_everywhere(&servers);
                            self.read_everything(&servers).map_err(at)?;
                        }
                    }
                    self.write_everywhere(&servers);
                    self.read_everything(&servers).map_err(at)?;
                }
                Action::Migrate(_) => {
                    self.migrate(&servers);
                    self.write_everywhere(&servers);
                    self.read_everything(&servers).map_err(at)?;
                }
                other => panic!("{other:?}"),
            }
            self.check(step)?;
        }
        let last = self.server(Some(to));
        self.read_everything(&[last])
            .map_err(|error| format!("at the end: {error}"))
    }

    /// Each object is updated without a change, by one server or another.
    fn migrate(&mut self, servers: &[Server]) {
        for (turn, (key, (value, plain))) in self.objects.iter_mut().enumerate() {
            let transformer = &servers[turn % servers.len()].by_place[place_of(key)];
            let opened = now(transformer.read(key.as_bytes(), value)).unwrap();
            if opened.is_stale() {
                *value = now(transformer.write(key.as_bytes(), plain)).unwrap();
            }
        }
    }

    /// What a step says must hold is so.
    fn check(&self, step: &Step) -> Result<(), String> {
        for check in &step.checks {
            let Check::NoObjectsUnder { under } = check else {
                continue;
            };
            for (key, (value, _)) in &self.objects {
                let is_left = under.iter().any(|under| {
                    // Wildcards would need the plan's own idea of what they cover.
                    under.resource == resource_at(key).to_string()
                        && match under.prefix.as_str() {
                            "" => !value.starts_with(b"k8s:enc:"),
                            prefix => value.starts_with(prefix.as_bytes()),
                        }
                });
                if is_left {
                    return Err(format!("{key} is still under what is to go"));
                }
            }
        }
        Ok(())
    }
}

fn resource_at(key: &str) -> GroupResource<'static> {
    resource_of_etcd_key(PLACES[place_of(key)].as_bytes()).unwrap()
}

fn place_of(key: &str) -> usize {
    PLACES
        .iter()
        .position(|place| key.starts_with(place))
        .unwrap()
}

/// The provider with each of its keys alone.
fn one_key_each(provider: &ProviderConfiguration) -> Vec<ProviderConfiguration> {
    let (kind, keys) = match provider {
        ProviderConfiguration::Identity => return vec![ProviderConfiguration::Identity],
        ProviderConfiguration::Kms(kms) => return vec![ProviderConfiguration::Kms(kms.clone())],
        ProviderConfiguration::AesCbc(keys) => ("aescbc", keys),
        ProviderConfiguration::AesGcm(keys) => ("aesgcm", keys),
        ProviderConfiguration::Secretbox(keys) => ("secretbox", keys),
        other => panic!("{other:?}"),
    };
    let single = |key: &NamedKey| {
        let provider = local(kind, &[(&key.name, key.secret.expose())]);
        let mut configuration = super::config(&[(&["*.*"], &[provider])]);
        configuration.resources.remove(0).providers.remove(0)
    };
    keys.iter().map(single).collect()
}
