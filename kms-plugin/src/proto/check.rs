//! The limits on what a plugin says and is told.
//!
//! They are kube-apiserver's own; it compares with "greater than", so a value exactly at its limit
//! passes. kube-apiserver throws an answer beyond them away; here it is not sent in the first
//! place.

use std::collections::BTreeMap;

use kms_core::{Error, ErrorKind, KeyId, WrappedKey};

/// The longest key id, in bytes.
pub const MAX_KEY_ID_LEN: usize = KeyId::MAX_LEN;
/// The longest ciphertext of KMS v2, in bytes.
pub const MAX_CIPHERTEXT_LEN: usize = 1024;
/// The most that all annotations may take, names and values, in bytes.
pub const MAX_ANNOTATIONS_LEN: usize = WrappedKey::MAX_ANNOTATIONS_LEN;
/// The longest message that is read, in bytes. The longest that is within all limits is about
/// 67 KiB (a v1 request with a cipher of 65,535 bytes).
pub const MAX_MESSAGE_LEN: usize = 128 * 1024;

/// Checks the parts of a KMS v2 answer or request and puts them together.
///
/// Annotation names are not checked here: what was stored must be read.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`], naming the field and its limit.
pub fn wrapped_key(
    key_id: &str,
    ciphertext: Vec<u8>,
    annotations: BTreeMap<String, Vec<u8>>,
) -> Result<WrappedKey, Error> {
    let key_id = KeyId::new(key_id)?;
    check_ciphertext(&ciphertext)?;
    check_annotations_len(&annotations)?;
    WrappedKey::new(key_id, ciphertext)?.with_annotations(annotations)
}

/// Checks what is about to be answered to a KMS v2 `Encrypt`: a key id, and every limit of
/// [`wrapped_key`], and the names of the annotations.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`], naming the field and its limit.
pub fn check_wrapped(wrapped: &WrappedKey) -> Result<&KeyId, Error> {
    check_ciphertext(wrapped.ciphertext())?;
    check_annotations_len(wrapped.annotations())?;
    for name in wrapped.annotations().keys() {
        check_annotation_name(name)?;
    }
    wrapped
        .key_id()
        .ok_or_else(|| fault("the wrapped key names no key id"))
}

fn check_ciphertext(ciphertext: &[u8]) -> Result<(), Error> {
    match ciphertext.len() {
        0 => Err(fault("ciphertext is empty")),
        1..=MAX_CIPHERTEXT_LEN => Ok(()),
        length => Err(fault(format!(
            "ciphertext of {length} bytes is over the limit of {MAX_CIPHERTEXT_LEN}"
        ))),
    }
}

fn check_annotations_len(annotations: &BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
    let total = annotations.iter().fold(0_usize, |sum, (name, value)| {
        sum.saturating_add(name.len()).saturating_add(value.len())
    });
    if total > MAX_ANNOTATIONS_LEN {
        return Err(fault(format!(
            "annotations of {total} bytes in all are over the limit of {MAX_ANNOTATIONS_LEN}"
        )));
    }
    Ok(())
}

/// Checks the name of an annotation as kube-apiserver does: a fully qualified domain name by
/// RFC 1123 in lower case, of two labels or more, with or without a dot at its end.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`], naming the annotation and the rule.
pub fn check_annotation_name(name: &str) -> Result<(), Error> {
    const MAX_NAME_LEN: usize = 253;
    const MAX_LABEL_LEN: usize = 63;

    let refuse = |rule: &str| {
        let start: String = name.chars().take(64).collect();
        Err(fault(format!("annotation name {start:?} {rule}")))
    };
    let domain = name.strip_suffix('.').unwrap_or(name);
    if domain.len() > MAX_NAME_LEN {
        return refuse("is over 253 bytes");
    }
    let mut labels = 0_usize;
    for label in domain.split('.') {
        labels = labels.saturating_add(1);
        if label.is_empty() || label.len() > MAX_LABEL_LEN {
            return refuse("has a label that is empty or over 63 bytes");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return refuse("has a label that begins or ends with a hyphen");
        }
        if !label
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        {
            return refuse("may hold only lower-case letters, digits, hyphens and dots");
        }
    }
    if labels < 2 {
        return refuse("has a single label; write it like version.example.com");
    }
    Ok(())
}

