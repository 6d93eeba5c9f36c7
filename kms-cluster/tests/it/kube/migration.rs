//! A whole migration over HTTPS, with the stored bytes to show it.

use core::time::Duration;
use std::collections::BTreeMap;

use kms_cluster::api::KubeApi;
use kms_core::object::{ObjectSource as _, ScanOptions};
use kms_core::{CallOptions, TokioClock};
use kms_envelope::reencrypt::{
    ApiMigration, ApiMigrationEnd, ApiMigrationOptions, ApiMigrationReport, ApiScope, LeftReason,
};
use kms_testkit::apiserver::{ApiServer, Denial, Fault, Place, Verb};
use serde_json::json;

use super::{aes_gcm, api, secret, secrets};

async fn with_secrets(count: usize) -> ApiServer {
    let server = ApiServer::builder().start().await.unwrap();
    for namespace in ["a", "b"] {
        let place = Place::without_namespace("namespaces", namespace);
        server.create(&place, json!({})).await.unwrap();
    }
    server.set_encryption(&aes_gcm(&["key1"]));
    for number in 0..count {
        let namespace = if number % 2 == 0 { "a" } else { "b" };
        let place = Place::of("secrets", namespace, format!("s{number:03}"));
        let data = json!({"data": {"password": "aHVudGVyMg=="}});
        server.create(&place, data).await.unwrap();
    }
    server
}

fn options() -> ApiMigrationOptions {
    ApiMigrationOptions::new("test", [ApiScope::new(secrets(), true)]).with_page_limit(20)
}

async fn migrate(api: &KubeApi, options: &ApiMigrationOptions) -> ApiMigrationReport {
    ApiMigration::new(api, &TokioClock::new(), options)
        .run(core::future::pending(), |_| ())
        .await
        .unwrap()
}

/// How many Secrets are stored under each prefix.
async fn stored(server: &ApiServer) -> BTreeMap<String, usize> {
    let options = ScanOptions::default().with_prefix("/registry/secrets/");
    let page = server.store().scan(&options).await.unwrap();
    let mut prefixes = BTreeMap::new();
    for object in page.objects {
        let text = String::from_utf8_lossy(&object.value);
        let prefix = match text.strip_prefix("k8s:enc:") {
            Some(rest) => rest.split(':').take(3).collect::<Vec<_>>().join(":"),
            None => "plain".to_owned(),
        };
        *prefixes.entry(prefix).or_default() += 1;
    }
    prefixes
}

/// R23, with everything at once that a busy server does.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_come_to_the_new_key_through_a_storm() {
    let server = with_secrets(100).await;
    assert_eq!(
        stored(&server).await,
        BTreeMap::from([("aesgcm:v1:key1".to_owned(), 100)])
    );
    server.set_encryption(&aes_gcm(&["key2", "key1"]));
    let throttled = Fault::Throttled {
        retry_after: Some(Duration::from_secs(1)),
    };
    server.disturb(Verb::Patch, throttled, 12);
    server.disturb(Verb::Patch, Fault::LostAnswer, 3);
    server.disturb(Verb::Patch, Fault::Overtaken, 5);
    server.disturb(Verb::Patch, Fault::Drop, 3);
    server.disturb(Verb::Patch, Fault::ProxyStatus(502), 3);
    server.disturb(Verb::List, Fault::Status(500), 2);
    let report = migrate(&api(&server), &options()).await;
    assert!(
        matches!(report.end, ApiMigrationEnd::Complete),
        "{report:#?}"
    );
    assert!(
        report.is_settled && report.counts.throttled == 12,
        "{report:#?}"
    );
    assert_eq!(
        stored(&server).await,
        BTreeMap::from([("aesgcm:v1:key2".to_owned(), 100)])
    );
    // Nothing of them is lost, and what others wrote meanwhile is there.
    let mut overtaken = 0;
    for number in 0..100 {
        let namespace = if number % 2 == 0 { "a" } else { "b" };
        let place = Place::of("secrets", namespace, format!("s{number:03}"));
        let object = server.edit(0, &place, json!({})).await.unwrap();
        assert_eq!(object["data"]["password"], "aHVudGVyMg==");
        let annotations = object["metadata"]["annotations"].as_object();
        let names = annotations.into_iter().flatten().map(|(name, _)| name);
        overtaken += names.filter(|name| name.starts_with("overtaken.")).count();
    }
    assert_eq!(overtaken, 5);
}

