//! The envelope over real providers: who can open what, and what that costs in calls.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use kms_core::{EncryptionContext, KeyProvider, OsRandom, SecretBytes, WrapOptions};
use kms_envelope::cache::Partition;
use kms_envelope::crypto::RingBackend;
use kms_envelope::sealed::stream::{OpenReader, SealWriter, read_preamble};
use kms_envelope::sealed::{ChunkSize, ContextDigest, Dek, DekMaterial, Recipient, Suite, inspect};
use kms_envelope::{Envelope, ErrorKind, Purpose};
use kms_testkit::{FaultProvider, ManualClock, Operation, Outcome, StaticProvider};

use crate::now;

const PLAINTEXT: &[u8] = b"alice@example.com";

type Counted = Arc<FaultProvider<Arc<StaticProvider>>>;

fn provider() -> (Arc<StaticProvider>, Counted) {
    let keys = Arc::new(StaticProvider::generate().unwrap());
    let counted = FaultProvider::new(Arc::clone(&keys), Arc::new(ManualClock::new()));
    (keys, Arc::new(counted))
}

fn envelope(recipients: &[(&str, &Counted)]) -> Envelope {
    let mut builder = Envelope::builder(Arc::new(ManualClock::new()));
    for (id, provider) in recipients {
        builder = builder.recipient(*id, Arc::clone(provider) as Arc<dyn KeyProvider>);
    }
    builder.build().unwrap()
}

fn users() -> Purpose {
    Purpose::new(EncryptionContext::new().with("table", "users").unwrap())
}

#[test]
fn one_wrap_and_one_unwrap_serve_many_messages() {
    let (_, provider) = provider();
    let envelope = envelope(&[("main", &provider)]);
    let messages: Vec<_> = (0..100_u32)
        .map(|n| now(envelope.seal(&users(), &n.to_be_bytes(), PLAINTEXT)).unwrap())
        .collect();
    for (n, message) in (0..100_u32).zip(&messages) {
        let opened = now(envelope.open(&users(), &n.to_be_bytes(), message)).unwrap();
        assert_eq!(opened.expose(), PLAINTEXT);
        let moved = now(envelope.open(&users(), &(n + 1).to_be_bytes(), message)).unwrap_err();
        assert_eq!(moved.kind(), ErrorKind::Crypto);
    }
    assert_eq!(provider.calls(Operation::Wrap), 1);
    assert_eq!(provider.calls(Operation::Unwrap), 1);
}

#[test]
fn each_recipient_opens_alone_and_a_region_may_be_down() {
    let ((_, east), (_, west)) = (provider(), provider());
    let sealed =
        now(envelope(&[("east", &east), ("west", &west)]).seal(&users(), b"", PLAINTEXT)).unwrap();
    for alone in [envelope(&[("east", &east)]), envelope(&[("west", &west)])] {
        assert_eq!(
            now(alone.open(&users(), b"", &sealed)).unwrap().expose(),
            PLAINTEXT
        );
    }
    let both = envelope(&[("east", &east), ("west", &west)]);
    east.script(
        Operation::Unwrap,
        [Outcome::Fail(kms_core::ErrorKind::Unavailable)],
    );
    assert_eq!(
        now(both.open(&users(), b"", &sealed)).unwrap().expose(),
        PLAINTEXT
    );

    // Both down: worth another try, and said so.
    let both = envelope(&[("east", &east), ("west", &west)]);
    for region in [&east, &west] {
        region.script(
            Operation::Unwrap,
            [Outcome::Fail(kms_core::ErrorKind::Unavailable)],
        );
    }
    assert!(
        now(both.open(&users(), b"", &sealed))
            .unwrap_err()
            .is_retryable()
    );

    let stranger = now(envelope(&[("north", &east)]).open(&users(), b"", &sealed)).unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::NoMatchingProvider);
    assert!(stranger.message().contains("`east`, `west`"), "{stranger}");
}

#[test]
fn another_context_is_refused_before_any_call() {
    let (_, provider) = provider();
    let sealer = envelope(&[("main", &provider)]);
    let sealed = now(sealer.seal(&users(), b"", PLAINTEXT)).unwrap();
    let fresh = envelope(&[("main", &provider)]);
    let other = Purpose::new(EncryptionContext::new().with("table", "orders").unwrap());
    assert_eq!(
        now(fresh.open(&other, b"", &sealed)).unwrap_err().kind(),
        ErrorKind::Crypto
    );
    assert_eq!(provider.calls(Operation::Unwrap), 0);
    // A partition is no part of what is sealed.
    let tenant = users().with_partition(Partition::new("acme").unwrap());
    assert_eq!(
        now(fresh.open(&tenant, b"", &sealed)).unwrap().expose(),
        PLAINTEXT
    );
}

