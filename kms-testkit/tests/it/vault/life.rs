//! The life of a key: its time, its switch, its uses, its versions, its end.

use core::time::Duration;
use std::sync::Arc;

use kms_core::Clock as _;
use kms_testkit::ManualClock;
use kms_testkit::vault::{KeyStore, Vault};
use serde_json::{Value, json};

use super::client::Client;

const DAY: Duration = Duration::from_secs(86_400);

struct Lab {
    clock: ManualClock,
    vault: Vault,
    store: KeyStore,
    client: Client,
}

async fn lab(hsm: bool) -> Lab {
    let clock = ManualClock::new();
    let vault = Vault::builder()
        .clock(Arc::new(clock.clone()))
        .token_lifetime(DAY * 4000)
        .start()
        .await
        .unwrap();
    let store = if hsm {
        vault.managed_hsm()
    } else {
        vault.key_vault()
    };
    let client = Client::operator(&vault, &store).await;
    Lab {
        clock,
        vault,
        store,
        client,
    }
}

/// `Ok`, or the inner code.
async fn tried(client: &Client, op: &str, body: &Value) -> String {
    let answer = client.post(&format!("/keys/kek/{op}"), body.clone()).await;
    if answer.status.is_success() {
        "ok".to_owned()
    } else {
        answer.error().2.to_owned()
    }
}

/// R44: outside its time a key still decrypts, unwraps and verifies; switched off it does nothing.
#[tokio::test]
async fn what_a_key_does_in_each_state() {
    let lab = lab(false).await;
    lab.store.create_rsa_key("kek", 2048).unwrap();
    let value = "A".repeat(43);
    let encrypt = json!({"alg": "RSA-OAEP-256", "value": value});
    let sealed = lab.client.post("/keys/kek/encrypt", encrypt.clone()).await;
    let decrypt = json!({"alg": "RSA-OAEP-256", "value": sealed.ok()["value"]});
    let sign = json!({"alg": "PS256", "value": value});
    let signed = lab.client.post("/keys/kek/sign", sign.clone()).await;
    let verify = json!({"alg": "PS256", "digest": value, "value": signed.ok()["value"]});
    let calls = [
        ("encrypt", &encrypt),
        ("wrapkey", &encrypt),
        ("sign", &sign),
        ("decrypt", &decrypt),
        ("unwrapkey", &decrypt),
        ("verify", &verify),
    ];
    let now = lab.clock.wall_time();
    let cases = [
        (None, None, true, "ok", "ok"),
        (Some(now), Some(now + DAY), true, "ok", "ok"),
        (Some(now - DAY), Some(now), true, "KeyExpired", "ok"),
        (
            Some(now + DAY),
            Some(now + DAY * 2),
            true,
            "KeyNotYetValid",
            "ok",
        ),
        (
            Some(now - DAY),
            Some(now),
            false,
            "KeyDisabled",
            "KeyDisabled",
        ),
        (
            Some(now - DAY),
            Some(now + DAY),
            false,
            "KeyDisabled",
            "KeyDisabled",
        ),
    ];
    for (start, end, enabled, forward, back) in cases {
        lab.store.set_validity("kek", None, start, end).unwrap();
        lab.store.set_enabled("kek", None, enabled).unwrap();
        for (place, (op, body)) in calls.iter().enumerate() {
            let expected = if place < 3 { forward } else { back };
            let found = tried(&lab.client, op, body).await;
            assert_eq!(found, expected, "{op} {start:?} {end:?} {enabled}");
        }
        // Everybody may look.
        lab.client.get("/keys/kek").await.ok();
    }
}

