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

async fn hsm() -> (Vault, Client) {
    let vault = Vault::builder().start().await.unwrap();
    let client = Client::operator(&vault, &vault.managed_hsm()).await;
    (vault, client)
}

#[tokio::test]
async fn aes_keys_wrap_with_the_algorithm_of_their_size() {
    let (vault, client) = hsm().await;
    for bits in [128, 192, 256] {
        let kid = vault.managed_hsm().create_aes_key("aes", bits).unwrap();
        let shown = client.get("/keys/aes").await.ok();
        assert_eq!(shown["key"]["kty"], "oct-HSM");
        assert!(shown["key"].get("k").is_none() && shown["key"].get("n").is_none());
        for (alg, dek, good) in [
            ("A128KW", 32, bits == 128),
            ("A192KW", 32, bits == 192),
            ("A256KW", 32, bits == 256),
            ("CKM_AES_KEY_WRAP", 32, true),
            ("CKM_AES_KEY_WRAP", 31, false),
            ("CKM_AES_KEY_WRAP_PAD", 31, true),
            ("RSA-OAEP", 32, false),
        ] {
            let dek = b64(&vec![5; dek]);
            let body = json!({"alg": alg, "value": dek});
            let wrapped = client.post("/keys/aes/wrapkey", body).await;
            if !good {
                assert_eq!(wrapped.error().1, "BadParameter", "{alg} {bits}");
                continue;
            }
            let wrapped = wrapped.ok();
            assert_eq!(wrapped["kid"], kid);
            let body = json!({"alg": alg, "value": wrapped["value"]});
            let unwrapped = client.post("/keys/aes/unwrapkey", body).await.ok();
            assert_eq!(unwrapped["value"], dek, "{alg} {bits}");
            let body = json!({"alg": alg, "value": b64(&[5; 40])});
            let refused = client.post("/keys/aes/unwrapkey", body).await;
            assert_eq!(refused.error().0, 400);
        }
    }
    // These came with a later version of the API.
    let body = json!({"alg": "CKM_AES_KEY_WRAP", "value": b64(&[5; 32])});
    let early = client
        .call_with("POST", "/keys/aes/wrapkey", "api-version=7.5", body)
        .await;
    assert_eq!(early.error().1, "BadParameter");
}

#[tokio::test]
async fn aes_gcm_has_a_nonce_of_its_own_a_tag_and_what_is_authenticated_beside() {
    let (vault, client) = hsm().await;
    for bits in [128, 192, 256] {
        vault.managed_hsm().create_aes_key("aes", bits).unwrap();
        let alg = format!("A{bits}GCM");
        let body = json!({"alg": alg, "value": b64(b"secret"), "aad": b64(b"beside")});
        let first = client.post("/keys/aes/encrypt", body.clone()).await.ok();
        let second = client.post("/keys/aes/encrypt", body).await.ok();
        assert_ne!(first["iv"], second["iv"]);
        let open = |aad: &[u8], tag: &Value| {
            let body = json!({
                "alg": alg, "value": first["value"], "iv": first["iv"],
                "tag": tag, "aad": b64(aad),
            });
            client.post("/keys/aes/decrypt", body)
        };
        let opened = open(b"beside", &first["tag"]).await.ok();
        assert_eq!(opened["value"], b64(b"secret"));
        assert_eq!(open(b"besides", &first["tag"]).await.error().0, 400);
        assert_eq!(open(b"beside", &second["tag"]).await.error().0, 400);
        assert_eq!(open(b"beside", &Value::Null).await.error().0, 400);
        let body = json!({"alg": alg, "value": "AAAA", "iv": b64(&[0; 12])});
        let refused = client.post("/keys/aes/encrypt", body).await;
        assert_eq!(refused.error().0, 400, "the nonce is not the caller's");
    }
}

#[tokio::test]
async fn aes_cbc_takes_a_vector_and_pads_if_it_says_so() {
    let (vault, client) = hsm().await;
    let iv = b64(&[9; 16]);
    for bits in [128, 192, 256] {
        vault.managed_hsm().create_aes_key("aes", bits).unwrap();
        for (pad, length, good) in [("", 32, true), ("", 31, false), ("PAD", 31, true)] {
            let alg = format!("A{bits}CBC{pad}");
            let plain = b64(&vec![1; length]);
            let body = json!({"alg": alg, "value": plain, "iv": iv});
            let sealed = client.post("/keys/aes/encrypt", body).await;
            if !good {
                assert_eq!(sealed.error().1, "BadParameter");
                continue;
            }
            let sealed = sealed.ok();
            assert_eq!(sealed["iv"], iv);
            let body = json!({"alg": alg, "value": sealed["value"], "iv": iv});
            let opened = client.post("/keys/aes/decrypt", body).await.ok();
            assert_eq!(opened["value"], plain, "{alg}");
            let body = json!({"alg": alg, "value": plain});
            let without = client.post("/keys/aes/encrypt", body).await;
            assert_eq!(without.error().0, 400);
        }
    }
}