#[test]
fn a_rewrapped_message_needs_the_new_key_alone() {
    let (keys, provider) = provider();
    let envelope_then = envelope(&[("main", &provider)]);
    let sealed = now(envelope_then.seal(&users(), b"", PLAINTEXT)).unwrap();
    let old = inspect(&sealed)
        .unwrap()
        .recipients()
        .next()
        .unwrap()
        .key_id()
        .to_owned();

    keys.rotate().unwrap();
    let rewrapped = now(envelope_then.rewrap(&users(), &sealed)).unwrap();
    let new = inspect(&rewrapped)
        .unwrap()
        .recipients()
        .next()
        .unwrap()
        .key_id()
        .to_owned();
    assert_ne!(new, old);
    let body = |message: &[u8]| message[inspect(message).unwrap().preamble_len()..].to_vec();
    assert_eq!(body(&rewrapped), body(&sealed), "the payload is untouched");
    assert_eq!(rewrapped[..104], sealed[..104], "and so is the header");

    keys.remove(&old.parse().unwrap()).unwrap();
    let fresh = envelope(&[("main", &provider)]);
    assert_eq!(
        now(fresh.open(&users(), b"", &rewrapped)).unwrap().expose(),
        PLAINTEXT
    );
    assert!(now(fresh.open(&users(), b"", &sealed)).is_err());

    // The recipients are authenticated: nobody adds one without the DEK.
    let mut forged = rewrapped;
    forged[104 + 6 + 1] ^= 1;
    assert!(now(fresh.rewrap(&users(), &forged)).is_err());
}

#[test]
fn a_rotation_that_is_noted_makes_a_new_dek_and_a_purge_makes_one_at_once() {
    let (keys, provider) = provider();
    let envelope = envelope(&[("main", &provider)]);
    let key_of = |message: &[u8]| {
        inspect(message)
            .unwrap()
            .recipients()
            .next()
            .unwrap()
            .key_id()
            .to_owned()
    };
    now(envelope.refresh()).unwrap();
    let first = key_of(&now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap());
    keys.rotate().unwrap();
    assert_eq!(
        key_of(&now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap()),
        first
    );
    now(envelope.refresh()).unwrap();
    // Whoever sees first that a new DEK is due makes it; the message at hand has its DEK already.
    now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    let second = key_of(&now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap());
    assert_ne!(second, first);

    let wraps = provider.calls(Operation::Wrap);
    envelope.purge_key(&second.parse().unwrap());
    now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    assert_eq!(provider.calls(Operation::Wrap), wraps + 1);
}

#[test]
fn in_place_is_the_same_as_by_copy() {
    let (_, provider) = provider();
    for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
        let envelope = Envelope::builder(Arc::new(ManualClock::new()))
            .recipient("main", Arc::clone(&provider) as Arc<dyn KeyProvider>)
            .suite(suite)
            .build()
            .unwrap();
        let overhead = now(envelope.seal_overhead(&users())).unwrap();
        let mut message = PLAINTEXT.to_vec();
        now(envelope.seal_in_place(&users(), b"aad", &mut message)).unwrap();
        assert_eq!(message.len(), PLAINTEXT.len() + overhead);
        assert_eq!(
            now(envelope.open(&users(), b"aad", &message))
                .unwrap()
                .expose(),
            PLAINTEXT
        );
        let opened = now(envelope.open_in_place(&users(), b"aad", &mut message)).unwrap();
        assert_eq!(opened, PLAINTEXT);
    }
}

#[test]
fn a_stream_goes_through() {
    let (_, provider) = provider();
    let envelope = envelope(&[("main", &provider)]);
    let plaintext: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    let size = ChunkSize::from_exponent(16).unwrap();
    let sealer = now(envelope.seal_stream(&users(), b"file", size, 200_000)).unwrap();
    let mut writer = SealWriter::new(Vec::new(), sealer);
    writer.write_all(&plaintext).unwrap();
    let sealed = writer.finish().unwrap();

    let mut source = &sealed[..];
    let preamble = read_preamble(&mut source).unwrap();
    let opener = now(envelope.open_stream(&users(), b"file", &preamble)).unwrap();
    let mut opened = Vec::new();
    OpenReader::new(source, opener)
        .read_to_end(&mut opened)
        .unwrap();
    assert_eq!(opened, plaintext);

    let opener = now(envelope.open_stream(&users(), b"file", &preamble)).unwrap();
    let cut = &source[..source.len() - 1];
    assert!(
        OpenReader::new(cut, opener)
            .read_to_end(&mut Vec::new())
            .is_err()
    );
}

#[test]
fn an_envelope_that_cannot_work_is_not_built() {
    let (_, provider) = provider();
    let builder = || Envelope::builder(Arc::new(ManualClock::new()));
    let main = || Arc::clone(&provider) as Arc<dyn KeyProvider>;
    for bad in [
        builder(),
        builder()
            .recipient("main", main())
            .recipient("main", main()),
    ] {
        assert_eq!(bad.build().unwrap_err().kind(), ErrorKind::Config);
    }
    let unnameable = builder().recipient("Main!", main()).build().unwrap();
    assert!(now(unnameable.seal(&users(), b"", PLAINTEXT)).is_err());
}

#[test]
fn a_dek_of_another_length_does_not_open() {
    let (keys, provider) = provider();
    let short = SecretBytes::from_vec(vec![7; 31]);
    let wrapped = now(keys.wrap(&short, &WrapOptions::default())).unwrap();
    let recipient = Recipient::new("main", wrapped).unwrap();
    let secret = SecretBytes::from_vec(vec![7; 32]);
    let dek = Dek::new(Arc::new(RingBackend), secret).unwrap();
    let digest = ContextDigest::new(&RingBackend, users().context());
    let message = DekMaterial::new(dek, digest, &[recipient])
        .unwrap()
        .seal(Suite::Aes256Gcm, &OsRandom, b"", PLAINTEXT)
        .unwrap();
    let envelope = envelope(&[("main", &provider)]);
    for _ in 0..3 {
        let error = now(envelope.open(&users(), b"", &message)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Crypto);
    }
    // Refused for good, so it is not asked for each time.
    assert_eq!(provider.calls(Operation::Unwrap), 1);
}