#[tokio::test]
async fn updates_change_what_they_name_and_refuse_nonsense() {
    let lab = lab(false).await;
    let kid = lab.store.create_rsa_key("kek", 2048).unwrap();
    let path = format!("/keys/kek/{}", kid.rsplit('/').next().unwrap());
    lab.clock.advance(DAY);
    let patch = |body: Value| lab.client.call("PATCH", &path, body);
    let body =
        json!({"tags": {"a": "b"}, "key_ops": ["wrapKey"], "attributes": {"exp": 1_900_000_000}});
    let bundle = patch(body).await.ok();
    assert_eq!(bundle["tags"], json!({"a": "b"}));
    assert_eq!(bundle["key"]["key_ops"], json!(["wrapKey"]));
    assert_eq!(bundle["attributes"]["exp"], 1_900_000_000);
    assert_eq!(bundle["attributes"]["enabled"], true);
    let time = |name: &str| bundle["attributes"][name].as_u64().unwrap();
    assert_eq!(time("updated") - time("created"), DAY.as_secs());

    let many: serde_json::Map<String, Value> =
        (0..16).map(|i| (i.to_string(), json!(""))).collect();
    for body in [
        json!({"attributes": {"nbf": 2, "exp": 1}}),
        json!({"key_ops": ["melt"]}),
        json!({"tags": many}),
        json!({"tags": {"a": "b".repeat(257)}}),
        json!({"attributes": {"exportable": true}}),
        json!({"release_policy": {"data": "e30"}}),
    ] {
        assert_eq!(
            patch(body.clone()).await.error().1,
            "BadParameter",
            "{body}"
        );
    }
    assert_eq!(lab.client.get(&path).await.ok(), bundle, "nothing changed");
}

#[tokio::test]
async fn a_deleted_key_is_kept_recovered_and_purged() {
    let lab = lab(false).await;
    let kid = lab.store.create_rsa_key("kek", 2048).unwrap();
    let url = lab.store.url();
    let deleted = lab
        .client
        .call("DELETE", "/keys/kek", Value::Null)
        .await
        .ok();
    assert_eq!(deleted["recoveryId"], format!("{url}/deletedkeys/kek"));
    let date = deleted["deletedDate"].as_u64().unwrap();
    let purge = deleted["scheduledPurgeDate"].as_u64().unwrap();
    assert_eq!(purge - date, 90 * DAY.as_secs());
    assert_eq!(deleted["key"]["kid"], kid);
    assert_eq!(lab.client.get("/deletedkeys/kek").await.ok(), deleted);
    let listed = lab.client.get("/deletedkeys").await.ok();
    assert_eq!(listed["value"][0]["recoveryId"], deleted["recoveryId"]);
    assert_eq!(lab.client.get("/keys").await.ok()["value"], json!([]));

    let recovered = lab
        .client
        .post("/deletedkeys/kek/recover", Value::Null)
        .await
        .ok();
    assert_eq!(recovered["key"]["kid"], kid);
    assert_eq!(lab.client.get("/deletedkeys/kek").await.error().0, 404);

    lab.store.delete_key("kek").unwrap();
    let purged = lab
        .client
        .call("DELETE", "/deletedkeys/kek", Value::Null)
        .await;
    assert_eq!(purged.status.as_u16(), 204);
    let recover = lab.client.post("/deletedkeys/kek/recover", Value::Null);
    assert_eq!(recover.await.error().1, "KeyNotFound");

    // And by itself, when its time is over.
    lab.store.create_rsa_key("kek", 2048).unwrap();
    lab.store.delete_key("kek").unwrap();
    lab.clock.advance(DAY * 90 - Duration::from_secs(1));
    lab.client.get("/deletedkeys/kek").await.ok();
    lab.clock.advance(Duration::from_secs(1));
    assert_eq!(lab.client.get("/deletedkeys/kek").await.error().0, 404);
}

#[tokio::test]
async fn purge_protection_protects() {
    let vault = Vault::builder().soft_delete(7, true).start().await.unwrap();
    let store = vault.key_vault();
    let client = Client::operator(&vault, &store).await;
    store.create_rsa_key("kek", 2048).unwrap();
    let shown = client.get("/keys/kek").await.ok();
    assert_eq!(
        shown["attributes"]["recoveryLevel"],
        "CustomizedRecoverable"
    );
    assert_eq!(shown["attributes"]["recoverableDays"], 7);
    store.delete_key("kek").unwrap();
    let purge = client.call("DELETE", "/deletedkeys/kek", Value::Null).await;
    assert_eq!(purge.error().0, 403);
    client.get("/deletedkeys/kek").await.ok();
}