/// Every signature algorithm with every key that has it; RSNULL is refused and says so.
#[tokio::test]
async fn what_signs_verifies() {
    let (_vault, client) = hsm().await;
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    for (name, create, algs) in [
        ("rsa", json!({"kty": "RSA-HSM"}), &rsa[..]),
        ("p256", json!({"kty": "EC-HSM"}), &["ES256"]),
        ("p384", json!({"kty": "EC-HSM", "crv": "P-384"}), &["ES384"]),
        ("p521", json!({"kty": "EC-HSM", "crv": "P-521"}), &["ES512"]),
        ("k1", json!({"kty": "EC-HSM", "crv": "P-256K"}), &["ES256K"]),
        (
            "mac",
            json!({"kty": "oct-HSM", "key_ops": ["sign", "verify"]}),
            &["HS256", "HS384", "HS512"],
        ),
    ] {
        client
            .post(&format!("/keys/{name}/create"), create)
            .await
            .ok();
        for alg in algs {
            let bits: usize = alg.trim_matches(|c: char| !c.is_numeric()).parse().unwrap();
            let digest = b64(&vec![3; bits / 8]);
            let (to_sign, to_verify) =
                (format!("/keys/{name}/sign"), format!("/keys/{name}/verify"));
            let sign = |value: &str| {
                let body = json!({"alg": alg, "value": value});
                client.post(&to_sign, body)
            };
            let signed = sign(&digest).await.ok();
            let verify = |digest: String| {
                let body = json!({"alg": alg, "digest": digest, "value": signed["value"]});
                client.post(&to_verify, body)
            };
            assert_eq!(verify(digest).await.ok(), json!({"value": true}), "{alg}");
            let other = b64(&vec![4; bits / 8]);
            assert_eq!(verify(other).await.ok(), json!({"value": false}), "{alg}");
            if !alg.starts_with("HS") {
                assert_eq!(sign("AAAA").await.error().1, "BadParameter", "{alg}");
            }
        }
    }
    let digest = b64(&[3; 32]);
    for (name, alg) in [
        ("rsa", "RSNULL"),
        ("p256", "ES384"),
        ("mac", "RS256"),
        ("k1", "ES256"),
    ] {
        let body = json!({"alg": alg, "value": digest});
        let refused = client.post(&format!("/keys/{name}/sign"), body).await;
        assert!(refused.error().3.contains(alg), "{alg}");
    }
    let wrap = json!({"alg": "RSA-OAEP", "value": "AAAA"});
    let refused = client.post("/keys/p256/wrapkey", wrap).await;
    assert_eq!(refused.error().2, "KeyOperationForbidden");
}

/// The key that is imported is the key that is used, and a key that does not fit itself is refused.
#[tokio::test]
async fn keys_are_imported_as_they_are() {
    let (vault, client) = hsm().await;
    let kek = [7; 32];
    let body =
        json!({"key": {"kty": "oct-HSM", "k": b64(&kek), "key_ops": ["wrapKey", "unwrapKey"]}});
    client.call("PUT", "/keys/aes", body).await.ok();
    let body = json!({"alg": "A256KW", "value": b64(&[1; 16])});
    let wrapped = client.post("/keys/aes/wrapkey", body).await.ok();
    let mut theirs = [0; 24];
    use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
    AesKek::new(&AES_256, &kek)
        .unwrap()
        .wrap(&[1; 16], &mut theirs)
        .unwrap();
    assert_eq!(wrapped["value"], b64(&theirs));

    // RFC 7515, A.3: a key on P-256.
    let mut ec = json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    });
    let import = |key: &Value| client.call("PUT", "/keys/ec", json!({ "key": key }));
    let imported = import(&ec).await.ok();
    assert_eq!(imported["key"]["kty"], "EC-HSM");
    assert_eq!(imported["key"]["x"], ec["x"]);
    ec["x"] = ec["y"].clone();
    assert_eq!(import(&ec).await.error().1, "BadParameter");
    let store = vault.key_vault();
    let vault_client = Client::operator(&vault, &store).await;
    let body = json!({"key": {"kty": "oct", "k": b64(&kek)}});
    let refused = vault_client.call("PUT", "/keys/aes", body).await;
    assert_eq!(refused.error().2, "KeyTypeNotSupported");
}
