//! What becomes of an object, with the stored bytes to show it.

use std::sync::Arc;

use kms_core::object::{ObjectSource as _, RewriteOutcome, Rewriter as _};
use kms_core::{CallOptions, Clock, ErrorKind, TokioClock};
use kms_testkit::StaticProvider;
use kms_testkit::apiserver::{ApiServer, Encryption, Fault, Place, Verb};
use serde_json::{Value, json};

use super::{aes_gcm, api, encryption, listed, only, secret, transformer, with_secret};

const V2: &str = "[{kms: {apiVersion: v2, name: vault, endpoint: 'unix:///a'}}, {identity: {}}]";

fn call() -> CallOptions {
    CallOptions::default()
}

fn kms(key_id: &str) -> Arc<StaticProvider> {
    let key = if key_id.ends_with('1') { "11" } else { "22" };
    Arc::new(format!("{key_id}={}", key.repeat(32)).parse().unwrap())
}

async fn value(server: &ApiServer, place: &Place) -> Vec<u8> {
    server.stored(place).await.unwrap().unwrap().value
}

/// R23: after encryption is enabled, what was in clear is written under the key.
#[tokio::test]
async fn a_plain_secret_is_encrypted_and_then_left_alone() {
    let server = with_secret("db").await;
    assert!(value(&server, &secret("db")).await.starts_with(b"{"));
    server.set_encryption(&aes_gcm(&["key1"]));
    let api = api(&server);

    let before = only(&api).await;
    let outcome = api.rewrite(&before, &call()).await.unwrap();
    let after = only(&api).await;
    let resource_version = after.resource_version().to_owned();
    assert_eq!(outcome, RewriteOutcome::Written { resource_version });
    let stored = server.stored(&secret("db")).await.unwrap().unwrap();
    assert!(stored.value.starts_with(b"k8s:enc:aesgcm:v1:key1:"));

    let outcome = api.rewrite(&after, &call()).await.unwrap();
    assert_eq!(outcome, RewriteOutcome::Unchanged);
    let again = server.stored(&secret("db")).await.unwrap().unwrap();
    assert_eq!(again, stored);
}

/// R37: after encryption is disabled, what is under the old key comes back into the clear.
#[tokio::test]
async fn an_encrypted_secret_is_written_in_clear() {
    let server = with_secret("db").await;
    let aes =
        "{aesgcm: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}}";
    server.set_encryption(&encryption(&format!("[{aes}, {{identity: {{}}}}]"), &[]));
    let api = api(&server);
    api.rewrite(&only(&api).await, &call()).await.unwrap();
    server.set_encryption(&encryption(&format!("[{{identity: {{}}}}, {aes}]"), &[]));
    let outcome = api.rewrite(&only(&api).await, &call()).await.unwrap();
    assert!(matches!(outcome, RewriteOutcome::Written { .. }));
    assert!(value(&server, &secret("db")).await.starts_with(b"{"));
}

/// R23: after a rotation of a KMS v2 key, and only once the server has seen it.
#[tokio::test]
async fn kms_v2_data_is_stale_once_the_server_knows_the_new_key() {
    let provider = kms("kek-1");
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let transformer = transformer(V2, &[("vault", &provider)], clock);
    transformer.refresh().await.unwrap();
    let server = with_secret("db").await;
    server.set_encryption(&Encryption::none().with("secrets", Arc::clone(&transformer)));
    let api = api(&server);
    api.rewrite(&only(&api).await, &call()).await.unwrap();

    provider.rotate().unwrap();
    let outcome = api.rewrite(&only(&api).await, &call()).await.unwrap();
    assert_eq!(outcome, RewriteOutcome::Unchanged, "it has not seen it yet");
    transformer.refresh().await.unwrap();
    let outcome = api.rewrite(&only(&api).await, &call()).await.unwrap();
    assert!(matches!(outcome, RewriteOutcome::Written { .. }));
}

/// R10, R40: a new key under the same name of a KMS v1 provider makes nothing stale; another name
/// does, and so does the move to v2.
#[tokio::test]
async fn kms_v1_data_is_stale_under_another_name_alone() {
    let v1 =
        |name: &str| format!("{{kms: {{name: {name}, endpoint: 'unix:///a', cachesize: 10}}}}");
    let (first, second) = (kms("kek-1"), kms("kek-2"));
    let server = with_secret("db").await;
    let old = encryption(
        &format!("[{}, {{identity: {{}}}}]", v1("old")),
        &[("old", &first)],
    );
    server.set_encryption(&old);
    let api = api(&server);
    api.rewrite(&only(&api).await, &call()).await.unwrap();
    assert!(
        value(&server, &secret("db"))
            .await
            .starts_with(b"k8s:enc:kms:v1:old:")
    );

    // The KMS has a new key, and opens what is under the old one.
    first.rotate().unwrap();
    let outcome = api.rewrite(&only(&api).await, &call()).await.unwrap();
    assert_eq!(outcome, RewriteOutcome::Unchanged);

    let renamed = format!("[{}, {}, {{identity: {{}}}}]", v1("new"), v1("old"));
    server.set_encryption(&encryption(&renamed, &[("new", &second), ("old", &first)]));
    let outcome = api.rewrite(&only(&api).await, &call()).await.unwrap();
    assert!(matches!(outcome, RewriteOutcome::Written { .. }));
    assert!(
        value(&server, &secret("db"))
            .await
            .starts_with(b"k8s:enc:kms:v1:new:")
    );
}

