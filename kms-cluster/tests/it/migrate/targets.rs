//! From whatever to whatever else.

use kms_core::object::{FetchOptions, ObjectKey, ObjectSource as _};
use kms_envelope::kubernetes::ProviderKind;
use kms_envelope::reencrypt::MigrationEnd;

use super::cluster::content;
use super::{Cluster, assert_complete, config, options, secret, writes};

/// All transitions that the manuals know: R23 (first enable), R24 and R25 (another key), R37
/// (disable), R40 (v1 to v2), and from the local ciphers to a KMS.
#[test]
fn r23_r24_r37_r40_every_target_is_reached_and_nothing_is_written_twice() {
    use ProviderKind::{AesCbc, AesGcm, Identity, KmsV1, KmsV2, Secretbox};
    let cases: [(&str, &[&str], &str, ProviderKind, Option<&str>); 12] = [
        (
            "identity",
            &["v2:new", "identity"],
            "current",
            KmsV2,
            Some("new-1"),
        ),
        (
            "aescbc:k",
            &["v2:new", "aescbc:k"],
            "current",
            KmsV2,
            Some("new-1"),
        ),
        (
            "aesgcm:k",
            &["v2:new", "aesgcm:k"],
            "current",
            KmsV2,
            Some("new-1"),
        ),
        (
            "secretbox:k",
            &["v2:new", "secretbox:k"],
            "current",
            KmsV2,
            Some("new-1"),
        ),
        (
            "v1:old",
            &["v2:new", "v1:old"],
            "current",
            KmsV2,
            Some("new-1"),
        ),
        (
            "v2:old",
            &["v2:new", "v2:old"],
            "current",
            KmsV2,
            Some("new-1"),
        ),
        ("v2:old", &["identity", "v2:old"], "current", Identity, None),
        ("v2:old", &["v2:old", "identity"], "plain", Identity, None),
        ("v2:old", &["v2:old", "aescbc:k"], "aescbc:k", AesCbc, None),
        ("aesgcm:b", &["aesgcm:a+b"], "current", AesGcm, None),
        ("v2:old", &["v2:old", "v1:new"], "kms:new", KmsV1, None),
        (
            "identity",
            &["secretbox:k", "identity"],
            "secretbox",
            Secretbox,
            None,
        ),
    ];
    for (under, providers, to, kind, key_id) in cases {
        let name = format!("{under} to {to} of {providers:?}");
        let old = config(&[("secrets", &[under])]);
        let cluster = Cluster::new(old).with_plugins();
        let cluster = cluster.reconfigured(config(&[("secrets", providers)]));
        cluster.fill(under, 40);
        let report = cluster.migrate(to, &options());
        assert_complete(&report);
        assert_eq!(report.counts.rewritten, 40, "{name}");
        assert_eq!(report.counts.conflicts, 0, "{name}");
        for number in 0..40 {
            let found = cluster.open(&secret(number)).unwrap();
            assert_eq!(found.content, content(number).as_bytes(), "{name}");
            assert_eq!(found.provider, kind, "{name}");
            assert_eq!(
                found.key_id.as_ref().map(|id| id.as_str()),
                key_id,
                "{name}"
            );
        }
        let verified = report.verification.unwrap();
        assert_eq!((verified.objects, verified.right), (40, 40), "{name}");
        assert_eq!(verified.census.len(), 1, "{name}");
        // And once more: what is right is not touched.
        let before = cluster.store.revision();
        let again = cluster.migrate(to, &options());
        assert_complete(&again);
        assert_eq!(
            (again.counts.right, again.counts.rewritten),
            (40, 0),
            "{name}"
        );
        assert_eq!(cluster.store.revision(), before, "{name}");
    }
}

/// R24: another key behind the same KMS.
#[test]
fn r24_a_rotation_moves_what_is_under_the_old_key_and_nothing_else() {
    let cluster = Cluster::of_secrets(&["v2:kms", "identity"]);
    cluster.fill("v2:kms", 20);
    let id = cluster.rotate("kms");
    for number in 20..30 {
        cluster.put("v2:kms", &secret(number), content(number).as_bytes());
    }
    let report = cluster.migrate("current", &options());
    assert_complete(&report);
    assert_eq!((report.counts.rewritten, report.counts.right), (20, 10));
    for number in 0..30 {
        assert_eq!(
            cluster.open(&secret(number)).unwrap().key_id.as_ref(),
            Some(&id)
        );
    }
    let key_ids = report.verification.unwrap().key_ids;
    assert_eq!(key_ids.len(), 1, "the census is zero for the old key");
    assert_eq!(key_ids[0].key_id.as_deref(), Some(id.as_str()));
    // The old key is not needed any more.
    let keys = cluster.plugin("kms").inner();
    keys.disable(&kms_core::KeyId::new("kms-1").unwrap())
        .unwrap();
    assert!(cluster.open(&secret(0)).is_some());
}

/// A key that wraps no more can still be migrated from, although kube-apiserver would not even
/// start with it.
#[test]
fn an_old_kms_needs_to_unwrap_and_no_more() {
    use kms_core::{ErrorKind, KeyState};
    use kms_testkit::Operation;
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old"]);
    cluster.fill("v2:old", 5);
    let old = cluster.plugin("old");
    let id = kms_core::KeyId::new("old-1").unwrap();
    old.inner().set_state(&id, KeyState::Expired).unwrap();
    old.set_error_rate(Operation::CurrentKey, 1000, ErrorKind::KeyExpired);
    assert_complete(&cluster.migrate("current", &options()));
}

