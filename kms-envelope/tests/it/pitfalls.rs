//! Faults that other envelope encryption libraries and KMS plugins have had, and the tests that
//! show that we have not. Paths are from the root of the repository; a test below sees to it that
//! every one of them exists.
//!
//! | fault | seen in | test |
//! |---|---|---|
//! | a length from the message is added without a check | kms-aead | `kms-envelope/tests/it/pitfalls.rs::no_length_is_believed` |
//! | the length of the wrapped DEK has no limit | tink-rust | `kms-envelope/tests/it/pitfalls.rs::no_length_is_believed`, `kms-envelope/tests/it/sealed/whole.rs::the_recipients_together_are_bounded` |
//! | a setter writes another field | envelopers | `kms-envelope/tests/it/pitfalls.rs::a_setter_sets_its_own_field_and_no_other` |
//! | AAD is joined from parts without their lengths | envelopers, AWS ESDK cache ids | `kms-envelope/tests/it/pitfalls.rs::context_and_aad_do_not_run_into_each_other`, `kms-envelope/src/cache/unwrap/entry.rs::no_two_questions_show_the_same_bytes` |
//! | a sleep that blocks an async thread | MPL | `kms-envelope/tests/it/pitfalls.rs::who_waits_holds_no_thread` (and `clippy.toml` refuses `std::thread::sleep`) |
//! | a coalescing lock stays locked when its owner is dropped | pingora | `kms-envelope/tests/it/cache/stampede.rs::a_dropped_leader_takes_nothing_with_it`, `kms-envelope/tests/it/cache/life.rs::a_dropped_refresh_is_taken_up_by_another_caller`, `kms-core/tests/it/layers/coalesce.rs::a_cancelled_leader_hands_over` |
//! | a default that breaks its own rule | MPL's storm cache | `kms-envelope/tests/it/pitfalls.rs::the_defaults_keep_the_rules` |
//! | Status is ok without a probe | Cosmian's plugin | `kms-plugin/tests/it/failures.rs::a_key_that_cannot_be_proven_is_never_ok`, `kms-plugin/tests/it/failures.rs::status_waits_for_the_first_answer_and_then_agrees_with_encrypt` |
//! | decrypt believes the key id of the request | Cosmian's plugin | `kms-plugin/tests/it/failures.rs::unknown_key_ids_are_not_found_and_damage_is_opaque`, `kms-core/tests/it/local/wrapping.rs::the_key_id_and_the_version_in_the_bytes_must_agree` |
//! | a cached alias hides a rotation | kroxylicious | `kms-envelope/tests/it/envelope.rs::a_rotation_that_is_noted_makes_a_new_dek_and_a_purge_makes_one_at_once`, `kms-envelope/tests/it/state.rs::a_new_key_id_makes_a_new_seed_and_old_values_stale`, `kms-plugin/tests/it/failures.rs::a_new_key_is_taken_over_in_the_background` |
//! | a key is destroyed before its data is rewrapped | sops | `kms-core/tests/it/local/life.rs::destruction_waits_for_its_grace_period_and_leaves_a_tombstone` |
//! | rewrapping drops the AAD | Vault transit | `kms-envelope/tests/it/pitfalls.rs::rewrapping_keeps_context_and_aad` |
//! | the counter of segments overflows | Tink before 1.4 | `kms-envelope/src/sealed/stream/mod.rs::a_chunk_beyond_the_longest_stream_is_refused_though_it_verifies`, `kms-envelope/src/sealed/stream/mod.rs::a_stream_over_the_limit_cannot_be_finished` |
//! | eviction while an entry is used | AWS ESDK for Python | `kms-envelope/tests/it/cache/races.rs::a_dek_that_is_evicted_while_it_is_used_stays_whole` |
//! | errors that are strings | tink-rust | `kms-envelope/tests/it/pitfalls.rs::what_to_do_about_an_error_is_no_matter_of_text` |
//! | a key id that nobody vouches for does more than find a key | Tink's prefix | `kms-envelope/tests/it/pitfalls.rs::a_key_id_finds_a_key_and_is_bound_all_the_same` |

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kms_core::{EncryptionContext, KeyProvider, OsRandom, SecretBytes};
use kms_envelope::cache::{DekLimits, UnwrapCacheOptions};
use kms_envelope::crypto::RingBackend;
use kms_envelope::sealed::{ContextDigest, Dek, DekMaterial, Recipient, Suite, inspect};
use kms_envelope::{Envelope, ErrorKind, Purpose};
use kms_testkit::{FaultProvider, ManualClock, Operation, Outcome, StaticProvider};

