//! Laws that hold for every input.

use kms_envelope::sealed::preamble_len;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

fn any_recipients() -> impl Strategy<Value = Vec<Recipient>> {
    let one = (
        "[a-z0-9._-]{1,64}",
        "\\PC{1,40}",
        "\\PC{0,40}",
        btree_map("\\PC{1,20}", vec(any::<u8>(), 0..20), 0..4),
        vec(any::<u8>(), 1..80),
    )
        .prop_map(|(provider_id, key_id, version, annotations, wrapped)| {
            let mut wrapped = WrappedKey::new(key_id.parse().unwrap(), wrapped).unwrap();
            for (name, value) in annotations {
                wrapped = wrapped.with_annotation(name, value).unwrap();
            }
            Recipient::new(provider_id, wrapped)
                .unwrap()
                .with_key_version(version)
                .unwrap()
        });
    vec(one, 1..5).prop_filter("each recipient once", |recipients| {
        recipients.iter().enumerate().all(|(at, one)| {
            recipients[..at].iter().all(|other| {
                (one.provider_id(), one.wrapped_key().key_id())
                    != (other.provider_id(), other.wrapped_key().key_id())
            })
        })
    })
}

fn sealed_message() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (
        any_recipients(),
        select(&SUITES[..]),
        any::<bool>(),
        select(vec![0_usize, 1, 50, 4095, 4096, 4097, 8192, 9000]),
    )
        .prop_map(|(recipients, suite, stream, len)| {
            let dek = dek(&backends()[0], DEK);
            let material = DekMaterial::new(dek, context(), &recipients).unwrap();
            let text = plaintext(len);
            let message = if stream {
                seal_stream(&material, suite, &text)
            } else {
                material.seal(suite, &Counting(1), AAD, &text).unwrap()
            };
            // What is written must read as what was given.
            let info = inspect(&message).unwrap();
            let found: Vec<_> = info
                .recipients()
                .map(|found| {
                    Recipient::new(found.provider_id(), found.to_wrapped_key().unwrap())
                        .unwrap()
                        .with_key_version(found.key_version().unwrap_or_default())
                        .unwrap()
                })
                .collect();
            assert_eq!(found, recipients);
            assert_eq!(
                info.plaintext_len(message.len() as u64).unwrap(),
                len as u64
            );
            (message, text)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_opens((message, plaintext) in sealed_message()) {
        for backend in backends() {
            let opened = open(&dek(&backend, DEK), &message, &context(), AAD).unwrap();
            prop_assert_eq!(&opened, &plaintext);
        }
    }

    #[test]
    fn a_changed_byte_is_noticed(
        (message, _) in sealed_message(),
        at in any::<Index>(),
        near_the_front in any::<bool>(),
        change in 1..=255_u8,
    ) {
        let mut changed = message;
        let until = if near_the_front { 300.min(changed.len()) } else { changed.len() };
        changed[at.index(until)] ^= change;
        prop_assert!(open(&dek(&backends()[0], DEK), &changed, &context(), AAD).is_err());
    }

    #[test]
    fn a_cut_or_moved_piece_is_noticed(
        (message, _) in sealed_message(),
        from in any::<Index>(),
        to in any::<Index>(),
        len in 1..40_usize,
    ) {
        let (from, to) = (from.index(message.len()), to.index(message.len()));
        let end = (from + len).min(message.len());
        let mut moved = message.clone();
        let piece: Vec<u8> = moved.drain(from..end).collect();
        prop_assert!(open(&dek(&backends()[0], DEK), &moved, &context(), AAD).is_err());
        let to = to.min(moved.len());
        moved.splice(to..to, piece);
        prop_assume!(moved != message);
        prop_assert!(open(&dek(&backends()[0], DEK), &moved, &context(), AAD).is_err());
    }

    #[test]
    fn any_bytes_get_an_answer(
        (message, _) in sealed_message(),
        keep in 0..400_usize,
        tail in vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = message[..keep.min(message.len())].to_vec();
        bytes.extend(&tail);
        for bytes in [&bytes, &tail] {
            if let Ok(info) = inspect(bytes) {
                let _ = format!("{info:?}");
                prop_assert_eq!(preamble_len(bytes).unwrap(), info.preamble_len());
                for found in info.recipients() {
                    prop_assert!(found.to_wrapped_key().is_ok());
                }
            }
            let _ = preamble_len(bytes);
            let _ = open(&dek(&backends()[0], DEK), bytes, &context(), AAD);
        }
    }

    #[test]
    fn the_preamble_is_found_piece_by_piece((message, _) in sealed_message()) {
        let expected = inspect(&message).unwrap().preamble_len();
        let mut have = 0;
        for question in 0.. {
            prop_assert!(question < 3);
            let needed = preamble_len(&message[..have]).unwrap();
            prop_assert!(needed <= expected);
            if needed <= have {
                break;
            }
            have = needed;
        }
        prop_assert_eq!(have, expected);
    }
}
