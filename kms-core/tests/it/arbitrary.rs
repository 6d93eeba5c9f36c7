//! What `Arbitrary` makes is valid, survives its encoding, and reaches the limits.

use std::ops::RangeInclusive;

use arbitrary::{Arbitrary, Unstructured};
use kms_core::arbitrary::{bytes, text};
use kms_core::object::{ObjectKey, StoredObject};
use kms_core::{EncryptionContext, KeyId, KeyInfo, SecretBytes, WrapOptions, WrappedKey};
use proptest::prelude::*;

fn input() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..600)
}

/// Whether some input of few bytes makes such a value.
fn reached<T: for<'a> Arbitrary<'a>>(wanted: impl Fn(&T) -> bool) -> bool {
    (0..2000_u32).any(|seed| {
        let mut state = u64::from(seed) << 20 | 0x9e37;
        let input: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(512)
        .collect();
        T::arbitrary(&mut Unstructured::new(&input)).is_ok_and(|value| wanted(&value))
    })
}

proptest! {
    #[test]
    fn every_context_survives_its_encoding(input in input()) {
        let context = EncryptionContext::arbitrary(&mut Unstructured::new(&input)).unwrap();
        let again = EncryptionContext::from_canonical_bytes(&context.to_canonical_bytes());
        prop_assert_eq!(again.unwrap(), context);
    }

    #[test]
    fn every_wrapped_key_is_one_that_the_constructors_take(input in input()) {
        let wrapped = WrappedKey::arbitrary(&mut Unstructured::new(&input)).unwrap();
        let ciphertext = wrapped.ciphertext().to_vec();
        let again = match wrapped.key_id() {
            Some(id) => WrappedKey::new(KeyId::new(id.as_str()).unwrap(), ciphertext),
            None => WrappedKey::without_key_id(ciphertext),
        };
        let again = again.unwrap().with_annotations(wrapped.annotations().clone());
        prop_assert_eq!(again.unwrap(), wrapped);
    }

    #[test]
    fn every_object_is_one_that_the_constructors_take(input in input()) {
        let object = StoredObject::arbitrary(&mut Unstructured::new(&input)).unwrap();
        prop_assert_eq!(ObjectKey::new(object.key.as_bytes()).unwrap(), object.key);
        prop_assert!(object.lease.is_none_or(|lease| lease.get() != 0));
    }

    #[test]
    fn lengths_and_characters_keep_to_what_was_asked(
        input in input(),
        least in 0_usize..90,
        more in 0_usize..90,
    ) {
        let lengths: RangeInclusive<usize> = least..=least + more;
        let mut u = Unstructured::new(&input);
        prop_assert!(lengths.contains(&bytes(&mut u, lengths.clone()).unwrap().len()));
        let text = text(&mut u, lengths.clone(), |character| character.is_lowercase()).unwrap();
        prop_assert!(lengths.contains(&text.len()) && text.chars().all(char::is_lowercase));
    }

    #[test]
    fn no_input_at_all_is_enough(cut in 0_usize..8) {
        let input = vec![0; cut];
        let mut u = Unstructured::new(&input);
        prop_assert!(KeyInfo::arbitrary(&mut u).is_ok() && WrapOptions::arbitrary(&mut u).is_ok());
    }
}

#[test]
fn the_limits_are_reached_by_inputs_of_512_bytes() {
    assert!(reached(|id: &KeyId| id.as_str().len() == KeyId::MAX_LEN));
    assert!(reached(|id: &KeyId| id.as_str().len() == 1));
    assert!(reached(|id: &KeyId| !id.as_str().is_ascii()));
    assert!(reached(EncryptionContext::is_empty));
    assert!(reached(|context: &EncryptionContext| context
        .iter()
        .count()
        == EncryptionContext::MAX_PAIRS));
    assert!(reached(|context: &EncryptionContext| context
        .iter()
        .any(|(name, value)| name.len() == 255 && value.len() == 4096)));
    assert!(reached(|wrapped: &WrappedKey| wrapped.key_id().is_none()));
    assert!(reached(
        |wrapped: &WrappedKey| wrapped.ciphertext().len() == WrappedKey::MAX_CIPHERTEXT_LEN
    ));
    assert!(reached(|wrapped: &WrappedKey| {
        let notes = wrapped.annotations().iter();
        notes
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
            == WrappedKey::MAX_ANNOTATIONS_LEN
    }));
    assert!(reached(|dek: &SecretBytes| dek.len() == 32));
    assert!(reached(|dek: &SecretBytes| dek.is_empty()));
    assert!(reached(
        |key: &ObjectKey| key.as_bytes().len() == ObjectKey::MAX_LEN
    ));
}
