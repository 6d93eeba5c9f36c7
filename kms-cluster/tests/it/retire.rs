//! Evidence of a store, and the last look before a key goes.

use core::fmt;
use std::time::Duration;

use async_trait::async_trait;
use kms_cluster::embedded::EmbeddedStore;
use kms_core::object::{
    FetchOptions, ObjectKey, ObjectSource, Revision, ScanOptions, ScanPage, StoreIdentity,
    StoredObject,
};
use kms_core::{CallOptions, Clock as _, Error, ErrorKind, KeyId};
use kms_envelope::reencrypt::{
    CensusOptions, Evidence, EvidenceBuilder, KnownKey, Objection, PermitOptions, ReplicaState,
    RetireVerdict, ScannedSource, permit_retirement, take_census,
};
use kms_testkit::ManualClock;

const OLD: &str = "kek-1";
const NEW: &str = "kek-2";

fn key(id: &str) -> KeyId {
    KeyId::new(id).unwrap()
}

/// What an API server stores under KMS v2.
fn under(key_id: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[number << 3 | 2, length], bytes].concat()
    };
    [
        b"k8s:enc:kms:v2:away:".to_vec(),
        field(1, &[7; 76]),
        field(2, key_id.as_bytes()),
        field(3, b"wrapped"),
        vec![5 << 3, 1],
    ]
    .concat()
}

const DAMAGED: &[u8] = b"k8s:enc:kms:v2:away:\x0a\x7fcut off";

struct World {
    store: EmbeddedStore,
    clock: ManualClock,
}

impl World {
    fn new() -> Self {
        Self {
            store: EmbeddedStore::new("store").with_cluster_id("aa"),
            clock: ManualClock::new(),
        }
    }

    fn put(&self, name: &str, value: &[u8]) -> Revision {
        let key = ObjectKey::new(format!("/registry/secrets/default/{name}")).unwrap();
        self.store.put(&key, value.to_vec(), None).unwrap()
    }

    fn compact(&self) {
        self.store.compact(self.store.revision()).unwrap();
    }

    async fn evidence(&self, finish: impl FnOnce(EvidenceBuilder) -> EvidenceBuilder) -> Evidence {
        let now = self.clock.wall_time();
        let identity = self.store.identity(&CallOptions::default()).await.unwrap();
        let (scan, options) = (ScanOptions::default(), CensusOptions::default());
        let taken = take_census(&self.store, &scan, &options, true, |_| {}).await;
        let (report, revision) = taken.unwrap();
        let builder = Evidence::builder(now)
            .scanned(ScannedSource::cluster(&identity, &report, revision, now))
            .known_key(KnownKey::new("keyring", &key(OLD)))
            .waive(Evidence::BACKUPS, "there are none")
            .waive(Evidence::REPLICAS, "there are none")
            .waive(Evidence::OTHER_CLUSTERS, "there are none");
        finish(builder).finish().unwrap()
    }

    async fn verdict_with(&self, evidence: &Evidence, options: &PermitOptions) -> RetireVerdict {
        permit_retirement(
            evidence,
            &key(OLD),
            &self.store,
            options,
            &self.clock,
            |_| {},
        )
        .await
        .unwrap()
    }

    async fn refusal(&self, evidence: &Evidence) -> Vec<&'static str> {
        match self.verdict_with(evidence, &PermitOptions::default()).await {
            RetireVerdict::Refused(objections) => objections.iter().map(Objection::code).collect(),
            verdict => panic!("{verdict:?}"),
        }
    }
}

/// A cluster that has moved from the old key to the new one and has forgotten how it was.
fn moved() -> World {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.put(name, &under(OLD));
    }
    for name in ["a", "b", "c"] {
        world.put(name, &under(NEW));
    }
    world.compact();
    world
}

/// R23, R25, R37: rewritten, then compacted, then looked at twice.
#[tokio::test]
async fn a_key_may_go_when_nothing_needs_it_any_more() {
    let world = World::new();
    world.put("a", &under(OLD));
    let codes = |evidence: Evidence| -> Vec<_> {
        let objections = evidence.objections(&key(OLD));
        objections.iter().map(Objection::code).collect()
    };
    assert_eq!(codes(world.evidence(|it| it).await), ["live_objects"]);
    world.put("a", b"k8s\0plain");
    assert_eq!(codes(world.evidence(|it| it).await), ["history"]);
    world.compact();
    let evidence = world.evidence(|it| it).await;
    assert!(codes(evidence.clone()).is_empty());
    assert_eq!(
        evidence.sources()[0].compacted(),
        Some(world.store.revision())
    );

    world.clock.advance(Duration::from_secs(60));
    let last = world.put("other", b"k8s\0other");
    let verdict = world
        .verdict_with(&evidence, &PermitOptions::default())
        .await;
    let RetireVerdict::Permitted(permit) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(permit.key_id().as_str(), OLD);
    assert_eq!(permit.plan(), evidence.digest());
    assert_eq!(permit.evidence().revision(), last);
    assert_eq!(permit.evidence().cluster_id(), Some("aa"));
    assert_eq!(permit.evidence().waivers(), evidence.waivers());
    let later = permit.permitted_at().duration_since(evidence.taken_at());
    assert_eq!(later.unwrap(), Duration::from_secs(60));
}

