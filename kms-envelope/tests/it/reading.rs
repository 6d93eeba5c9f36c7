//! Order, names, staleness and refusals that the vectors do not show.

use std::sync::Arc;

use kms_core::{KeyId, OsRandom};
use kms_envelope::ErrorKind;
use kms_envelope::kubernetes::{ConfiguredNames, ProviderKind, Transformer, inspect};
use serde_json::json;

use crate::support::{ManualClock, configuration};
use crate::{Cluster, ETCD_KEY, count, identity, kms, local, now, plugin};

#[test]
fn r10_kms_v1_unwraps_for_each_object_and_v2_for_each_seed() {
    const OBJECTS: usize = 2_100;
    for (version, expected) in [("v1", OBJECTS), ("v2", 1)] {
        let writer = Cluster::new(json!([kms(version, "lab")]));
        let values: Vec<_> = (0..OBJECTS).map(|_| writer.write(b"secret")).collect();
        let restarted = Cluster::with(
            json!([kms(version, "lab")]),
            Arc::clone(&writer.plugin),
            |builder| builder,
        );
        now(restarted.transformer.refresh()).unwrap();
        for value in &values {
            now(restarted.transformer.read(ETCD_KEY, value)).unwrap();
        }
        assert_eq!(count(&writer.plugin.unwraps), expected, "{version}");
    }
}

#[test]
fn r40_what_v1_and_identity_wrote_becomes_v2_by_rewriting() {
    let plugin = plugin();
    let v1 = Cluster::with(json!([kms("v1", "old")]), Arc::clone(&plugin), |builder| {
        builder
    });
    let plain = Cluster::new(json!([identity()]));
    let old = [v1.write(b"{}"), plain.write(b"{}")];

    let providers = json!([kms("v2", "new"), kms("v1", "old"), identity()]);
    let cluster = Cluster::with(providers, plugin, |builder| builder);
    now(cluster.transformer.refresh()).unwrap();
    for value in &old {
        let opened = now(cluster.transformer.read(ETCD_KEY, value)).unwrap();
        assert!(opened.is_stale());
        let new = cluster.write(opened.plaintext());
        assert_eq!(inspect(&new).unwrap().provider, ProviderKind::KmsV2);
        let opened = now(cluster.transformer.read(ETCD_KEY, &new)).unwrap();
        assert_eq!(opened.plaintext(), b"{}");
        assert!(!opened.is_stale());
        assert_eq!(opened.name(), Some("new"));
        assert_eq!(opened.key_id().map(KeyId::as_str), Some("key-1"));
    }
}

#[test]
fn names_with_colons_are_matched_whole() {
    let key = [9; 32];
    let providers = json!([local("aesgcm", &[("a:b", &key), ("a", &key)])]);
    let cluster = Cluster::new(providers.clone());
    let value = cluster.write(b"x");
    let names = configuration(&providers);
    let names = ConfiguredNames::new(&names.resources[0].providers);
    assert_eq!(names.inspect(&value).unwrap().name, Some("a:b"));
    let opened = now(cluster.transformer.read(ETCD_KEY, &value)).unwrap();
    assert_eq!(opened.name(), Some("a:b"));
    assert!(!opened.is_stale());

    let providers = json!([kms("v1", "one:two")]);
    let cluster = Cluster::new(providers.clone());
    let value = cluster.write(b"x");
    now(cluster.transformer.read(ETCD_KEY, &value)).unwrap();
    let configuration = configuration(&providers);
    let names = ConfiguredNames::new(&configuration.resources[0].providers);
    let inspection = names.inspect(&value).unwrap();
    assert_eq!(inspection.name, Some("one:two"));
    assert_eq!(inspection.encrypted_data_len, 29);
}

#[test]
fn a_renamed_provider_orphans_its_data() {
    let writer = Cluster::new(json!([kms("v2", "before")]));
    let value = writer.write(b"x");
    let cluster = Cluster::new(json!([kms("v2", "after"), identity()]));
    let error = now(cluster.transformer.read(ETCD_KEY, &value)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoMatchingProvider);
}

#[test]
fn identity_writes_nothing_that_it_could_not_read() {
    let cluster = Cluster::new(json!([identity()]));
    let error = now(cluster.transformer.write(ETCD_KEY, b"k8s:enc:x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_key_id_with_a_control_character_is_refused() {
    let mut value = b"k8s:enc:kms:v2:lab:".to_vec();
    value.extend_from_slice(b"\x0a\x3d");
    value.extend_from_slice(&[7; 61]);
    value.extend_from_slice(b"\x12\x03a\x1bb\x1a\x01s\x28\x01");
    let cluster = Cluster::new(json!([kms("v2", "lab")]));
    let error = now(cluster.transformer.read(ETCD_KEY, &value)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.message().contains("keyID"), "{error}");
    let damaged = inspect(&value).unwrap_err();
    assert_eq!((damaged.field(), damaged.name()), ("keyID", Some("lab")));
}

#[test]
fn an_empty_list_and_a_missing_provider_are_refused() {
    let build = |providers| {
        let configuration = configuration(&providers);
        let built = Transformer::builder(
            &configuration.resources[0].providers,
            Arc::new(ManualClock::default()),
            Arc::new(OsRandom),
        )
        .build();
        built.map(drop).map_err(|error| error.kind())
    };
    assert_eq!(build(json!([kms("v2", "lab")])), Err(ErrorKind::Config));
    assert_eq!(build(json!([identity()])), Ok(()));
    let none = Transformer::builder([], Arc::new(ManualClock::default()), Arc::new(OsRandom));
    assert_eq!(none.build().unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn kms_v1_writes_only_through_a_provider_that_can_read_it_back() {
    let mut plugin = plugin();
    Arc::get_mut(&mut plugin).unwrap().without_key_id = false;
    let build = |providers| {
        let configuration = configuration(&providers);
        Transformer::builder(
            &configuration.resources[0].providers,
            Arc::new(ManualClock::default()),
            Arc::new(OsRandom),
        )
        .kms("lab", Arc::clone(&plugin) as _)
        .build()
    };
    let error = build(json!([kms("v1", "lab")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(build(json!([identity(), kms("v1", "lab")])).is_ok());
}

#[test]
fn kms_v1_does_not_drop_annotations() {
    let mut plugin = plugin();
    let annotations = &mut Arc::get_mut(&mut plugin).unwrap().annotations;
    annotations.insert("a.b".to_owned(), vec![]);
    let cluster = Cluster::with(json!([kms("v1", "lab")]), plugin, |builder| builder);
    let error = now(cluster.transformer.write(ETCD_KEY, b"x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn nothing_secret_is_printed() {
    let secret = *b"0123456789abcdef0123456789abcdef";
    let cluster = Cluster::new(json!([
        kms("v2", "lab"),
        local("aesgcm", &[("k", &secret)])
    ]));
    let value = cluster.write(b"hunter2");
    let opened = now(cluster.transformer.read(ETCD_KEY, &value)).unwrap();
    let printed = format!("{opened:?} {:?}", cluster.transformer);
    assert!(!printed.contains("hunter2") && !printed.contains("0123456789abcdef"));
    assert!(!printed.contains("48, 49, 50") && !printed.contains("104, 117, 110"));
}