/// Two servers that disagree about the key hold each other's data for stale.
#[tokio::test]
async fn replicas_that_have_not_converged_show() {
    let server = ApiServer::builder().replicas(2).start().await.unwrap();
    server
        .create(&secret("db"), json!({"data": {}}))
        .await
        .unwrap();
    server.set_encryption_of(0, aes_gcm(&["key1", "key2"]));
    server.set_encryption_of(1, aes_gcm(&["key2", "key1"]));
    let api = api(&server);
    let mut written = 0;
    for _ in 0..6 {
        let object = only(&api).await;
        // Lists and rewrites go to the replicas in turn, so one call is put in between.
        if matches!(
            api.rewrite(&object, &call()).await.unwrap(),
            RewriteOutcome::Written { .. }
        ) {
            written += 1;
        }
        api.cluster_id(&call()).await.unwrap();
    }
    assert!(written >= 3, "{written}");
}

#[tokio::test]
async fn who_is_overtaken_is_told_and_undoes_nothing() {
    let server = with_secret("db").await;
    server.set_encryption(&aes_gcm(&["key1"]));
    let api = api(&server);
    let object = only(&api).await;
    server.disturb(Verb::Patch, Fault::Overtaken, 1);
    let outcome = api.rewrite(&object, &call()).await.unwrap();
    assert_eq!(outcome, RewriteOutcome::Conflict);
    let stored = server.edit(0, &secret("db"), json!({})).await.unwrap();
    assert!(stored.pointer("/metadata/annotations/overtaken").is_some());
}

/// An apply patch, as Kubernetes' own migrator sends it, writes what is fresh and makes what is
/// gone; ours does neither.
#[tokio::test]
async fn a_fresh_object_without_managed_fields_is_not_touched() {
    let server = with_secret("db").await;
    let api = api(&server);
    let object = only(&api).await;
    let outcome = api.rewrite(&object, &call()).await.unwrap();
    assert_eq!(outcome, RewriteOutcome::Unchanged);
    let stored: Value = serde_json::from_slice(&value(&server, &secret("db")).await).unwrap();
    assert_eq!(stored.pointer("/metadata/managedFields"), None);
    assert_eq!(stored["data"]["password"], "aHVudGVyMg==");
    server.delete(&secret("db")).await.unwrap();
    let outcome = api.rewrite(&object, &call()).await.unwrap();
    assert_eq!(outcome, RewriteOutcome::Gone);
    assert_eq!(server.calls(Verb::Create), 0);
    assert_eq!(server.stored(&secret("db")).await.unwrap(), None);
}

#[tokio::test]
async fn what_admission_refuses_stays_as_it_is() {
    let server = with_secret("db").await;
    server.set_encryption(&aes_gcm(&["key1"]));
    let api = api(&server);
    let before = server.stored(&secret("db")).await.unwrap();
    for code in [400, 403, 413, 422] {
        server.refuse(&secret("db"), code, "exceeded quota: \u{1b}[31mcompute");
        let outcome = api.rewrite(&only(&api).await, &call()).await.unwrap();
        let RewriteOutcome::Refused { reason } = outcome else {
            panic!("{code}: {outcome:?}");
        };
        assert!(reason.contains("exceeded quota"), "{code}: {reason}");
        assert!(!reason.chars().any(char::is_control));
    }
    assert_eq!(server.stored(&secret("db")).await.unwrap(), before);
    server.admit_all();
    let outcome = api.rewrite(&only(&api).await, &call()).await.unwrap();
    assert!(matches!(outcome, RewriteOutcome::Written { .. }));
}

/// One object that no key opens fails its own rewrite, and the list of all.
#[tokio::test]
async fn what_does_not_open_fails() {
    let server = with_secret("db").await;
    server.set_encryption(&aes_gcm(&["key1"]));
    let api = api(&server);
    let object = only(&api).await;
    let key = server.etcd_key(&secret("db")).unwrap();
    let lost = b"k8s:enc:aesgcm:v1:lost:0123456789012345678901234567890".to_vec();
    let revision = server.store().put(&key, lost, None).unwrap();
    let error = api.rewrite(&object, &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = api
        .list(&kms_core::object::ListOptions::new(super::secrets()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.message().contains("/registry/secrets/default/db"),
        "{error}"
    );
    assert!(error.remedy().contains("kms census"), "{}", error.remedy());
    let identity = server.store().identity(&call()).await.unwrap();
    assert_eq!(identity.revision, revision);
}

#[tokio::test]
async fn resources_of_every_kind_are_rewritten() {
    let server = ApiServer::builder().start().await.unwrap();
    let api = api(&server);
    let places = [
        Place::of("gadgets.example.org", "default", "one"),
        Place::of("deployments.apps", "default", "one"),
        Place::without_namespace("namespaces", "default"),
        Place::of("secrets", "default", "a:b|c\"d"),
    ];
    for place in &places {
        server.create(place, json!({})).await.unwrap();
        let served = api.find_resource(&place.resource, &call()).await.unwrap();
        let options = kms_core::object::ListOptions::new(served.resource);
        let page = api.list(&options).await.unwrap();
        let [object] = page.objects.as_slice() else {
            panic!("{place}: {page:?}");
        };
        assert_eq!(object.name(), place.name);
        let outcome = api.rewrite(object, &call()).await.unwrap();
        assert_eq!(outcome, RewriteOutcome::Unchanged, "{place}");
    }
    assert_eq!(listed(&api).await.len(), 1);
}
