//! A cluster in memory, its API servers, and a driver.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kms::Failure;
use kms::rotation::{
    ClusterObjects, ClusterObjectsOptions, Convergence, Driver, DriverOptions, KeySource, News,
    Outcome, Parts, ProviderKeys, RotationRecord, WriterStates, Writers,
};
use kms_cluster::embedded::EmbeddedStore;
use kms_core::object::{ObjectKey, ObjectSource as _, Scan, ScanOptions};
use kms_core::state::{ObjectStateStore, StateStore};
use kms_core::{CallOptions, Clock as _, KeyId, KeyProvider, OsRandom};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
use kms_envelope::reencrypt::{CensusOptions, Evidence, ReplicaState, ScannedSource, take_census};
use kms_envelope::rotation::{Expectation, State, Target};
use kms_testkit::{FaultProvider, ManualClock, StaticProvider};

const KMS: &str = "kms";
const CONFIG: &str = "\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - kms: {apiVersion: v2, name: kms, endpoint: \"unix:///nowhere\"}
      - identity: {}
";

pub(super) type Faulty = FaultProvider<Arc<StaticProvider>>;

/// API servers, as far as they write.
#[derive(Debug)]
pub(super) struct Fleet(Vec<Transformer>, ManualClock);

impl Fleet {
    fn key_of(server: &Transformer) -> Option<KeyId> {
        server.kms_write_state(KMS).map(|state| state.key_id)
    }
}

#[async_trait]
impl Writers for Fleet {
    async fn check(&self, expectation: &Expectation) -> Result<Convergence, Failure> {
        let Expectation::Writes(Target::Key { id, .. }) = expectation else {
            panic!("{expectation:?}");
        };
        let others = self
            .0
            .iter()
            .filter(|it| Self::key_of(it).as_ref() != Some(id));
        Ok(Convergence::new(others.count() as u32, Vec::new()))
    }

    async fn states(&self, _: &Target) -> WriterStates {
        let now = self.1.wall_time();
        let keys = self.0.iter().filter_map(Self::key_of).enumerate();
        let states = keys.map(|(at, key)| ReplicaState::new(format!("cp-{at}"), &key, now));
        WriterStates::new(states.collect(), Vec::new())
    }
}

pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) keys: Arc<StaticProvider>,
    pub(super) faults: Arc<Faulty>,
    pub(super) cluster: Arc<EmbeddedStore>,
    state: Arc<EmbeddedStore>,
    fleet: Arc<Fleet>,
    /// Where the driver sees versions, if not at the provider.
    source: Option<Arc<dyn KeySource>>,
}

impl World {
    /// Three API servers with one plugin, and some Secrets under the first key.
    pub(super) fn new() -> Self {
        Self::of_cluster("c1")
    }

    /// The same, in a cluster of this id.
    pub(super) fn of_cluster(id: &str) -> Self {
        let clock = ManualClock::new();
        let keys = Arc::new(StaticProvider::generate().unwrap());
        let faults = FaultProvider::new(Arc::clone(&keys), Arc::new(clock.clone()));
        let faults = Arc::new(faults);
        let plugins = [(); 3].map(|()| Arc::clone(&faults) as Arc<dyn KeyProvider>);
        Self::around(id, clock, keys, faults, plugins)
    }

    /// API servers with a plugin each, that change over by themselves; `keys` are the driver's.
    pub(super) fn with_plugins(
        clock: ManualClock,
        keys: Arc<StaticProvider>,
        plugins: [Arc<dyn KeyProvider>; 3],
        source: Arc<dyn KeySource>,
    ) -> Self {
        let faults = FaultProvider::new(Arc::clone(&keys), Arc::new(clock.clone()));
        let mut world = Self::around("c1", clock, keys, Arc::new(faults), plugins);
        world.source = Some(source);
        world
    }