/// Old forms of a format count as stale, as for kube-apiserver: another source type, the second
/// key of a provider even under the same name.
#[test]
fn old_forms_are_brought_up_to_date() {
    let cluster = Cluster::of_secrets(&["aescbc:k+k=other"]);
    cluster.fill("aescbc:k=other", 10);
    cluster.put("aescbc:k", &secret(10), b"right");
    let report = cluster.migrate("current", &options());
    // By its prefix nothing tells the two keys apart.
    assert_eq!(
        report.counts.right + report.counts.rewritten + report.counts.left,
        11
    );
    assert!(report.counts.rewritten >= 7, "{report:?}");
}

/// KMS v1 values do not tell their KEK, so a rotation within one name leaves nothing stale.
#[test]
fn r40_kms_v1_that_was_rekeyed_under_its_name_is_rewritten_when_asked() {
    let cluster = Cluster::of_secrets(&["v1:kms", "identity"]);
    cluster.fill("v1:kms", 12);
    cluster.rotate("kms");
    let unasked = cluster.migrate("current", &options());
    assert_complete(&unasked);
    assert_eq!(unasked.counts.rewritten, 0);
    let keys = cluster.plugin("kms").inner();
    let first = kms_core::KeyId::new("kms-1").unwrap();
    let report = cluster.migrate("current", &options().with_renew(true));
    assert_complete(&report);
    assert_eq!(report.counts.rewritten, 12);
    assert!(writes(&cluster).values().all(|count| *count == 2));
    keys.disable(&first).unwrap();
    for number in 0..12 {
        assert_eq!(
            cluster.open(&secret(number)).unwrap().content,
            content(number).as_bytes()
        );
    }
}

#[test]
fn a_lease_stays() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    let key = secret(1);
    let value = cluster.seal("identity", &key, b"event");
    cluster.put_raw(&key, value, Some(77));
    assert_complete(&cluster.migrate("current", &options()));
    let key = ObjectKey::new(key).unwrap();
    let found = cluster.run(cluster.store.fetch(&key, &FetchOptions::default()));
    let found = found.unwrap().unwrap();
    assert_eq!(found.lease.unwrap().get(), 77);
    assert!(found.value.starts_with(b"k8s:enc:kms:v2:new:"));
}

#[test]
fn a_dry_run_writes_nothing() {
    let cluster = Cluster::of_secrets(&["v2:new", "identity"]);
    cluster.fill("identity", 9);
    cluster.put("v2:new", &secret(9), b"right");
    let before = cluster.store.revision();
    let kept = super::Kept::default();
    let options = options().with_dry_run(true);
    let report = cluster
        .migrate_in(&*cluster.store, "current", &options, Some(&kept))
        .unwrap();
    assert_complete(&report);
    assert_eq!((report.counts.would_rewrite, report.counts.right), (9, 1));
    assert!(report.verification.is_none());
    assert_eq!(cluster.store.revision(), before);
    assert!(kept.0.lock().unwrap().is_none());
}

#[test]
fn what_api_servers_could_not_read_is_refused() {
    let cluster = Cluster::of_secrets(&["v2:new", "v2:old"]);
    for to in ["plain", "kms:other", "aescbc"] {
        let clock = std::sync::Arc::new(cluster.clock.clone());
        let made = kms_envelope::reencrypt::ReencryptorOptions::new(
            clock,
            std::sync::Arc::new(kms_core::OsRandom),
        )
        .with_target(to.parse().unwrap());
        let refused = kms_envelope::reencrypt::ConfiguredReencryptors::new(
            &cluster.config,
            &options().scope,
            &made,
        );
        let error = refused.unwrap_err();
        assert_eq!(
            error.kind(),
            kms_envelope::ErrorKind::Config,
            "{to}: {error}"
        );
        assert!(error.message().contains("secrets"), "{to}: {error}");
    }
}

#[test]
fn an_object_that_would_not_be_readable_in_clear_stays() {
    let cluster = Cluster::of_secrets(&["v2:old", "identity"]);
    cluster.fill("v2:old", 3);
    // An object that begins like an encrypted value.
    let odd = secret(7);
    let config = config(&[("secrets", &["v2:old"])]);
    let clock = std::sync::Arc::new(cluster.clock.clone());
    let transformer = kms_envelope::kubernetes::Transformer::builder(
        &config.resources[0].providers,
        clock,
        std::sync::Arc::new(kms_core::OsRandom),
    )
    .kms("old", cluster.shared_plugin("old"))
    .build()
    .unwrap();
    let value = cluster.run(async {
        transformer.refresh().await.unwrap();
        transformer
            .write(odd.as_bytes(), b"k8s:enc:odd")
            .await
            .unwrap()
    });
    cluster.put_raw(&odd, value, None);
    let report = cluster.migrate("plain", &options());
    assert!(matches!(report.end, MigrationEnd::Incomplete));
    assert_eq!(report.counts.rewritten, 3);
    assert_eq!(report.remaining.len(), 1);
    assert_eq!(report.remaining[0].etcd_key, odd);
}
