//! Encrypting and wrapping, with every algorithm.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kms_testkit::vault::{Operation, Vault};
use serde_json::{Value, json};

use super::client::Client;

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn what_is_wrapped_is_unwrapped_by_its_version_and_by_no_version() {
    let vault = Vault::builder().start().await.unwrap();
    let store = vault.key_vault();
    let client = Client::operator(&vault, &store).await;
    let created = client
        .post("/keys/kek/create", json!({"kty": "RSA"}))
        .await
        .ok();
    let kid = created["key"]["kid"].as_str().unwrap();
    assert!(kid.starts_with(&format!("{}/keys/kek/", store.url())));
    let version = kid.rsplit('/').next().unwrap();
    for wrap in [
        "/keys/kek/wrapkey".to_owned(),
        "/keys/kek//wrapkey".to_owned(),
    ] {
        let body = json!({"alg": "RSA-OAEP-256", "value": b64(b"a data key")});
        let wrapped = client.post(&wrap, body).await.ok();
        assert_eq!(wrapped["kid"], kid);
        let body = json!({"alg": "RSA-OAEP-256", "value": wrapped["value"]});
        let unwrapped = client
            .post(&format!("/keys/kek/{version}/unwrapkey"), body)
            .await
            .ok();
        assert_eq!(unwrapped, json!({"kid": kid, "value": b64(b"a data key")}));
    }
    assert_eq!(vault.calls(Operation::WrapKey), 2);
    assert_eq!(store.calls(Operation::UnwrapKey), 2);
    assert_eq!(vault.managed_hsm().calls(Operation::WrapKey), 0);
}

/// Every algorithm of every key size, up to its limit and one byte over it.
#[tokio::test]
async fn rsa_takes_what_it_says_and_no_byte_more() {
    let vault = Vault::builder().start().await.unwrap();
    let store = vault.key_vault();
    let client = Client::operator(&vault, &store).await;
    for (bits, limits) in [
        (2048, [190, 214, 245]),
        (3072, [318, 342, 373]),
        (4096, [446, 470, 501]),
    ] {
        store.create_rsa_key("kek", bits).unwrap();
        for (alg, limit) in ["RSA-OAEP-256", "RSA-OAEP", "RSA1_5"]
            .into_iter()
            .zip(limits)
        {
            for (seal, open) in [("encrypt", "decrypt"), ("wrapkey", "unwrapkey")] {
                let plain = b64(&vec![7; limit]);
                let body = json!({"alg": alg, "value": plain});
                let sealed = client.post(&format!("/keys/kek/{seal}"), body).await.ok();
                let bytes = URL_SAFE_NO_PAD
                    .decode(sealed["value"].as_str().unwrap())
                    .unwrap();
                assert_eq!(bytes.len() * 8, bits as usize);
                let body = json!({"alg": alg, "value": sealed["value"]});
                let opened = client.post(&format!("/keys/kek/{open}"), body).await.ok();
                assert_eq!(opened["value"], Value::from(plain), "{alg} {bits}");

                let body = json!({"alg": alg, "value": b64(&vec![7; limit + 1])});
                let refused = client.post(&format!("/keys/kek/{seal}"), body).await;
                assert_eq!(refused.error().1, "BadParameter", "{alg} {bits}");
            }
        }
    }
}