use crate::now;

const HEADER_LEN: usize = 104;

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    pairs
        .iter()
        .fold(EncryptionContext::new(), |context, (name, value)| {
            context.with(*name, *value).unwrap()
        })
}

fn material(wrapped: Vec<u8>) -> DekMaterial {
    let dek = Dek::new(Arc::new(RingBackend), SecretBytes::from_vec(vec![7; 32])).unwrap();
    let wrapped = kms_core::WrappedKey::new("kek/1".parse().unwrap(), wrapped).unwrap();
    let context = ContextDigest::new(&RingBackend, &EncryptionContext::new());
    DekMaterial::new(dek, context, &[Recipient::new("vault", wrapped).unwrap()]).unwrap()
}

fn seal(material: &DekMaterial, aad: &[u8]) -> Vec<u8> {
    let random = OsRandom;
    material
        .seal(Suite::Aes256Gcm, &random, aad, b"plaintext")
        .unwrap()
}

#[test]
fn every_test_that_the_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = include_str!("pitfalls.rs")
        .lines()
        .filter(|line| line.starts_with("//! |"));
    let mut named = BTreeSet::new();
    for row in table.skip(2) {
        let tests: Vec<_> = row
            .split('`')
            .filter_map(|word| word.split_once(".rs::"))
            .collect();
        assert!(!tests.is_empty(), "no test: {row}");
        named.extend(tests);
    }
    for (file, test) in named {
        let text = std::fs::read_to_string(root.join(format!("{file}.rs"))).unwrap();
        assert!(text.contains(&format!("fn {test}(")), "{file}.rs::{test}");
    }
}

#[test]
fn no_length_is_believed() {
    let material = material(vec![9; 40]);
    let message = seal(&material, b"");
    let entries = HEADER_LEN + 6;
    let wrapped = message.len() - 9 - 16 - 32 - 40 - 2;
    // The list of recipients, a provider id, a key id and a wrapped DEK.
    let fields = [
        (HEADER_LEN + 2, 4),
        (entries, 1),
        (entries + 6, 2),
        (wrapped, 2),
    ];
    for (at, len) in fields {
        for top in 0..=64_u8 {
            let mut changed = message.clone();
            changed[at..at + len].fill(0xff);
            changed[at + len - 1] = 0xff - top;
            for whole in [&changed[..], &changed[..at + len]] {
                let error = inspect(whole).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Malformed, "{at} {top}");
                assert!(material.dek().check(whole).is_err());
            }
        }
    }
    // Refused when it is announced, not when so much has been read.
    let mut announced = message[..entries].to_vec();
    announced[HEADER_LEN + 2..].copy_from_slice(&((1_u32 << 20) + 1).to_be_bytes());
    assert!(kms_envelope::sealed::preamble_len(&announced).is_err());
}

#[test]
fn a_setter_sets_its_own_field_and_no_other() {
    let second = Duration::from_secs(7);
    macro_rules! sets {
        ($type:ty: $($setter:ident $field:ident $value:expr),+ $(,)?) => {$({
            let mut expected = <$type>::default();
            expected.$field = $value;
            assert_ne!(expected, <$type>::default(), stringify!($field));
            assert_eq!(<$type>::default().$setter($value), expected, stringify!($setter));
        })+};
    }
    sets!(DekLimits:
        with_max_messages max_messages 7,
        with_max_bytes max_bytes 7,
        with_max_age max_age second,
        with_refresh_before refresh_before second,
        with_retry_every retry_every second,
        with_purposes purposes 7,
        with_partitions partitions 7,
        with_call_limit call_limit second,
    );
    sets!(UnwrapCacheOptions:
        with_capacity capacity 7,
        with_partitions partitions 7,
        with_keep_for keep_for second,
        with_serve_stale_for serve_stale_for second,
        with_refresh_before refresh_before second,
        with_retry_every retry_every second,
        with_call_limit call_limit second,
    );
    let errors = UnwrapCacheOptions::default().with_remembered_errors(7, second);
    let mut expected = UnwrapCacheOptions::default();
    (expected.remembered_errors, expected.remember_errors_for) = (7, second);
    assert_eq!(errors, expected);
}