/// R7: a backup brings the key back, with the versions that data names.
#[tokio::test]
async fn a_backup_restores_every_version_under_its_id() {
    let lab = lab(false).await;
    let old = lab.store.create_rsa_key("kek", 2048).unwrap();
    let new = lab.store.create_rsa_key("kek", 3072).unwrap();
    lab.store.create_ec_key("ec").unwrap();
    let body = json!({"alg": "RSA-OAEP", "value": "AAAA"});
    let old_path = old.strip_prefix(&lab.store.url()).unwrap();
    let sealed = lab
        .client
        .post(&format!("{old_path}/wrapkey"), body)
        .await
        .ok();
    let backup = lab.client.post("/keys/kek/backup", Value::Null).await.ok();
    let over = lab.client.post("/keys/restore", backup.clone()).await;
    assert_eq!(over.error().1, "Conflict");

    lab.store.delete_key("kek").unwrap();
    let over = lab.client.post("/keys/restore", backup.clone()).await;
    assert_eq!(over.error().2, "ObjectIsDeletedButRecoverable");
    lab.store.purge_key("kek").unwrap();
    let restored = lab.client.post("/keys/restore", backup.clone()).await.ok();
    assert_eq!(restored["key"]["kid"], new);
    let body = json!({"alg": "RSA-OAEP", "value": sealed["value"]});
    let opened = lab
        .client
        .post(&format!("{old_path}/unwrapkey"), body)
        .await
        .ok();
    assert_eq!(opened["value"], "AAAA");

    let ec = lab.client.post("/keys/ec/backup", Value::Null).await.ok();
    lab.store.delete_key("ec").unwrap();
    lab.store.purge_key("ec").unwrap();
    lab.client.post("/keys/restore", ec).await.ok();
    // Not in another kind of store, not by another subscription, not damaged.
    let hsm = Client::operator(&lab.vault, &lab.vault.managed_hsm()).await;
    assert_eq!(
        hsm.post("/keys/restore", backup.clone()).await.error().0,
        400
    );
    let other = Vault::builder().start().await.unwrap();
    let foreign = Client::operator(&other, &other.key_vault()).await;
    let refused = foreign.post("/keys/restore", backup).await;
    assert_eq!(refused.error().1, "BadParameter");
    let refused = lab.client.post("/keys/restore", json!({"value": "AAAA"}));
    assert_eq!(refused.await.error().1, "BadParameter");
}

fn rotate_after(time: &str, expiry: Option<&str>) -> Value {
    json!({
        "lifetimeActions": [{"trigger": {"timeAfterCreate": time}, "action": {"type": "Rotate"}}],
        "attributes": {"expiryTime": expiry},
    })
}

async fn versions(client: &Client) -> Vec<Value> {
    let mut versions = client.get("/keys/kek/versions").await.ok()["value"]
        .as_array()
        .unwrap()
        .clone();
    versions.sort_by_key(|version| version["attributes"]["created"].as_u64());
    versions
}