fn fault(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::proto::{v1beta1, v2};

    #[test]
    fn a_value_at_its_limit_passes_and_one_more_does_not() {
        let none = BTreeMap::new();
        assert!(wrapped_key("k", vec![0; 1024], none.clone()).is_ok());
        assert!(wrapped_key("k", vec![0; 1025], none.clone()).is_err());
        assert!(wrapped_key("k", vec![], none.clone()).is_err());
        assert!(wrapped_key(&"k".repeat(1024), vec![0], none.clone()).is_ok());
        assert!(wrapped_key(&"k".repeat(1025), vec![0], none.clone()).is_err());
        assert!(wrapped_key("", vec![0], none).is_err());
        let note = |length| BTreeMap::from([("a.b".to_owned(), vec![0; length])]);
        assert!(wrapped_key("k", vec![0], note(32_765)).is_ok());
        assert!(wrapped_key("k", vec![0], note(32_766)).is_err());
        let many = |count: usize| (0..count).map(|n| (format!("n{n}.b"), vec![])).collect();
        assert!(wrapped_key("k", vec![0], many(4000)).is_ok());
        assert!(wrapped_key("k", vec![0], many(5000)).is_err());
    }

    #[test]
    fn annotation_names_are_domains() {
        for good in [
            "a.b",
            "version.azure.akv.io",
            "a.b.",
            "0-1.x",
            &format!("{}.b", "a".repeat(63)),
        ] {
            assert!(check_annotation_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a",
            "a.",
            "a..b",
            "a.b..",
            "A.b",
            "a/b.c",
            "-a.b",
            "a.b-",
            "a_b.c",
            "\u{e4}.b",
            &format!("{}.b", "a".repeat(64)),
            &["a"; 128].join("."),
        ] {
            assert!(check_annotation_name(bad).is_err(), "{bad}");
        }
        // 253 bytes and no more.
        let long = format!("{}.{}", ["a"; 125].join("."), "bbb");
        assert_eq!(long.len(), 253);
        assert!(check_annotation_name(&long).is_ok());
        assert!(check_annotation_name(&format!("{long}b")).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_message_or_its_check_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..512)
        ) {
            let _ = v2::StatusRequest::decode(&*bytes);
            let _ = v2::EncryptRequest::decode(&*bytes);
            let _ = v2::DecryptResponse::decode(&*bytes);
            let _ = v1beta1::VersionRequest::decode(&*bytes);
            let _ = v1beta1::EncryptRequest::decode(&*bytes);
            let _ = v1beta1::DecryptRequest::decode(&*bytes);
            if let Ok(status) = v2::StatusResponse::decode(&*bytes) {
                let _ = KeyId::new(&status.key_id);
            }
            if let Ok(request) = v2::DecryptRequest::decode(&*bytes) {
                let _ = wrapped_key(&request.key_id, request.ciphertext, request.annotations);
            }
        }

        #[test]
        fn what_is_checked_survives_the_wire(
            key_id in "[a-z0-9/]{1,40}",
            ciphertext in proptest::collection::vec(any::<u8>(), 1..64),
            annotations in proptest::collection::btree_map(
                "[a-z]{1,8}\\.[a-z]{1,8}",
                proptest::collection::vec(any::<u8>(), 0..16),
                0..6,
            ),
        ) {
            let wrapped = wrapped_key(&key_id, ciphertext, annotations).unwrap();
            prop_assert!(check_wrapped(&wrapped).is_ok());
            let answer = v2::EncryptResponse {
                ciphertext: wrapped.ciphertext().to_vec(),
                key_id,
                annotations: wrapped.annotations().clone(),
            };
            let read = v2::EncryptResponse::decode(&*answer.encode_to_vec()).unwrap();
            let again = wrapped_key(&read.key_id, read.ciphertext, read.annotations).unwrap();
            prop_assert_eq!(again, wrapped);
        }
    }
}
