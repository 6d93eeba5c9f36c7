//! No bytes make a message of the KMS API, or the checks on it, panic. (`encodings` begins with
//! messages that are valid.)
#![no_main]

use kms_plugin::proto::{check_annotation_name, check_wrapped, v1beta1, v2, wrapped_key};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|bytes: &[u8]| {
    let _ = v2::StatusRequest::decode(bytes);
    let _ = v2::EncryptRequest::decode(bytes);
    let _ = v2::DecryptResponse::decode(bytes);
    let _ = v1beta1::VersionRequest::decode(bytes);
    let _ = v1beta1::VersionResponse::decode(bytes);
    let _ = v1beta1::EncryptRequest::decode(bytes);
    let _ = v1beta1::DecryptResponse::decode(bytes);
    if let Ok(status) = v2::StatusResponse::decode(bytes) {
        let _ = kms_core::KeyId::new(&status.key_id);
    }
    if let Ok(request) = v1beta1::DecryptRequest::decode(bytes) {
        let _ = kms_core::WrappedKey::without_key_id(request.cipher);
    }
    if let Ok(answer) = v1beta1::EncryptResponse::decode(bytes) {
        let _ = kms_core::WrappedKey::without_key_id(answer.cipher);
    }
    if let Ok(request) = v2::DecryptRequest::decode(bytes) {
        let _ = wrapped_key(&request.key_id, request.ciphertext, request.annotations);
    }
    if let Ok(answer) = v2::EncryptResponse::decode(bytes) {
        for name in answer.annotations.keys() {
            let _ = check_annotation_name(name);
        }
        if let Ok(wrapped) = wrapped_key(&answer.key_id, answer.ciphertext, answer.annotations) {
            let _ = check_wrapped(&wrapped);
        }
    }
});
