//! What `Arbitrary` makes is valid, and survives the format.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arbitrary::{Arbitrary as _, Unstructured};
use kms_core::{EncryptionContext, OsRandom, SecretBytes, WrappedKey};
use kms_envelope::cache::Partition;
use kms_envelope::crypto::RingBackend;
use kms_envelope::kubernetes::{EncryptionConfiguration, GroupResource, ProviderConfiguration};
use kms_envelope::rotation::{Policy, Start, State};
use kms_envelope::sealed::{ContextDigest, Dek, DekMaterial, Recipient, Suite, inspect};
use proptest::prelude::*;

fn input() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..600)
}

proptest! {
    #[test]
    fn every_policy_and_beginning_is_one_that_a_state_takes(input in input()) {
        let mut u = Unstructured::new(&input);
        let policy = Policy::arbitrary(&mut u).unwrap();
        prop_assert!(policy.check().is_ok(), "{policy:?}");
        let start = Start::arbitrary(&mut u).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_798_800_000);
        let state = State::new("c", start, policy, now).unwrap();
        let text = state.to_json().unwrap();
        prop_assert_eq!(State::from_json(&text).unwrap(), state);
    }

    #[test]
    fn every_recipient_survives_the_format(input in input()) {
        let mut u = Unstructured::new(&input);
        let recipient = Recipient::arbitrary(&mut u).unwrap();
        let context = EncryptionContext::arbitrary(&mut u).unwrap();
        let suite = Suite::arbitrary(&mut u).unwrap();
        let digest = ContextDigest::new(&RingBackend, &context);
        let dek = Dek::new(Arc::new(RingBackend), SecretBytes::from_vec(vec![7; 32])).unwrap();
        let material = DekMaterial::new(dek, digest, std::slice::from_ref(&recipient)).unwrap();
        let message = material.seal(suite, &OsRandom, b"aad", &input).unwrap();
        let info = inspect(&message).unwrap();
        let read: Vec<_> = info.recipients().collect();
        prop_assert_eq!(read.len(), 1);
        prop_assert_eq!(read[0].provider_id(), recipient.provider_id());
        let wrapped: WrappedKey = read[0].to_wrapped_key().unwrap();
        prop_assert_eq!(&wrapped, recipient.wrapped_key());
        prop_assert_eq!(material.dek().open(&message, &digest, b"aad").unwrap(), input);
    }

    #[test]
    fn every_configuration_is_one_that_the_parser_takes(input in input()) {
        let mut u = Unstructured::new(&input);
        // An error would be one of the parser, which is asked at the end.
        let configuration = EncryptionConfiguration::arbitrary(&mut u).unwrap();
        for entry in &configuration.resources {
            prop_assert!(!entry.resources.is_empty() && !entry.providers.is_empty());
        }
        let partition = Partition::arbitrary(&mut u).unwrap();
        prop_assert!(Partition::new(partition.as_str()).is_ok());
    }

    #[test]
    fn every_resource_comes_back_from_its_name(input in input()) {
        let resource = GroupResource::arbitrary(&mut Unstructured::new(&input)).unwrap();
        let name = resource.to_string();
        prop_assert_eq!(GroupResource::parse(&name), resource);
    }
}

#[test]
fn every_kind_of_provider_is_reached() {
    let mut seen = [false; 5];
    for seed in 0..400_u32 {
        let mut state = u64::from(seed) << 20 | 0x9e37;
        let input: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(256)
        .collect();
        let configuration =
            EncryptionConfiguration::arbitrary(&mut Unstructured::new(&input)).unwrap();
        for provider in configuration
            .resources
            .iter()
            .flat_map(|entry| &entry.providers)
        {
            seen[match provider {
                ProviderConfiguration::Identity => 0,
                ProviderConfiguration::AesCbc(_) => 1,
                ProviderConfiguration::AesGcm(_) => 2,
                ProviderConfiguration::Secretbox(_) => 3,
                _ => 4,
            }] = true;
        }
    }
    assert_eq!(seen, [true; 5]);
}
