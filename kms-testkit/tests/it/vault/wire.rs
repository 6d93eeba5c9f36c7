//! What is on the wire: headers, pages, other verbs, limits, and trouble.

use core::time::Duration;
use std::sync::Arc;

use kms_core::Clock as _;
use kms_testkit::ManualClock;
use kms_testkit::vault::{Fault, KeyStore, Operation, Vault};
use serde_json::{Value, json};

use super::client::{Answer, Client};

async fn lab(scale: Option<f64>) -> (ManualClock, Vault, KeyStore, Client) {
    let clock = ManualClock::new();
    let vault = Vault::builder()
        .clock(Arc::new(clock.clone()))
        .throttle_scale(scale)
        .start()
        .await
        .unwrap();
    let store = vault.key_vault();
    let client = Client::operator(&vault, &store).await;
    (clock, vault, store, client)
}

#[tokio::test]
async fn every_answer_has_the_headers_of_the_service() {
    let (_, _vault, _, client) = lab(None).await;
    let response = client
        .http
        .get(format!("{}/keys?api-version=7.6", client.url))
        .bearer_auth(&client.token)
        .header("x-ms-client-request-id", "mine")
        .send()
        .await
        .unwrap();
    let answer = Answer::read(response).await;
    assert_eq!(answer.header("x-ms-client-request-id"), Some("mine"));
    assert_eq!(answer.header("date"), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
    for name in [
        "x-ms-request-id",
        "x-ms-keyvault-region",
        "x-ms-keyvault-service-version",
        "x-ms-keyvault-network-info",
    ] {
        assert!(answer.header(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn post_stands_for_another_verb_if_a_header_says_so() {
    let (_, _vault, store, client) = lab(None).await;
    store.create_rsa_key("kek", 2048).unwrap();
    let response = client
        .http
        .post(format!("{}/keys/kek?api-version=7.6", client.url))
        .bearer_auth(&client.token)
        .header("x-http-method", "PATCH")
        .body(json!({"attributes": {"enabled": false}}).to_string())
        .send()
        .await
        .unwrap();
    let bundle = Answer::read(response).await.ok();
    assert_eq!(bundle["attributes"]["enabled"], false);
}

/// The key id in an answer is under the URL that was called, as is the next page.
#[tokio::test]
async fn lists_come_in_pages() {
    let (_, _vault, store, client) = lab(None).await;
    for i in 0..5 {
        store.create_ec_key(&format!("key-{i}")).unwrap();
    }
    let mut query = "api-version=7.6&maxresults=2".to_owned();
    let mut sizes = Vec::new();
    let mut names = Vec::new();
    loop {
        let page = client
            .call_with("GET", "/keys", &query, Value::Null)
            .await
            .ok();
        let items = page["value"].as_array().unwrap();
        sizes.push(items.len());
        names.extend(
            items
                .iter()
                .map(|item| item["kid"].as_str().unwrap().to_owned()),
        );
        assert!(items.iter().all(|item| item.get("key").is_none()));
        let Some(next) = page["nextLink"].as_str() else {
            break;
        };
        query = next
            .strip_prefix(&format!("{}/keys?", store.url()))
            .unwrap()
            .to_owned();
    }
    assert_eq!(sizes, [2, 2, 1]);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5);
    assert_eq!(names[0], format!("{}/keys/key-0", store.url()));
    for size in ["0", "26", "x"] {
        let query = format!("api-version=7.6&maxresults={size}");
        let refused = client.call_with("GET", "/keys", &query, Value::Null).await;
        assert_eq!(refused.error().1, "BadParameter");
    }
}

#[tokio::test]
async fn what_came_later_is_not_there_earlier() {
    let (_, _vault, store, client) = lab(None).await;
    store.create_rsa_key("kek", 2048).unwrap();
    for (method, path) in [
        ("POST", "/keys/kek/rotate"),
        ("GET", "/keys/kek/rotationpolicy"),
        ("PUT", "/keys/kek/rotationpolicy"),
        ("POST", "/keys/kek/release"),
    ] {
        let refused = client
            .call_with(method, path, "api-version=7.2", json!({}))
            .await;
        assert_eq!(refused.error().1, "BadParameter", "{path}");
    }
    let refused = client
        .call_with(
            "GET",
            "/keys/kek//attestation",
            "api-version=7.5",
            Value::Null,
        )
        .await;
    assert_eq!(refused.error().1, "BadParameter");
    let old = client
        .call_with("GET", "/keys/kek", "api-version=2016-10-01", Value::Null)
        .await
        .ok();
    assert!(old["attributes"].get("exportable").is_none());
}

/// Release is in its place and gives nothing away.
#[tokio::test]
async fn nothing_is_released() {
    let (_, _vault, store, client) = lab(None).await;
    store.create_rsa_key("plain", 2048).unwrap();
    let release = |name| client.post(name, json!({"target": "a.b.c"}));
    let refused = release("/keys/plain/release").await;
    assert_eq!(refused.error().2, "KeyOperationForbidden");
    let create = |policy: Value, exportable| {
        let body = json!({
            "kty": "RSA-HSM", "attributes": {"exportable": exportable}, "release_policy": policy,
        });
        client.post("/keys/skr/create", body)
    };
    let policy = json!({"data": "e30", "contentType": "application/json; charset=utf-8"});
    let without = create(Value::Null, true).await;
    assert!(without.error().3.starts_with("AKV.SKR.1004"));
    let needless = create(policy.clone(), false).await;
    assert!(needless.error().3.starts_with("AKV.SKR.1005"));
    let created = create(policy, true).await.ok();
    assert_eq!(created["release_policy"]["data"], "e30");
    assert_eq!(created["attributes"]["exportable"], true);
    let refused = release("/keys/skr/release").await;
    assert_eq!(refused.error().0, 403);
}

/// Limits count by weight and by vault, per ten seconds of the double's clock.
#[tokio::test]
async fn a_vault_throttles_and_an_hsm_does_not() {
    // 40 of 4,000: ten calls with a key of 3072 bits.
    let (clock, vault, store, client) = lab(Some(0.01)).await;
    store.create_rsa_key("kek", 3072).unwrap();
    let body = json!({"alg": "RSA-OAEP", "value": "AAAA"});
    let wrap = || client.post("/keys/kek/wrapkey", body.clone());
    for _ in 0..10 {
        wrap().await.ok();
    }
    let refused = wrap().await;
    assert_eq!(refused.error().1, "Throttled");
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(
        client.get("/keys/kek").await.error().0,
        429,
        "reading counts"
    );
    clock.advance(Duration::from_secs(10));
    wrap().await.ok();
    // Making a key weighs more than all there is.
    let create = client.post("/keys/new/create", json!({"kty": "RSA-HSM"}));
    assert_eq!(create.await.error().0, 429);

    let hsm = vault.managed_hsm();
    hsm.create_aes_key("kek", 256).unwrap();
    let client = Client::operator(&vault, &hsm).await;
    for _ in 0..50 {
        client.get("/keys/kek").await.ok();
    }
}

#[tokio::test]
async fn trouble_on_order() {
    let (clock, vault, store, client) = lab(None).await;
    let kid = store.create_rsa_key("kek", 2048).unwrap();
    let body = json!({"alg": "RSA-OAEP", "value": "AAAA"});
    let send = || client.send("POST", "/keys/kek/wrapkey", "api-version=7.6", body.clone());
    let wrap = || client.post("/keys/kek/wrapkey", body.clone());

    store.disturb(Operation::WrapKey, Fault::Drop, 1);
    client.get("/keys/kek").await.ok();
    assert!(send().await.is_err());

    store.disturb(Operation::WrapKey, Fault::Truncated, 1);
    let cut = send().await.unwrap();
    assert_eq!(cut.status().as_u16(), 200);
    assert!(cut.bytes().await.is_err());

    store.disturb(Operation::WrapKey, Fault::WrongKid, 1);
    let lie = wrap().await.ok();
    assert_ne!(lie["kid"], kid);
    assert!(lie["kid"].as_str().unwrap().starts_with(&store.url()));
    store.disturb(Operation::Get, Fault::WrongKid, 1);
    let lie = client.get("/keys/kek").await.ok();
    assert_ne!(lie["key"]["kid"], kid);

    store.disturb(None, Fault::ProxyStatus(502), 1);
    let proxy = send().await.unwrap();
    assert_eq!(proxy.status().as_u16(), 502);
    assert!(proxy.text().await.unwrap().starts_with("<html>"));

    // What a proxy answers never came to the vault.
    store.disturb(Operation::Create, Fault::ProxyStatus(502), 1);
    let create = json!({"kty": "EC"});
    client.post("/keys/new/create", create).await;
    assert_eq!(client.get("/keys/new").await.error().0, 404);

    let after = Some(Duration::from_secs(7));
    store.disturb(None, Fault::Throttled { retry_after: after }, 1);
    assert_eq!(wrap().await.header("retry-after"), Some("7"));

    let slow = Duration::from_secs(3);
    store.disturb(Operation::WrapKey, Fault::Slow(slow), 1);
    let start = clock.now();
    let (answer, ()) = tokio::join!(wrap(), async {
        while clock.next_deadline().is_none() {
            tokio::task::yield_now().await;
        }
        clock.advance(slow);
    });
    answer.ok();
    assert_eq!(clock.now().since(start), slow);

    store.disturb(Operation::WrapKey, Fault::Hang, None);
    let hung = tokio::time::timeout(Duration::from_millis(200), send()).await;
    assert!(hung.is_err());
    vault.clear_faults();
    wrap().await.ok();
}

/// What ends, ends: the port is free, and nobody is answered any more.
#[tokio::test]
async fn it_stops_when_it_is_dropped() {
    let (_, vault, store, client) = lab(None).await;
    store.disturb(None, Fault::Hang, None);
    let address = vault.address();
    let hanging = tokio::spawn(async move { client.send("GET", "/keys", "", Value::Null).await });
    while store.calls(Operation::List) == 0 {
        tokio::task::yield_now().await;
    }
    drop(vault);
    assert!(hanging.await.unwrap().is_err());
    while tokio::net::TcpListener::bind(address).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// Several vaults share the token service and the subscription, and nothing else.
#[tokio::test]
async fn a_second_vault_is_another_vault() {
    let vault = Vault::builder()
        .vault("second")
        .domain("azure.example")
        .start()
        .await
        .unwrap();
    let (first, second) = (vault.key_vault(), vault.vault_named("second").unwrap());
    assert_eq!(second.host_name(), "second.vault.azure.example");
    first.create_rsa_key("kek", 2048).unwrap();
    let client = Client::operator(&vault, &second).await;
    assert_eq!(client.get("/keys/kek").await.error().0, 404);
    let other = Client {
        url: first.url(),
        ..client.clone()
    };
    let backup = other.post("/keys/kek/backup", Value::Null).await.ok();
    let restored = client.post("/keys/restore", backup).await.ok();
    let kid = restored["key"]["kid"].as_str().unwrap();
    assert!(kid.starts_with(&second.url()));
    assert!(vault.vault_named("third").is_none());
    for builder in [
        Vault::builder().vault("x"),
        Vault::builder().vault("with.dot"),
        Vault::builder().domain("a..b"),
        Vault::builder().soft_delete(6, false),
        Vault::builder().soft_delete(91, false),
    ] {
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), kms_core::ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn an_hsm_gives_random_bytes() {
    let vault = Vault::builder().start().await.unwrap();
    let hsm = Client::operator(&vault, &vault.managed_hsm()).await;
    let first = hsm.post("/rng", json!({"count": 128})).await.ok();
    let second = hsm.post("/rng", json!({"count": 128})).await.ok();
    assert_eq!(first["value"].as_str().unwrap().len(), 171);
    assert_ne!(first, second);
    for count in [json!(0), json!(129), Value::Null] {
        let refused = hsm.post("/rng", json!({ "count": count })).await;
        assert_eq!(refused.error().1, "BadParameter");
    }
    let store = Client::operator(&vault, &vault.key_vault()).await;
    assert_eq!(store.post("/rng", json!({"count": 8})).await.error().0, 404);
}
