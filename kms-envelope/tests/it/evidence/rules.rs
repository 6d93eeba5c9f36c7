//! What is in the way, rule by rule.

use std::time::Duration;

use kms_core::object::{Revision, StoreIdentity};
use kms_envelope::reencrypt::{
    Evidence, EvidenceBuilder, KnownKey, Objection, ReplicaState, ScannedSource, UnknownKey,
    UnscannedKind,
};

use super::{Stored, Under, backup, census, cluster, codes, key, now, waived};

const OLD: &str = "kek-1";

/// R25, R26, R37: the old key is needed until the last object is under another.
#[test]
fn a_live_object_is_in_the_way_by_its_resource() {
    let stored = [
        Stored::live(Under::v2(OLD)),
        Stored {
            resource: "configmaps",
            ..Stored::live(Under::v2(OLD))
        },
        Stored::live(Under::v2("kek-2")),
        Stored::live(Under::AesGcm),
        Stored::live(Under::Plain),
    ];
    let evidence = waived().scanned(cluster(&stored)).finish().unwrap();
    let found = evidence.objections(&key(OLD));
    let resources: Vec<_> = found
        .iter()
        .map(|objection| match objection {
            Objection::LiveObjects {
                resource, objects, ..
            } => (resource.as_str(), *objects),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(resources, [("configmaps", 1), ("secrets", 1)]);
    assert_eq!(codes(&evidence, "kek-2"), ["live_objects"]);
    assert!(codes(&evidence, "kek-3").is_empty());
}

#[test]
fn history_is_in_the_way_and_says_where_to_compact_to() {
    let stored = [
        Stored::superseded(Under::v2(OLD)),
        Stored::live(Under::Plain),
    ];
    let evidence = waived().scanned(cluster(&stored)).finish().unwrap();
    assert_eq!(
        evidence.objections(&key(OLD)),
        [Objection::History {
            source: "https://etcd:2379".to_owned(),
            records: 1,
            compact_to: 100,
        }]
    );
}

#[test]
fn live_objects_and_history_cannot_be_waived() {
    let stored = [
        Stored::live(Under::v2(OLD)),
        Stored::superseded(Under::v2(OLD)),
    ];
    let evidence = waived().scanned(cluster(&stored)).finish().unwrap();
    let objections = evidence.objections(&key(OLD));
    assert!(objections.iter().all(|it| it.waivable_as().is_none()));
    let mut builder = waived().scanned(cluster(&stored));
    for name in [
        "https://etcd:2379",
        "history",
        "secrets",
        "live_objects",
        OLD,
    ] {
        builder = builder.waive(name, "please");
    }
    assert_eq!(builder.finish().unwrap().objections(&key(OLD)), objections);
}

/// What cannot be known is in the way of every key, until it is waived by its own name.
#[test]
fn what_cannot_be_known_is_in_the_way_of_every_key() {
    for (under, reason, name) in [
        (Under::KmsV1("old"), UnknownKey::KmsV1, "kms-v1:old"),
        (Under::KmsV1("ol:d"), UnknownKey::KmsV1, "kms-v1:ol:d"),
        (
            Under::Damaged,
            UnknownKey::Damaged,
            "damaged:k8s:enc:kms:v2:away",
        ),
        (
            Under::UnknownProvider,
            UnknownKey::UnknownProvider,
            "unknown-provider:k8s:enc",
        ),
    ] {
        for stored in [
            Stored::live(under.clone()),
            Stored::superseded(under.clone()),
        ] {
            let stored = [stored];
            let evidence = waived().scanned(cluster(&stored)).finish().unwrap();
            for asked in [OLD, "never-used", "local/x/1-y"] {
                let objections = evidence.objections(&key(asked));
                let [
                    Objection::UnknownKey {
                        reason: found,
                        waive_as,
                        ..
                    },
                ] = &objections[..]
                else {
                    panic!("{objections:?}");
                };
                assert_eq!((*found, waive_as.as_str()), (reason, name));
            }
            let waived_too = waived()
                .waive(name, "looked at by hand")
                .scanned(cluster(&stored));
            assert!(codes(&waived_too.finish().unwrap(), OLD).is_empty());
            let other = waived()
                .waive("kms-v1:other", "x")
                .scanned(cluster(&stored));
            assert_eq!(codes(&other.finish().unwrap(), OLD), ["unknown_key"]);
        }
    }
}

/// R40: stored v1 values, once it is said which key they are under, need that one alone.
#[test]
fn kms_v1_values_count_for_the_key_that_is_said_of_their_provider() {
    let stored = [
        Stored::live(Under::KmsV1("ol:d")),
        Stored::superseded(Under::KmsV1("ol:d")),
    ];
    let said = waived().kms_v1_key("ol:d", &key(OLD));
    let evidence = said.scanned(cluster(&stored)).finish().unwrap();
    assert_eq!(codes(&evidence, OLD), ["live_objects", "history"]);
    assert!(codes(&evidence, "kek-2").is_empty());
    // Said of another provider, it says nothing.
    let said = waived().kms_v1_key("ol", &key("kek-2"));
    let evidence = said.scanned(cluster(&stored)).finish().unwrap();
    assert_eq!(codes(&evidence, "kek-2"), ["unknown_key"]);
    // Whoever says two keys gets both.
    let said = waived()
        .kms_v1_key("ol:d", &key(OLD))
        .kms_v1_key("ol:d", &key("kek-2"));
    let evidence = said.scanned(cluster(&stored)).finish().unwrap();
    assert_eq!(codes(&evidence, OLD), codes(&evidence, "kek-2"));
}

#[test]
fn a_backup_needs_the_key_until_it_is_given_up_by_name() {
    let stored = [
        Stored::live(Under::v2(OLD)),
        Stored::superseded(Under::v2(OLD)),
        Stored::live(Under::KmsV1("old")),
    ];
    let taken = |builder: EvidenceBuilder| {
        builder
            .scanned(cluster(&[]))
            .scanned(backup("monday.db", &stored))
            .finish()
            .unwrap()
    };
    let evidence = taken(waived());
    assert_eq!(codes(&evidence, OLD), ["backup", "unknown_key"]);
    assert_eq!(codes(&evidence, "kek-2"), ["unknown_key"]);
    let evidence = taken(waived().waive("tuesday.db", "destroyed"));
    assert_eq!(codes(&evidence, OLD), ["backup", "unknown_key"]);
    assert!(codes(&taken(waived().waive("monday.db", "destroyed")), OLD).is_empty());
}

/// R7, R15: also when nothing is under a key any more, what was not looked at may be.
#[test]
fn absence_is_not_claimed_for_what_was_not_scanned() {
    let names = |evidence: &Evidence| -> Vec<String> {
        let objections = evidence.objections(&key(OLD));
        let name = |it: &Objection| match it {
            Objection::NotScanned { name, .. } => name.clone(),
            other => panic!("{other:?}"),
        };
        objections.iter().map(name).collect()
    };
    let nothing_said = Evidence::builder(now()).scanned(cluster(&[]));
    assert_eq!(
        names(&nothing_said.clone().finish().unwrap()),
        [
            Evidence::BACKUPS,
            Evidence::OTHER_CLUSTERS,
            Evidence::REPLICAS
        ]
    );
    // Naming one of a kind takes the place of all of it.
    let named = nothing_said
        .clone()
        .not_scanned("tapes", UnscannedKind::Backup)
        .not_scanned("staging", UnscannedKind::Cluster)
        .replica(ReplicaState::new("node-1", &key("kek-2"), now()));
    assert_eq!(
        names(&named.clone().finish().unwrap()),
        ["staging", "tapes"]
    );
    let waived = named.waive("tapes", "burnt").waive("staging", "gone");
    assert!(codes(&waived.finish().unwrap(), OLD).is_empty());
    let scanned = nothing_said.scanned(backup("monday.db", &[]));
    assert_eq!(
        names(&scanned.finish().unwrap()),
        [Evidence::OTHER_CLUSTERS, Evidence::REPLICAS]
    );
}

#[test]
fn a_replica_that_writes_with_the_key_is_in_the_way() {
    let at = |writes_with: &str| {
        waived()
            .scanned(cluster(&[]))
            .replica(ReplicaState::new("node-1", &key("kek-2"), now()))
            .replica(ReplicaState::new("node-2", &key(writes_with), now()))
            .finish()
            .unwrap()
    };
    assert!(codes(&at("kek-2"), OLD).is_empty());
    assert_eq!(codes(&at(OLD), OLD), ["replica_writes"]);
    // As the API server's metrics show it.
    let hash = "sha256:4d1c63ab9021d9e9aa5f2bd3b97ec76daa62bb0ec65ae36de0fe5b3a4c8a8a88";
    assert!(codes(&at(hash), OLD).is_empty());
}

/// A copy says nothing about what the cluster holds by now.
#[test]
fn copies_alone_are_never_enough() {
    let at = Revision::new(100);
    let identity = StoreIdentity::new("snapshot", "now.db", at, false).with_cluster_id("1");
    let copy = ScannedSource::cluster(&identity, &census(&[], true), at, now());
    let evidence = waived().scanned(copy.clone()).finish().unwrap();
    assert_eq!(codes(&evidence, OLD), ["no_live_source"]);
    assert_eq!(evidence.cluster_id(), None);
    let evidence = waived().waive("now.db", "x").scanned(copy);
    assert_eq!(codes(&evidence.finish().unwrap(), OLD), ["no_live_source"]);
    assert_eq!(codes(&waived().finish().unwrap(), OLD), ["no_live_source"]);
    let evidence = waived().scanned(backup("a.db", &[])).finish().unwrap();
    assert_eq!(codes(&evidence, OLD), ["no_live_source"]);
}

#[test]
fn a_scan_that_is_not_of_everything_is_in_the_way() {
    let part = cluster(&[]).with_key_prefix(b"/registry/secrets/");
    let evidence = waived().scanned(part).finish().unwrap();
    assert_eq!(codes(&evidence, OLD), ["partly_scanned"]);

    let at = Revision::new(100);
    let identity = StoreIdentity::new("etcd", "e", at, true).with_cluster_id("1");
    let report = census(&[Stored::superseded(Under::v2(OLD))], false);
    let source = ScannedSource::cluster(&identity, &report, at, now());
    let evidence = waived().scanned(source.clone()).finish().unwrap();
    assert_eq!(codes(&evidence, OLD), ["not_scanned"]);
    let evidence = waived()
        .waive("history", "compacted by hand")
        .scanned(source);
    assert!(codes(&evidence.finish().unwrap(), OLD).is_empty());
}

#[test]
fn evidence_is_of_one_cluster() {
    let at = Revision::new(7);
    let of =
        |identity: StoreIdentity| ScannedSource::cluster(&identity, &census(&[], true), at, now());
    let nameless = of(StoreIdentity::new("etcd", "e", at, true));
    let evidence = waived().scanned(nameless).finish().unwrap();
    assert_eq!(codes(&evidence, OLD), ["no_cluster_id"]);
    let other = of(StoreIdentity::new("etcd", "e", at, true).with_cluster_id("bb"));
    let evidence = waived().scanned(cluster(&[])).scanned(other);
    assert_eq!(
        codes(&evidence.finish().unwrap(), OLD),
        ["several_clusters"]
    );
}

#[test]
fn evidence_grows_old_with_its_oldest_part() {
    let hour = Duration::from_secs(3600);
    let old = cluster(&[]);
    let at = |late: Duration| {
        let report = census(&[], true);
        let identity = StoreIdentity::new("etcd", "e", Revision::new(1), true);
        let live = ScannedSource::cluster(&identity, &report, Revision::new(1), now() + late);
        Evidence::builder(now() + late).scanned(live)
    };
    let evidence = at(Duration::ZERO).finish().unwrap();
    assert_eq!(evidence.staleness(now(), hour), None);
    assert_eq!(evidence.staleness(now() + hour, hour), None);
    let late = now() + hour + Duration::from_secs(1);
    assert_eq!(
        evidence.staleness(late, hour),
        Some(Objection::TooOld {
            age_seconds: 3601,
            max_age_seconds: 3600
        })
    );
    assert_eq!(
        evidence.staleness(now() - Duration::from_secs(60), hour),
        None
    );
    assert_eq!(
        evidence.staleness(now() - Duration::from_secs(61), hour),
        Some(Objection::NotYet)
    );
    // A live source or a replica of before makes all of it old; a copy does not change any more.
    let with_old_source = at(hour).scanned(old).finish().unwrap();
    assert!(with_old_source.staleness(late, hour).is_some());
    let replica = ReplicaState::new("node-1", &key("kek-2"), now());
    let with_old_replica = at(hour).replica(replica).finish().unwrap();
    assert!(with_old_replica.staleness(late, hour).is_some());
    let with_old_backup = at(hour).scanned(backup("a.db", &[])).finish().unwrap();
    assert_eq!(with_old_backup.staleness(late, hour), None);
}

#[test]
fn a_key_in_a_vault_is_known_by_its_url_and_by_its_hash() {
    let url = "https://example.vault.azure.net/keys/mykey/ABCD";
    // What Azure/kubernetes-kms stores for it.
    let hash = "567d783db3043fe298fe0d9eeedb0029a3815cdd4fe4b059d018c91e6acffe3b";
    let stored = [
        Stored::live(Under::v2(url)),
        Stored {
            resource: "configmaps",
            ..Stored::live(Under::v2(hash))
        },
    ];
    let evidence = waived().scanned(cluster(&stored)).finish().unwrap();
    for asked in [url, hash, &format!("sha256:{hash}")] {
        let expected = ["live_objects", "live_objects"];
        assert_eq!(codes(&evidence, asked), expected, "{asked}");
    }
    let next = "https://example.vault.azure.net/keys/mykey/ABCE";
    assert!(codes(&evidence, next).is_empty());
}

/// What a person reads names things of others, and upsets no terminal.
#[test]
fn every_objection_says_what_to_do() {
    let stored = [
        Stored::live(Under::v2(OLD)),
        Stored::superseded(Under::v2(OLD)),
        Stored::live(Under::Damaged),
    ];
    let evidence = Evidence::builder(now())
        .scanned(cluster(&stored).with_key_prefix(b"/\x1b[31m"))
        .scanned(backup("\u{1b}[2J", &stored))
        .not_scanned("\r\n", UnscannedKind::Other)
        .replica(ReplicaState::new("\u{7}", &key(OLD), now()))
        .finish()
        .unwrap();
    let objections = evidence.objections(&key(OLD));
    assert!(objections.len() > 6, "{objections:?}");
    for objection in objections {
        let text = objection.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(!objection.remedy().is_empty());
        let json = serde_json::to_value(&objection).unwrap();
        assert_eq!(json["code"], objection.code());
    }
}

/// R25: of a key that nobody has heard of nothing can be said; who knows it is enough, and who wraps
/// with it is too much.
#[test]
fn a_key_must_be_known_to_somebody() {
    let before = |builder: EvidenceBuilder| builder.finish().unwrap();
    let seen = |evidence: &Evidence, name: &str| evidence.never_seen(&key(name)).is_none();
    let hash = "sha256:2ad8dad5b7b1a2ab8a0ddbd0ba0fe9ed7e3a5d3a6bd5d2b34f0a9b5b0c5e0001";
    let stored = [
        Stored::live(Under::v2(OLD)),
        Stored::superseded(Under::v2("kek-0")),
    ];
    let evidence = before(
        Evidence::builder(now())
            .scanned(cluster(&stored))
            .scanned(backup("monday", &[Stored::live(Under::v2("in-backup"))]))
            .replica(ReplicaState::new("cp", &key("of-replica"), now()))
            .known_key(KnownKey::new("keyring", &key("listed")))
            .known_key(KnownKey::new("keyring", &key("current")).with_current(true)),
    );
    for known in [OLD, "kek-0", "in-backup", "of-replica", "listed", "current"] {
        assert!(seen(&evidence, known), "{known}");
    }
    for other in ["kek-", "KEK-1", "2", hash] {
        assert!(!seen(&evidence, other), "{other}");
    }
    let Some(Objection::NeverSeen { known, waive_as }) = evidence.never_seen(&key("curren")) else {
        panic!("{evidence:?}");
    };
    assert_eq!(known[0], "current", "{known:?}");
    assert_eq!(waive_as, "never-seen:curren");
    let current = codes(&evidence, "current");
    assert!(current.contains(&"current_key"), "{current:?}");
    assert!(!codes(&evidence, "listed").contains(&"current_key"));

    // Somebody answers for one of them, and it stays written down.
    let answered = before(Evidence::builder(now()).waive(waive_as, "an old test key"));
    assert!(seen(&answered, "curren") && !seen(&answered, "current"));
    assert_eq!(
        Evidence::from_json(&evidence.to_json().unwrap()).unwrap(),
        evidence
    );
}