#[test]
fn the_defaults_keep_the_rules() {
    let limits = DekLimits::default();
    // SP 800-38D, section 8.3, and a reserve for a process that is copied.
    assert!(limits.max_messages <= 1 << 32);
    assert!(limits.max_messages.checked_mul(1 << 8).unwrap() <= 1 << 32);
    assert!(limits.refresh_before < limits.max_age);
    assert!(limits.retry_every < limits.refresh_before);
    assert!(limits.call_limit < limits.refresh_before);
    let options = UnwrapCacheOptions::default();
    assert!(options.refresh_before < options.keep_for);
    assert!(options.retry_every < options.refresh_before);
    assert!(options.call_limit < options.refresh_before);
    assert!(options.remember_errors_for <= options.retry_every);
    // What the documentation of `kms_envelope::cache` says.
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!(
        (limits.max_age, limits.max_messages, limits.max_bytes),
        (minutes(10), 1 << 24, 64 << 30)
    );
    assert_eq!(
        (options.keep_for, options.serve_stale_for),
        (minutes(10), minutes(60))
    );
}

#[test]
fn context_and_aad_do_not_run_into_each_other() {
    let contexts = [
        context(&[]),
        context(&[("a", "bc")]),
        context(&[("ab", "c")]),
        context(&[("a", "b"), ("c", "")]),
        context(&[("a", ""), ("b", "c")]),
    ];
    let digests: BTreeSet<_> = contexts
        .iter()
        .map(|context| *ContextDigest::new(&RingBackend, context).as_bytes())
        .collect();
    assert_eq!(digests.len(), contexts.len());

    let provider = Arc::new(StaticProvider::generate().unwrap());
    let envelope = envelope(provider);
    for (sealed_for, aad) in contexts.iter().zip([&b"de"[..], b"d", b"", b"cd", b"bc"]) {
        let sealed = now(envelope.seal(&Purpose::new(sealed_for.clone()), aad, b"x")).unwrap();
        for other in &contexts {
            for other_aad in [&b"de"[..], b"d", b"", b"cd", b"bc"] {
                let opened = now(envelope.open(&Purpose::new(other.clone()), other_aad, &sealed));
                assert_eq!(opened.is_ok(), (other, other_aad) == (sealed_for, aad));
            }
        }
    }
}

fn envelope(provider: Arc<dyn KeyProvider>) -> Envelope {
    Envelope::builder(Arc::new(ManualClock::new()))
        .recipient("main", provider)
        .build()
        .unwrap()
}

#[test]
fn who_waits_holds_no_thread() {
    let keys = Arc::new(StaticProvider::generate().unwrap());
    let slow = FaultProvider::new(Arc::clone(&keys), Arc::new(ManualClock::new()));
    let slow = Arc::new(slow);
    let writer = envelope(keys);
    let (one, two) = (
        Purpose::new(context(&[("table", "one")])),
        Purpose::new(context(&[("table", "two")])),
    );
    let messages = [&one, &two].map(|purpose| now(writer.seal(purpose, b"", b"x")).unwrap());
    let reader = envelope(slow.clone());
    slow.script(Operation::Unwrap, [Outcome::Hang]);
    let mut waiting = Box::pin(reader.open(&one, b"", &messages[0]));
    // On this one thread, of which the first keeps nothing.
    assert!((&mut waiting).now_or_never().is_none());
    let opened = now(reader.open(&two, b"", &messages[1])).unwrap();
    assert_eq!(opened.expose(), b"x");
    assert!((&mut waiting).now_or_never().is_none());
}