    fn around(
        id: &str,
        clock: ManualClock,
        keys: Arc<StaticProvider>,
        faults: Arc<Faulty>,
        plugins: [Arc<dyn KeyProvider>; 3],
    ) -> Self {
        let config = EncryptionConfiguration::parse(CONFIG).unwrap();
        let servers = plugins.map(|plugin| {
            let providers = config.providers_for("", "secrets");
            let clock = Arc::new(clock.clone());
            let builder = Transformer::builder(providers, clock, Arc::new(OsRandom));
            builder.kms(KMS, plugin).build().unwrap()
        });
        let fleet = Arc::new(Fleet(servers.into(), clock.clone()));
        let world = Self {
            cluster: Arc::new(EmbeddedStore::new("cluster").with_cluster_id(id)),
            state: Arc::new(EmbeddedStore::new("state")),
            clock,
            keys,
            faults,
            fleet,
            source: None,
        };
        let fill = async {
            world.refresh().await;
            for number in 0..30 {
                let key = ObjectKey::new(format!("/registry/secrets/default/s{number}")).unwrap();
                let server = &world.fleet.0[number % 3];
                let value = server.write(key.as_bytes(), b"k8s\0secret").await.unwrap();
                world.cluster.put(&key, value, None).unwrap();
            }
        };
        world.clock.run(fill).unwrap();
        world
    }

    /// Which key each API server writes with.
    pub(super) fn written_with(&self) -> Vec<KeyId> {
        self.fleet.0.iter().filter_map(Fleet::key_of).collect()
    }

    pub(super) async fn refresh(&self) {
        for server in &self.fleet.0 {
            // A provider that fails leaves it as it is.
            let _ = server.refresh().await;
        }
    }

    /// API servers ask their plugin every minute, and etcd is compacted every five.
    async fn live(&self) {
        for minute in 1_u64.. {
            let next = self.clock.now() + Duration::from_secs(60);
            self.clock.sleep_until(next).await;
            self.refresh().await;
            if minute.is_multiple_of(5) {
                self.cluster.compact(self.cluster.revision()).unwrap();
            }
        }
    }

    pub(super) fn options() -> DriverOptions {
        DriverOptions::default()
    }

    pub(super) fn driver(&self, options: DriverOptions) -> Driver {
        self.driver_on(Arc::new(self.store()), options)
    }

    /// One that keeps the state here.
    pub(super) fn driver_on(&self, store: Arc<dyn StateStore>, options: DriverOptions) -> Driver {
        let clock = Arc::new(self.clock.clone());
        let provider: Arc<dyn KeyProvider> = self.faults.clone();
        let mut about = ClusterObjectsOptions::new(KMS);
        about.providers = vec![(KMS.to_owned(), Arc::clone(&provider))];
        for name in [Evidence::BACKUPS, Evidence::OTHER_CLUSTERS] {
            about
                .waivers
                .push((name.to_owned(), "there are none".to_owned()));
        }
        let config = EncryptionConfiguration::parse(CONFIG).unwrap();
        let objects =
            ClusterObjects::new(self.cluster.clone(), config, about, clock.clone()).unwrap();
        let name = "static".parse().unwrap();
        let keys: Arc<dyn KeySource> = match &self.source {
            Some(source) => Arc::clone(source),
            None => Arc::new(ProviderKeys::new(name, provider)),
        };
        let parts = Parts::new(keys, self.fleet.clone(), Arc::new(objects));
        Driver::new(store, parts, options, clock).unwrap()
    }

    /// Lets time pass without a driver.
    pub(super) fn pass(&self, time: Duration) {
        self.run(self.clock.sleep_until(self.clock.now() + time));
    }

    /// What a look at the cluster finds now.
    pub(super) fn evidence(&self) -> Evidence {
        let look = async {
            let options = CensusOptions::default();
            let scan = ScanOptions::default();
            let (report, revision) = take_census(&*self.cluster, &scan, &options, true, |_| {})
                .await
                .unwrap();
            let identity = self
                .cluster
                .identity(&CallOptions::default())
                .await
                .unwrap();
            let now = self.clock.wall_time();
            let source = ScannedSource::cluster(&identity, &report, revision, now);
            let names = [
                Evidence::BACKUPS,
                Evidence::OTHER_CLUSTERS,
                Evidence::REPLICAS,
            ];
            let builder = Evidence::builder(now).scanned(source);
            let builder = names
                .iter()
                .fold(builder, |builder, name| builder.waive(*name, "none"));
            builder.finish().unwrap()
        };
        self.clock.run(look).unwrap()
    }

