//! Messages within kube-apiserver's limits, out of a fuzzer's bytes.

use std::collections::BTreeMap;

use ::arbitrary::{Arbitrary, Result, Unstructured};
use kms_core::arbitrary::{bytes, length, text};
use kms_core::{KeyId, WrappedKey};

use super::{MAX_ANNOTATIONS_LEN, MAX_CIPHERTEXT_LEN, v1beta1, v2};

/// A DEK or seed is 32 bytes; nobody sends more than this.
const MAX_PLAINTEXT_LEN: usize = 256;
const MAX_UID_LEN: usize = 64;
const MAX_LABEL_LEN: usize = 63;
const MAX_ANNOTATIONS: usize = 8;

fn key_id(u: &mut Unstructured<'_>) -> Result<String> {
    KeyId::arbitrary(u).map(|id| id.as_str().to_owned())
}

fn uid(u: &mut Unstructured<'_>) -> Result<String> {
    text(u, 0..=MAX_UID_LEN, |_| true)
}

/// A domain of two labels, as `check_annotation_name` wants it.
fn annotation_name(u: &mut Unstructured<'_>) -> Result<String> {
    let mut label = || {
        // No hyphen: it may not stand at the ends.
        text(
            u,
            1..=MAX_LABEL_LEN,
            |character| matches!(character, 'a'..='z' | '0'..='9'),
        )
    };
    Ok(format!("{}.{}", label()?, label()?))
}

fn annotations(u: &mut Unstructured<'_>) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut annotations = BTreeMap::new();
    let mut left = MAX_ANNOTATIONS_LEN;
    for _ in 0..length(u, 0..=MAX_ANNOTATIONS)? {
        let name = annotation_name(u)?;
        if name.len() <= left && !annotations.contains_key(&name) {
            left = left.saturating_sub(name.len());
            let value = bytes(u, 0..=left)?;
            left = left.saturating_sub(value.len());
            annotations.insert(name, value);
        }
    }
    Ok(annotations)
}

macro_rules! messages {
    ($($message:ty { $($field:ident: $made:expr),* $(,)? })*) => {$(
        impl<'a> Arbitrary<'a> for $message {
            fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
                Ok(Self { $($field: $made(u)?),* })
            }
        }
    )*};
}

messages! {
    v2::StatusResponse {
        version: |u: &mut Unstructured<'_>| u.choose(&["v2", "v2beta1"]).map(|&text| text.to_owned()),
        healthz: |u: &mut Unstructured<'_>| u.choose(&["ok", "no", ""]).map(|&text| text.to_owned()),
        key_id: key_id,
    }
    v2::EncryptRequest {
        plaintext: |u: &mut Unstructured<'_>| bytes(u, 0..=MAX_PLAINTEXT_LEN),
        uid: uid,
    }
    v2::EncryptResponse {
        ciphertext: |u: &mut Unstructured<'_>| bytes(u, 1..=MAX_CIPHERTEXT_LEN),
        key_id: key_id,
        annotations: annotations,
    }
    v2::DecryptRequest {
        ciphertext: |u: &mut Unstructured<'_>| bytes(u, 1..=MAX_CIPHERTEXT_LEN),
        uid: uid,
        key_id: key_id,
        annotations: annotations,
    }
    v2::DecryptResponse {
        plaintext: |u: &mut Unstructured<'_>| bytes(u, 0..=MAX_PLAINTEXT_LEN),
    }
    v1beta1::EncryptRequest {
        version: |_: &mut Unstructured<'_>| Ok("v1beta1".to_owned()),
        plain: |u: &mut Unstructured<'_>| bytes(u, 0..=MAX_PLAINTEXT_LEN),
    }
    v1beta1::EncryptResponse {
        cipher: |u: &mut Unstructured<'_>| bytes(u, 1..=WrappedKey::MAX_CIPHERTEXT_LEN),
    }
    v1beta1::DecryptRequest {
        version: |_: &mut Unstructured<'_>| Ok("v1beta1".to_owned()),
        cipher: |u: &mut Unstructured<'_>| bytes(u, 1..=WrappedKey::MAX_CIPHERTEXT_LEN),
    }
    v1beta1::DecryptResponse {
        plain: |u: &mut Unstructured<'_>| bytes(u, 0..=MAX_PLAINTEXT_LEN),
    }
}