#[test]
fn rewrapping_keeps_context_and_aad() {
    let keys = Arc::new(StaticProvider::generate().unwrap());
    let envelope_then = envelope(keys.clone());
    let purpose = Purpose::new(context(&[("table", "users")]));
    let sealed = now(envelope_then.seal(&purpose, b"row 7", b"x")).unwrap();
    keys.rotate().unwrap();
    let rewrapped = now(envelope_then.rewrap(&purpose, &sealed)).unwrap();
    assert_ne!(rewrapped, sealed);

    let reader = envelope(keys);
    let other = Purpose::new(context(&[("table", "orders")]));
    for (purpose, aad, opens) in [
        (&purpose, &b"row 7"[..], true),
        (&purpose, b"row 8", false),
        (&purpose, b"", false),
        (&other, b"row 7", false),
    ] {
        assert_eq!(now(reader.open(purpose, aad, &rewrapped)).is_ok(), opens);
    }
    assert!(now(reader.rewrap(&other, &sealed)).is_err());
}

#[test]
fn what_to_do_about_an_error_is_no_matter_of_text() {
    let keys = Arc::new(StaticProvider::generate().unwrap());
    let faulty = FaultProvider::new(keys, Arc::new(ManualClock::new()));
    let faulty = Arc::new(faulty);
    let envelope = envelope(faulty.clone());
    let purpose = Purpose::new(EncryptionContext::new());
    for (kind, retryable) in [
        (kms_core::ErrorKind::Unavailable, true),
        (kms_core::ErrorKind::Throttled, true),
        (kms_core::ErrorKind::KeyDisabled, false),
        (kms_core::ErrorKind::PermissionDenied, false),
    ] {
        faulty.script(Operation::Wrap, [Outcome::Fail(kind)]);
        let error = now(envelope.seal(&purpose, b"", b"x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Provider);
        assert_eq!(error.is_retryable(), retryable, "{kind:?}");
    }
}

#[test]
fn a_key_id_finds_a_key_and_is_bound_all_the_same() {
    let material = material(vec![9; 40]);
    let message = seal(&material, b"");
    let at = message
        .windows(5)
        .position(|bytes| bytes == b"kek/1")
        .unwrap();
    let mut renamed = message.clone();
    renamed[at + 4] = b'2';
    let recipient = inspect(&renamed).unwrap().recipients().next().unwrap();
    assert_eq!(recipient.key_id(), "kek/2");
    // The DEK is at hand, whatever the key id says.
    let error = material.dek().open(&renamed, material.context(), b"");
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Crypto);
    assert!(
        material
            .dek()
            .open(&message, material.context(), b"")
            .is_ok()
    );
}

/// A DEK remembers a list of recipients that was genuine: that is no way around the MAC.
#[test]
fn a_remembered_list_of_recipients_vouches_for_no_other() {
    for wrapped_len in [40, 5000] {
        let material = material(vec![9; wrapped_len]);
        let message = seal(&material, b"");
        let preamble_len = inspect(&message).unwrap().preamble_len();
        let reader = Dek::new(Arc::new(RingBackend), SecretBytes::from_vec(vec![7; 32])).unwrap();
        let other = self::material(vec![8; wrapped_len]);
        let rewrapped = reader.rewrap(&message, other.recipients_block()).unwrap();
        for dek in [&reader, material.dek()] {
            for genuine in [&message, &rewrapped, &message] {
                assert!(dek.open(genuine, material.context(), b"").is_ok());
            }
            let ends = (HEADER_LEN..HEADER_LEN + 40).chain(preamble_len - 34..preamble_len);
            for at in ends {
                for genuine in [&message, &rewrapped] {
                    let mut changed = genuine.clone();
                    changed[at] ^= 1;
                    assert!(dek.open(&changed, material.context(), b"").is_err(), "{at}");
                }
            }
            // The list of one with the MAC of the other.
            let mut mixed = message.clone();
            mixed[preamble_len - 32..preamble_len]
                .copy_from_slice(&rewrapped[preamble_len - 32..preamble_len]);
            let error = dek.open(&mixed, material.context(), b"").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Crypto);
        }
    }
}
