//! `kms inspect`

use crate::command::kms_with_input;

/// KMS v2 with a seed, under `key-1` at `demo`, as in the frozen vectors of `kms-envelope`.
pub(crate) const KMS_V2: &str = "6b38733a656e633a6b6d733a76323a64656d6f3a0a45202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b6c3858a1c76e1205c12f1e59a27000d8e1ac033fbe36e2eafd12056b65792d311a0c777261707065642d736565642801";

#[test]
fn a_kms_v2_value_names_its_key() {
    let seen = kms_with_input(
        &["inspect", "--json", "--encoding", "hex", "-"],
        KMS_V2.as_bytes(),
    );
    let seen = seen.ok().json();
    assert_eq!(seen["provider"], "kms-v2");
    assert_eq!(seen["name"], "demo");
    assert_eq!(seen["key_id"], "key-1");
    assert_eq!(seen["dek_source_type"], "HKDF_SHA256_XNONCE_AES_GCM_SEED");
    assert_eq!(seen["encrypted_data_len"], 69);
    let text = kms_with_input(&["inspect", "--encoding", "hex", "-"], KMS_V2.as_bytes()).ok();
    assert!(text.text().contains("key-1"), "{text:?}");
}

#[test]
fn a_damaged_value_is_refused_by_field() {
    let cut = &KMS_V2[..100];
    let ran = kms_with_input(&["inspect", "--encoding", "hex", "-"], cut.as_bytes()).refused();
    assert!(ran.stderr.contains("encryptedData"), "{ran:?}");
    let ran = kms_with_input(
        &["inspect", "--json", "--encoding", "hex", "-"],
        cut.as_bytes(),
    );
    assert_eq!(ran.error_json()["error"]["kind"], "malformed");
}

/// What an etcdctl says of a key that is not there: nothing. That is no object in clear.
#[test]
fn nothing_is_no_value() {
    for encoding in ["raw", "base64", "hex"] {
        let ran = kms_with_input(&["inspect", "--encoding", encoding, "-"], b"").refused();
        assert!(ran.stderr.contains("empty"), "{ran:?}");
    }
    let blank = kms_with_input(&["inspect", "--encoding", "hex", "-"], b" \n").refused();
    assert!(blank.stderr.contains("empty"), "{blank:?}");
    let deleted = br#"{"kvs":[{"key":"L2E="}]}"#;
    let ran = kms_with_input(&["inspect", "--encoding", "etcd-json", "-"], deleted).refused();
    assert!(ran.stderr.contains("empty"), "{ran:?}");
}

#[test]
fn one_of_several_keys_can_be_chosen() {
    let two = br#"{"kvs":[{"key":"L2E=","value":"AP8K"},{"key":"L2I=","value":"AP8="}]}"#;
    let json = ["inspect", "--json", "--encoding", "etcd-json", "-"];
    let ran = kms_with_input(&json, two);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let error = &ran.error_json()["error"];
    assert!(error["remedy"].as_str().unwrap().contains("--etcd-key"));
    let chosen = [&json[..], &["--etcd-key", "/b"]].concat();
    let seen = kms_with_input(&chosen, two).ok().json();
    assert_eq!(seen["value_len"], 2, "{seen}");
}

#[test]
fn plain_text_is_identity() {
    let seen = kms_with_input(&["inspect", "--json", "-"], b"k8s\0plain")
        .ok()
        .json();
    assert_eq!(seen["provider"], "identity");
    assert_eq!(seen["key_id"], serde_json::Value::Null);
}