    pub(super) fn store(&self) -> ObjectStateStore {
        let key = ObjectKey::new("/kms/rotation/test").unwrap();
        ObjectStateStore::new(self.state.clone(), key)
    }

    /// Lets a driver drive for so long, and gives back what it told.
    pub(super) fn drive(&self, options: DriverOptions, time: Duration) -> (Outcome, Vec<String>) {
        let told = Mutex::new(Vec::new());
        let note = |news: &News| {
            told.lock()
                .unwrap()
                .push(format!("{}: {news}", news.code()));
        };
        let outcome = self.drive_beside(options, time, core::future::pending(), note);
        (outcome, told.into_inner().unwrap())
    }

    /// Lets a driver drive for so long, beside something else that never ends.
    pub(super) fn drive_beside(
        &self,
        options: DriverOptions,
        time: Duration,
        beside: impl Future<Output = ()>,
        on_news: impl Fn(&News) + Send,
    ) -> Outcome {
        self.run_driver(&self.driver(options), time, beside, on_news)
    }

    /// Lets this driver drive.
    pub(super) fn run_driver(
        &self,
        driver: &Driver,
        time: Duration,
        beside: impl Future<Output = ()>,
        on_news: impl Fn(&News) + Send,
    ) -> Outcome {
        let until = self.clock.now() + time;
        self.run(async {
            tokio::select! {
                biased;
                outcome = driver.run(self.clock.sleep_until(until), on_news) => outcome.unwrap(),
                () = beside => unreachable!(),
            }
        })
    }

    /// Lets something happen while API servers live.
    pub(super) fn run<T>(&self, something: impl Future<Output = T>) -> T {
        let both = async {
            tokio::select! {
                biased;
                done = something => done,
                () = self.live() => unreachable!(),
            }
        };
        self.clock.run(both).expect("it hangs")
    }

    /// The key that the provider wraps with.
    pub(super) fn current(&self) -> KeyId {
        let call = CallOptions::default();
        let current = self.clock.run(self.keys.current_key(&call)).unwrap();
        current.map_or_else(|error| error.key_id().unwrap().clone(), |key| key.id)
    }

    /// How many objects open, with a provider that works.
    pub(super) fn readable(&self) -> usize {
        let config = EncryptionConfiguration::parse(CONFIG).unwrap();
        let clock = Arc::new(self.clock.clone());
        let providers = config.providers_for("", "secrets");
        let provider: Arc<dyn KeyProvider> = self.keys.clone();
        let builder = Transformer::builder(providers, clock, Arc::new(OsRandom));
        let reader = builder.kms(KMS, provider).build().unwrap();
        let scan = async {
            reader.refresh().await.unwrap();
            let mut scan = Scan::new(&*self.cluster, ScanOptions::default());
            let mut count = 0;
            while let Some(page) = scan.next_page().await.unwrap() {
                for object in &page.objects {
                    let opened = reader.read(object.key.as_bytes(), &object.value).await;
                    count += usize::from(opened.unwrap().plaintext() == b"k8s\0secret");
                }
            }
            count
        };
        self.clock.run(scan).unwrap()
    }

    pub(super) fn record(&self) -> RotationRecord {
        let call = CallOptions::default();
        let found = self.clock.run(self.store().load(&call)).unwrap();
        RotationRecord::from_bytes(&found.unwrap().unwrap().bytes).unwrap()
    }

    pub(super) fn rotation(&self) -> State {
        self.record().state
    }

    /// How many objects are stored under a key.
    pub(super) fn under(&self, id: &KeyId) -> usize {
        let scan = async {
            let mut scan = Scan::new(&*self.cluster, ScanOptions::default());
            let mut count = 0;
            while let Some(page) = scan.next_page().await.unwrap() {
                for object in &page.objects {
                    let found = kms_envelope::kubernetes::inspect(&object.value).unwrap();
                    count += usize::from(found.key_id == Some(id.as_str()));
                }
            }
            count
        };
        self.clock.run(scan).unwrap()
    }
}
