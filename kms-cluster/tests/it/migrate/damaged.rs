//! What does not open is named, left alone, and in nobody's way.

use kms_envelope::reencrypt::{MigrationEnd, RemainingReason};

use super::{Cluster, config, options, secret, writes};

#[test]
fn damaged_objects_are_named_and_the_rest_goes_on() {
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old", "aesgcm:k"]);
    cluster.fill("v2:old", 10);
    let mut flipped = cluster.seal("v2:old", &secret(20), b"x");
    *flipped.last_mut().unwrap() ^= 0x40;
    let cut = cluster.seal("v2:old", &secret(21), b"x")[..30].to_vec();
    let moved = cluster.seal("aesgcm:k", &secret(0), b"x");
    let unknown = b"k8s:enc:kms:v2:away:?".to_vec();
    // Its head says that it is right already.
    let mut garbled = cluster.seal("v2:new", &secret(24), b"x");
    let at = garbled.len() - 70;
    garbled[at] ^= 1;
    let bad = [flipped, cut, moved, unknown, garbled];
    for (number, value) in (20..).zip(bad.iter()) {
        cluster.put_raw(&secret(number), value.clone(), None);
    }
    let report = cluster.migrate("current", &options());
    assert!(matches!(report.end, MigrationEnd::Incomplete), "{report:?}");
    assert_eq!((report.counts.rewritten, report.counts.left), (10, 5));
    assert_eq!(report.passes, 1, "another pass would change nothing");
    let mut named: Vec<_> = report
        .remaining
        .iter()
        .map(|it| it.etcd_key.clone())
        .collect();
    named.sort();
    let mut wanted: Vec<_> = (20..25).map(secret).collect();
    wanted.sort();
    assert_eq!(named, wanted);
    for remaining in &report.remaining {
        let RemainingReason::DoesNotOpen(why) = &remaining.reason else {
            panic!("{remaining:?}");
        };
        assert!(!why.is_empty());
    }
    let all = writes(&cluster);
    assert!((20..25).all(|number| all[&secret(number)] == 1));
}

/// One garbled value in 256 opens under AES-CBC with a wrong key. Written anew, it would be lost.
#[test]
fn garbage_is_not_taken_for_an_object() {
    let cluster = Cluster::new(config(&[("secrets", &["aescbc:k=other"])]));
    // Enough that some open under the wrong key.
    for number in 0..2000 {
        let key = format!("/registry/secrets/default/{number}");
        cluster.put("aescbc:k=other", &key, b"precious");
    }
    let cluster = cluster.reconfigured(config(&[("secrets", &["v2:new", "aescbc:k+k=other"])]));
    let report = cluster.migrate("current", &options());
    let left = report.counts.left;
    assert!(left > 0, "none opened as garbage: the test shows nothing");
    assert_eq!(report.counts.rewritten + left, 2000);
    for remaining in &report.remaining {
        let text = remaining.reason.to_string();
        assert!(text.contains("no object"), "{text}");
    }
    // All others came through.
    let stays: Vec<_> = report.remaining.iter().map(|it| &it.etcd_key).collect();
    for number in (0..2000).step_by(97) {
        let key = format!("/registry/secrets/default/{number}");
        if !stays.contains(&&key) {
            assert_eq!(cluster.open(&key).unwrap().content, b"precious");
        }
    }
}

#[test]
fn what_cannot_be_told_to_be_of_a_resource_is_not_guessed() {
    let everything: &[(&str, &[&str])] = &[
        ("events", &["identity"]),
        ("'*.*'", &["v2:new", "identity"]),
    ];
    let cluster = Cluster::new(config(everything)).with_plugins();
    cluster.put_raw(
        "/registry/frobnications/default/a",
        b"k8s\0x".to_vec(),
        None,
    );
    cluster.put_raw("/registry/events/default/a", b"k8s\0x".to_vec(), None);
    cluster.put_raw("/registry/pods/default/a", b"k8s\0x".to_vec(), None);
    cluster.put_raw("compact_rev_key", b"7".to_vec(), None);
    let mut options = options();
    options.scope = kms_envelope::reencrypt::MigrationScope::new("/registry");
    let report = cluster.migrate("current", &options);
    assert!(matches!(report.end, MigrationEnd::Incomplete));
    assert_eq!((report.counts.rewritten, report.counts.right), (1, 1));
    assert_eq!(report.remaining.len(), 1);
    assert_eq!(report.remaining[0].reason, RemainingReason::UnknownResource);
    assert_eq!(writes(&cluster)["compact_rev_key"], 1);
}

#[test]
fn a_value_that_the_store_does_not_take_stays() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    let most = kms_cluster::embedded::EmbeddedStore::MAX_VALUE_LEN;
    let huge = [b"k8s\0".to_vec(), vec![7; most - 4]].concat();
    cluster.put_raw(&secret(0), huge, None);
    cluster.put("identity", &secret(1), b"small");
    let report = cluster.migrate("current", &options());
    assert!(matches!(report.end, MigrationEnd::Incomplete));
    assert_eq!(report.counts.rewritten, 1);
    // The verification sees it where it is, in clear.
    assert_eq!(report.remaining[0].etcd_key, secret(0));
    assert_eq!(
        report.remaining[0].under.as_ref().unwrap().to_string(),
        "in clear"
    );
}