#[tokio::test]
async fn an_object_that_was_written_under_the_key_since_is_found() {
    let world = moved();
    let evidence = world.evidence(|it| it).await;
    world.put("late", &under(OLD));
    assert_eq!(world.refusal(&evidence).await, ["live_objects"]);
    // Also when it is gone again.
    world.put("late", &under(NEW));
    assert_eq!(world.refusal(&evidence).await, ["history"]);
}

#[tokio::test]
async fn evidence_that_objects_is_refused_though_the_store_is_clean_by_now() {
    let world = World::new();
    world.put("a", &under(OLD));
    let evidence = world.evidence(|it| it).await;
    world.put("a", &under(NEW));
    world.compact();
    assert_eq!(world.refusal(&evidence).await, ["live_objects"]);
}

#[tokio::test]
async fn old_evidence_is_refused() {
    let world = moved();
    let evidence = world.evidence(|it| it).await;
    world.clock.advance(Duration::from_secs(3601));
    assert_eq!(world.refusal(&evidence).await, ["too_old"]);
    let patient = PermitOptions::default().with_max_age(Duration::from_secs(7200));
    let verdict = world.verdict_with(&evidence, &patient).await;
    assert!(
        matches!(verdict, RetireVerdict::Permitted(_)),
        "{verdict:?}"
    );
    let past = evidence.taken_at() - Duration::from_secs(100);
    world.clock.set_wall_time(past);
    assert_eq!(world.refusal(&evidence).await, ["not_yet"]);
}

#[tokio::test]
async fn evidence_of_another_cluster_is_refused() {
    let world = moved();
    let evidence = world.evidence(|it| it).await;
    let other = World {
        store: EmbeddedStore::new("store").with_cluster_id("bb"),
        clock: world.clock.clone(),
    };
    assert_eq!(other.refusal(&evidence).await, ["other_cluster"]);
    let nameless = World {
        store: EmbeddedStore::new("store"),
        clock: world.clock.clone(),
    };
    assert_eq!(nameless.refusal(&evidence).await, ["other_cluster"]);
    // One that was restored under the same id is behind.
    let restored = World {
        store: EmbeddedStore::new("store").with_cluster_id("aa"),
        clock: world.clock.clone(),
    };
    restored.put("a", &under(NEW));
    assert_eq!(restored.refusal(&evidence).await, ["went_back"]);
}

/// A waiver is for what was seen when it was given.
#[tokio::test]
async fn more_of_what_was_waived_is_refused() {
    let world = moved();
    world.put("odd", DAMAGED);
    let waive = |builder: EvidenceBuilder| builder.waive("damaged:k8s:enc:kms:v2:away", "a test");
    let evidence = world.evidence(waive).await;
    assert!(evidence.objections(&key(OLD)).is_empty());
    let verdict = world
        .verdict_with(&evidence, &PermitOptions::default())
        .await;
    assert!(
        matches!(verdict, RetireVerdict::Permitted(_)),
        "{verdict:?}"
    );
    world.put("odder", DAMAGED);
    assert_eq!(world.refusal(&evidence).await, ["more_unknown"]);
}

#[tokio::test]
async fn a_replica_that_went_back_to_the_key_is_found() {
    let world = moved();
    let now = world.clock.wall_time();
    let says = |key_id: &str| ReplicaState::new("node-1", &key(key_id), now);
    let evidence = world.evidence(|it| it.replica(says(NEW))).await;
    let with = |replica| PermitOptions::default().with_replica(replica);
    let verdict = world.verdict_with(&evidence, &with(says(NEW))).await;
    assert!(
        matches!(verdict, RetireVerdict::Permitted(_)),
        "{verdict:?}"
    );
    let verdict = world.verdict_with(&evidence, &with(says(OLD))).await;
    let RetireVerdict::Refused(objections) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(objections[0].code(), "replica_writes");
}

/// A store that cannot read its history.
#[derive(Debug)]
struct Forgetful(EmbeddedStore);

impl fmt::Display for Forgetful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[async_trait]
impl ObjectSource for Forgetful {
    async fn identity(&self, options: &CallOptions) -> Result<StoreIdentity, Error> {
        self.0.identity(options).await
    }

    async fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Error> {
        self.0.scan(options).await
    }

    async fn fetch(
        &self,
        key: &ObjectKey,
        options: &FetchOptions,
    ) -> Result<Option<StoredObject>, Error> {
        self.0.fetch(key, options).await
    }
}

/// What the store fails with is an error, and no leave.
#[tokio::test]
async fn a_store_that_fails_gives_no_leave() {
    let world = moved();
    let evidence = world.evidence(|it| it).await;
    let (store, options) = (Forgetful(world.store), PermitOptions::default());
    let asked = key(OLD);
    let look = permit_retirement(&evidence, &asked, &store, &options, &world.clock, |_| {});
    let error = look.await.unwrap_err();
    let cause = error.provider_error().unwrap();
    assert_eq!(cause.kind(), ErrorKind::Unsupported);
}