#[tokio::test]
async fn a_list_that_expires_in_the_middle_is_begun_again() {
    let server = with_secrets(60).await;
    server.set_encryption(&aes_gcm(&["key2", "key1"]));
    let api = api(&server);
    let options = options();
    let clock = TokioClock::new();
    let migration = ApiMigration::new(&api, &clock, &options);
    let mut expired = 0;
    let report = migration
        .run(core::future::pending(), |progress| {
            if progress.done >= 30 && expired == 0 {
                expired += 1;
                server.expire_lists().unwrap();
            }
        })
        .await
        .unwrap();
    assert!(
        matches!(report.end, ApiMigrationEnd::Complete),
        "{report:#?}"
    );
    assert_eq!((report.counts.written, report.counts.objects), (60, 60));
    assert_eq!(
        stored(&server).await,
        BTreeMap::from([("aesgcm:v1:key2".to_owned(), 60)])
    );
}

/// What stands in the way is named, and everything else comes to the new key.
#[tokio::test]
async fn what_cannot_be_rewritten_is_named() {
    let server = with_secrets(20).await;
    let lost = Place::of("secrets", "a", "lost");
    server.create(&lost, json!({})).await.unwrap();
    let key = server.etcd_key(&lost).unwrap();
    let nobodys = b"k8s:enc:aesgcm:v1:nobody:0123456789012345678901234567890".to_vec();
    server.store().put(&key, nobodys, None).unwrap();
    server.set_encryption(&aes_gcm(&["key2", "key1"]));
    server.refuse(&Place::of("secrets", "b", "s001"), 422, "spec is invalid");
    let report = migrate(&api(&server), &options().with_passes(2)).await;
    assert!(
        matches!(report.end, ApiMigrationEnd::Incomplete),
        "{report:#?}"
    );
    // One undecryptable object takes the list of its namespace with it.
    let [unread] = report.unread.as_slice() else {
        panic!("{report:#?}");
    };
    assert_eq!(unread.namespace.as_deref(), Some("a"));
    assert!(
        unread.message.contains("/registry/secrets/a/lost"),
        "{unread}"
    );
    let [left] = report.left.as_slice() else {
        panic!("{report:#?}");
    };
    assert_eq!(left.path, "b/s001");
    assert!(matches!(&left.reason, LeftReason::Refused(why) if why.contains("spec is invalid")));
    let found = stored(&server).await;
    assert_eq!((found["aesgcm:v1:key2"], found["aesgcm:v1:key1"]), (9, 11));
}

/// A service account that may rewrite in one namespace alone.
#[tokio::test]
async fn rights_in_some_namespaces_are_enough_for_these() {
    let server = with_secrets(20).await;
    server.set_encryption(&aes_gcm(&["key2", "key1"]));
    server.deny(Denial::new(Verb::Patch, "secrets").in_namespace("b"));
    let api = api(&server);
    let report = migrate(&api, &options()).await;
    let [unread] = report.unread.as_slice() else {
        panic!("{report:#?}");
    };
    assert_eq!(unread.namespace.as_deref(), Some("b"));
    assert!(
        unread.remedy.contains("--verb=list,patch"),
        "{}",
        unread.remedy
    );
    assert_eq!(report.counts.written, 10);

    let scope = ApiScope::new(secrets(), true).with_namespaces(["a"]);
    let report = migrate(&api, &ApiMigrationOptions::new("test", [scope])).await;
    assert!(
        matches!(report.end, ApiMigrationEnd::Complete),
        "{report:#?}"
    );
}

/// Two API servers, of which one has not seen the new key.
#[tokio::test]
async fn servers_that_have_not_converged_are_noticed() {
    let server = ApiServer::builder().replicas(2).start().await.unwrap();
    for number in 0..9 {
        server
            .create(&secret(&format!("s{number}")), json!({}))
            .await
            .unwrap();
    }
    server.set_encryption_of(0, aes_gcm(&["key2", "key1"]));
    server.set_encryption_of(1, aes_gcm(&["key1", "key2"]));
    let report = migrate(&api(&server), &options().with_concurrency(1)).await;
    assert!(
        matches!(report.end, ApiMigrationEnd::Incomplete),
        "{report:#?}"
    );
    assert!(!report.is_settled, "{report:#?}");
}

#[tokio::test]
async fn cluster_ids_tell_clusters_apart() {
    let server = with_secrets(0).await;
    let place = Place::without_namespace("namespaces", "kube-system");
    server.create(&place, json!({})).await.unwrap();
    let id = api(&server)
        .cluster_id(&CallOptions::default())
        .await
        .unwrap();
    assert!(id.is_some());
}