/// R57, R58: a policy makes new versions by the clock; data of the old ones stays readable.
#[tokio::test]
async fn a_policy_rotates_by_the_clock() {
    let lab = lab(false).await;
    let body = json!({"kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"], "tags": {"team": "a"}});
    let first = lab.client.post("/keys/kek/create", body).await.ok();
    let unset = lab.client.get("/keys/kek/rotationpolicy").await.ok();
    assert_eq!(unset["lifetimeActions"][0]["action"]["type"], "Notify");
    let put = |body| lab.client.call("PUT", "/keys/kek/rotationpolicy", body);
    let policy = put(rotate_after("P30D", Some("P60D"))).await.ok();
    assert_eq!(
        policy["id"],
        format!("{}/keys/kek/rotationpolicy", lab.store.url())
    );
    assert_eq!(
        lab.client.get("/keys/kek/rotationpolicy").await.ok(),
        policy
    );

    lab.clock.advance(DAY * 30 - Duration::from_secs(1));
    assert_eq!(versions(&lab.client).await.len(), 1);
    lab.clock.advance(DAY * 65);
    let all = versions(&lab.client).await;
    let created: Vec<u64> = all
        .iter()
        .map(|version| version["attributes"]["created"].as_u64().unwrap())
        .collect();
    let start = created[0];
    let month = 30 * DAY.as_secs();
    assert_eq!(created, [0, 1, 2, 3].map(|n| start + n * month));
    assert_eq!(all[0]["attributes"].get("exp"), None, "not the old one");
    assert_eq!(all[3]["attributes"]["exp"], created[3] + 2 * month);
    assert_eq!(all[3]["tags"], json!({"team": "a"}));
    let newest = lab.client.get("/keys/kek").await.ok();
    assert_eq!(newest["key"]["kid"], all[3]["kid"]);
    assert_eq!(newest["key"]["key_ops"], first["key"]["key_ops"]);
    assert_ne!(newest["key"]["n"], first["key"]["n"]);

    let kid = lab.store.rotate_key("kek").unwrap();
    assert_eq!(lab.client.get("/keys/kek").await.ok()["key"]["kid"], kid);
    for body in [
        rotate_after("P6D", None),
        rotate_after("P55D", Some("P60D")),
    ] {
        assert_eq!(put(body).await.error().1, "BadParameter");
    }
}

/// A policy that is set late acts when it is set, once, and does not make up for the years before.
#[tokio::test]
async fn a_late_policy_does_not_rewrite_the_past() {
    let lab = lab(false).await;
    lab.store.create_rsa_key("kek", 2048).unwrap();
    lab.clock.advance(DAY * 100);
    let put = lab.client.call(
        "PUT",
        "/keys/kek/rotationpolicy",
        rotate_after("P30D", None),
    );
    let set = put.await.ok()["attributes"]["updated"].clone();
    let all = versions(&lab.client).await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[1]["attributes"]["created"], set);
    lab.clock.advance(DAY * 30);
    assert_eq!(versions(&lab.client).await.len(), 3);
}

#[tokio::test]
async fn an_hsm_wants_a_policy_before_it_rotates_and_keeps_a_hundred_versions() {
    let lab = lab(true).await;
    lab.store.create_aes_key("kek", 256).unwrap();
    let early = lab.client.post("/keys/kek/rotate", Value::Null).await;
    assert_eq!(early.error().1, "BadParameter");
    let put = |body| lab.client.call("PUT", "/keys/kek/rotationpolicy", body);
    assert_eq!(put(rotate_after("P27D", None)).await.error().0, 400);
    put(rotate_after("P28D", None)).await.ok();
    lab.client.post("/keys/kek/rotate", Value::Null).await.ok();
    lab.clock.advance(DAY * 28 * 120);
    let mut pages = 0;
    let mut seen = 0;
    let mut url = "/keys/kek/versions".to_owned();
    let mut query = "api-version=7.6".to_owned();
    loop {
        let page = lab.client.call_with("GET", &url, &query, Value::Null).await;
        let page = page.ok();
        pages += 1;
        seen += page["value"].as_array().unwrap().len();
        let Some(next) = page["nextLink"].as_str() else {
            break;
        };
        let (path, rest) = next
            .strip_prefix(&lab.store.url())
            .unwrap()
            .split_once('?')
            .unwrap();
        (url, query) = (path.to_owned(), rest.to_owned());
    }
    assert_eq!((pages, seen), (4, 100));
    let full = lab.client.post("/keys/kek/rotate", Value::Null).await;
    assert_eq!(full.error().1, "BadParameter");
    assert!(lab.store.create_aes_key("kek", 256).is_err());
}
