//! What a wrapped DEK promises.

use kms_core::{
    EncryptionContext, ErrorKind, KeyProvider as _, SecretBytes, UnwrapOptions, WrapOptions,
    WrappedKey,
};
use proptest::prelude::*;

use super::{Place, current, kind, now, secret, sibling, unwrap, wrap};

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    pairs
        .iter()
        .fold(EncryptionContext::new(), |context, (name, value)| {
            context.with(*name, *value).unwrap()
        })
}

#[test]
fn the_context_is_bound() {
    let place = Place::new();
    let provider = place.create();
    let options = WrapOptions::default().with_context(context(&[("tenant", "acme")]));
    let wrapped = now(provider.wrap(&secret("dek"), &options)).unwrap();
    for (pairs, opens) in [
        (&[("tenant", "acme")][..], true),
        (&[("tenant", "other")], false),
        (&[], false),
        (&[("tenant", "acme"), ("table", "users")], false),
    ] {
        let options = UnwrapOptions::default().with_context(context(pairs));
        let outcome = now(provider.unwrap(&wrapped, &options));
        assert_eq!(outcome.is_ok(), opens, "{pairs:?}");
        assert!(outcome.map_or_else(
            |error| error.kind() == ErrorKind::Crypto,
            |dek| dek == secret("dek")
        ));
    }
}

#[test]
fn a_wrapped_key_without_key_id_opens_by_the_version_it_names() {
    let place = Place::new();
    let provider = place.create();
    let first = wrap(&provider, "first").unwrap();
    provider.rotate().unwrap();
    let bare =
        |wrapped: &WrappedKey| WrappedKey::without_key_id(wrapped.ciphertext().to_vec()).unwrap();
    assert_eq!(unwrap(&provider, &bare(&first)).unwrap(), secret("first"));
    // Another version, known or not, is a tampered ciphertext.
    for version in [0, 2, 3, u32::MAX] {
        let mut bytes = first.ciphertext().to_vec();
        bytes[1..5].copy_from_slice(&version.to_be_bytes());
        let changed = WrappedKey::without_key_id(bytes).unwrap();
        assert_eq!(
            kind(unwrap(&provider, &changed)),
            ErrorKind::Crypto,
            "{version}"
        );
    }
}

#[test]
fn the_key_id_and_the_version_in_the_bytes_must_agree() {
    let place = Place::new();
    let provider = place.create();
    let first = wrap(&provider, "first").unwrap();
    provider.rotate().unwrap();
    let second = current(&provider).unwrap();
    let moved = WrappedKey::new(second, first.ciphertext().to_vec()).unwrap();
    assert_eq!(kind(unwrap(&provider, &moved)), ErrorKind::Crypto);
}

#[test]
fn one_key_in_two_keyrings_is_two_keys() {
    let (one, two) = (Place::new(), Place::new());
    let [one, two] = [one.create(), two.create()].map(|provider| {
        provider
            .import(secret("0123456789abcdef0123456789abcdef"))
            .unwrap();
        provider
    });
    let wrapped = wrap(&one, "dek").unwrap();
    let moved = WrappedKey::new(current(&two).unwrap(), wrapped.ciphertext().to_vec()).unwrap();
    assert_eq!(kind(unwrap(&two, &moved)), ErrorKind::Crypto);
}

#[test]
fn a_key_id_of_nobody_is_not_found() {
    let place = Place::new();
    let provider = place.create();
    let wrapped = wrap(&provider, "dek").unwrap();
    let own = wrapped.key_id().unwrap();
    let other = Place::new();
    let foreign = current(&other.create()).unwrap().to_string();
    for id in [sibling(own, "2"), sibling(own, "01"), foreign, "x".into()] {
        let renamed = WrappedKey::new(id.parse().unwrap(), wrapped.ciphertext().to_vec()).unwrap();
        let error = unwrap(&provider, &renamed).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyNotFound, "{id}");
        assert_eq!(error.key_id().unwrap().as_str(), id);
    }
}

#[test]
fn the_length_of_a_dek_is_bounded() {
    let place = Place::new();
    let provider = place.create();
    let longest = provider.capabilities().max_plaintext_len;
    for (length, taken) in [(0, false), (1, true), (longest, true), (longest + 1, false)] {
        let dek = SecretBytes::from_vec(vec![7; length]);
        let outcome = now(provider.wrap(&dek, &WrapOptions::default()));
        assert_eq!(outcome.is_ok(), taken, "{length}");
        match outcome {
            Ok(wrapped) => {
                assert_eq!(wrapped.ciphertext().len(), length + 33);
                assert_eq!(unwrap(&provider, &wrapped).unwrap(), dek);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_wrapped_is_unwrapped_and_any_change_is_found(
        dek in proptest::collection::vec(any::<u8>(), 1..200),
        name in "[a-z]{1,9}", value in ".{0,40}",
        position in any::<prop::sample::Index>(), change in 1..=255_u8,
    ) {
        let place = Place::new();
        let provider = place.create();
        let context = EncryptionContext::new().with(name, value).unwrap();
        let dek = SecretBytes::from_vec(dek);
        let options = WrapOptions::default().with_context(context.clone());
        let wrapped = now(provider.wrap(&dek, &options)).unwrap();
        let options = UnwrapOptions::default().with_context(context);
        prop_assert_eq!(now(provider.unwrap(&wrapped, &options)).unwrap(), dek);

        let id = wrapped.key_id().unwrap();
        let bytes = wrapped.ciphertext();
        let position = position.index(bytes.len());
        let mut changed = bytes.to_vec();
        changed[position] ^= change;
        for damaged in [changed, bytes[..position].to_vec(), [bytes, &[change][..]].concat()] {
            for damaged in [
                WrappedKey::new(id.clone(), damaged.clone()),
                WrappedKey::without_key_id(damaged.clone()),
            ] {
                // An empty ciphertext is refused earlier.
                let Ok(damaged) = damaged else { continue };
                prop_assert_eq!(kind(now(provider.unwrap(&damaged, &options))), ErrorKind::Crypto);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_unwrapped_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 1..100), version in 0..3_u8,
    ) {
        let place = Place::new();
        let provider = place.create();
        let named = [&[1, 0, 0, 0, version][..], &bytes].concat();
        for bytes in [bytes, named] {
            let wrapped = WrappedKey::without_key_id(bytes).unwrap();
            prop_assert_eq!(kind(unwrap(&provider, &wrapped)), ErrorKind::Crypto);
        }
    }
}
