//! The envelope over real providers: who can open what, and what that costs in calls.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use kms_core::{
    CallOptions, Capabilities, ContextSupport, EncryptionContext, KeyInfo, KeyProvider, OsRandom,
    SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_envelope::cache::{DekLimits, Partition};
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

/// A region that is down is asked when nobody else has answered yet, and not for every message.
#[test]
fn a_region_that_is_down_costs_one_call_while_another_has_the_dek() {
    let ((_, east), (_, west)) = (provider(), provider());
    let both = || envelope(&[("east", &east), ("west", &west)]);
    let sealed = now(both().seal(&users(), b"", PLAINTEXT)).unwrap();
    let reader = both();
    east.set_error_rate(Operation::Unwrap, 1000, kms_core::ErrorKind::Unavailable);
    for _ in 0..10 {
        let opened = now(reader.open(&users(), b"", &sealed)).unwrap();
        assert_eq!(opened.expose(), PLAINTEXT);
    }
    assert_eq!(east.calls(Operation::Unwrap), 1);
    assert_eq!(west.calls(Operation::Unwrap), 1);
    // What is cached serves those who may have it, and nobody else.
    let tenant = users().with_partition(Partition::new("acme").unwrap());
    now(reader.open(&tenant, b"", &sealed)).unwrap();
    assert_eq!(east.calls(Operation::Unwrap), 2);
}

#[test]
fn a_plaintext_over_the_deks_limit_is_refused_before_any_call() {
    let (_, provider) = provider();
    let envelope = Envelope::builder(Arc::new(ManualClock::new()))
        .recipient("main", Arc::clone(&provider) as Arc<dyn KeyProvider>)
        .dek_limits(DekLimits::default().with_max_bytes(16))
        .build()
        .unwrap();
    let size = ChunkSize::MIN;
    for over in [
        now(envelope.seal(&users(), b"", &[7; 17])).err(),
        now(envelope.seal_in_place(&users(), b"", &mut vec![7; 17])).err(),
        now(envelope.seal_stream(&users(), b"", size, 17)).err(),
    ] {
        assert_eq!(over.unwrap().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(provider.calls(Operation::Wrap), 0);
    assert!(now(envelope.seal(&users(), b"", &[7; 16])).is_ok());
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
    envelope.purge_key(&first.parse().unwrap());
    now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    assert_eq!(provider.calls(Operation::Wrap), wraps, "another key's");
    envelope.purge_key(&second.parse().unwrap());
    now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    assert_eq!(provider.calls(Operation::Wrap), wraps + 1);
}

fn keys_of(message: &[u8]) -> Vec<String> {
    let recipients = inspect(message).unwrap().recipients();
    recipients
        .map(|recipient| recipient.key_id().to_owned())
        .collect()
}

/// In one region of two, and before it was ever asked for its key.
#[test]
fn a_rotation_in_one_region_is_followed_while_the_old_dek_goes_on() {
    let ((east_keys, east), (_, west)) = (provider(), provider());
    let envelope = envelope(&[("east", &east), ("west", &west)]);
    let seal = || now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    let first = keys_of(&seal());
    now(envelope.refresh()).unwrap();
    assert_eq!(keys_of(&seal()), first);

    east_keys.rotate().unwrap();
    now(envelope.refresh()).unwrap();
    // A region that is down holds nobody up who has a DEK.
    west.script(
        Operation::Wrap,
        [Outcome::Fail(kms_core::ErrorKind::Unavailable)],
    );
    assert_eq!(keys_of(&seal()), first);

    // One that does not say its key hides no other's rotation.
    let envelope = self::envelope(&[("east", &east), ("west", &west)]);
    let seal = || now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    let second = keys_of(&seal());
    east_keys.rotate().unwrap();
    west.script(
        Operation::CurrentKey,
        [Outcome::Fail(kms_core::ErrorKind::Unavailable)],
    );
    let error = now(envelope.refresh()).unwrap_err();
    assert!(
        error.is_retryable() && error.message().contains("west"),
        "{error}"
    );
    assert_eq!(keys_of(&seal()), second);
    let third = keys_of(&seal());
    assert!(third[0] != second[0] && third[1] == second[1], "{third:?}");
    let wraps = east.calls(Operation::Wrap);
    for _ in 0..3 {
        now(envelope.refresh()).unwrap();
        seal();
    }
    assert_eq!(east.calls(Operation::Wrap), wraps, "nothing to follow");
}

/// A refresh while a DEK is being made does not throw it away.
#[test]
fn who_waits_for_a_dek_is_not_set_back_by_a_refresh() {
    let clock = ManualClock::new();
    let slow = |keys| {
        let slow = FaultProvider::new(keys, Arc::new(clock.clone()));
        slow.set_latency(Operation::Wrap, Duration::from_secs(2));
        Arc::new(slow)
    };
    let ((keys, _), (_, west)) = (provider(), provider());
    let east: Counted = slow(keys);
    let envelope = envelope(&[("east", &east), ("west", &west)]);
    let (users, orders) = (users(), Purpose::new(EncryptionContext::new()));
    clock
        .run(envelope.seal(&orders, b"", PLAINTEXT))
        .unwrap()
        .unwrap();
    let mut sealing = Box::pin(envelope.seal(&users, b"", PLAINTEXT));
    assert!((&mut sealing).now_or_never().is_none());
    now(envelope.refresh()).unwrap();
    clock.run(sealing).unwrap().unwrap();
    assert_eq!(east.calls(Operation::Wrap), 2);
}

#[test]
fn a_seal_with_a_live_dek_waits_for_nobody() {
    let (_, provider) = provider();
    let envelope = envelope(&[("main", &provider)]);
    now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    let purpose = users();
    // Somebody else's DEK is being made, and opened, and that hangs.
    provider.script(Operation::Wrap, [Outcome::Hang]);
    provider.script(Operation::Unwrap, [Outcome::Hang]);
    let orders = Purpose::new(EncryptionContext::new());
    let sealed = now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    let mut sealing = Box::pin(envelope.seal(&orders, b"", PLAINTEXT));
    assert!((&mut sealing).now_or_never().is_none());
    let mut opening = Box::pin(envelope.open(&purpose, b"", &sealed));
    assert!((&mut opening).now_or_never().is_none());
    let calls = provider.calls(Operation::Wrap);
    for _ in 0..100 {
        now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    }
    assert_eq!(provider.calls(Operation::Wrap), calls);
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
    let (keys, provider) = provider();
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

    // Rewrapping a stream takes its preamble alone, and gives another for the same body.
    keys.rotate().unwrap();
    let rewrapped = now(envelope.rewrap(&users(), &preamble)).unwrap();
    assert_ne!(rewrapped, preamble);
    assert_eq!(inspect(&rewrapped).unwrap().preamble_len(), rewrapped.len());
    let opener = now(envelope.open_stream(&users(), b"file", &rewrapped)).unwrap();
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
    let crowded = |count: usize| {
        let ids = (0..count).map(|at| format!("region-{at}"));
        ids.fold(builder(), |builder, id| builder.recipient(id, main()))
    };
    assert!(crowded(16).build().is_ok());
    let longest = "a".repeat(64);
    for (id, fits) in [
        ("", false),
        ("Main", false),
        (&longest, true),
        (&(longest.clone() + "a"), false),
    ] {
        let built = builder().recipient(id, main()).build();
        assert_eq!(
            built.map_err(|error| error.kind()).err(),
            (!fits).then_some(ErrorKind::Config)
        );
    }
    assert_eq!(crowded(17).build().unwrap_err().kind(), ErrorKind::Config);
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

/// A provider of which one thing is otherwise.
#[derive(Debug)]
struct Odd {
    keys: Arc<StaticProvider>,
    capabilities: Capabilities,
    current: Option<KeyInfo>,
    /// The contexts that it was given, to wrap and to unwrap with. It binds none of them.
    contexts: Contexts,
}

type Contexts = Arc<Mutex<Vec<EncryptionContext>>>;

impl std::fmt::Display for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("odd")
    }
}

#[async_trait]
impl KeyProvider for Odd {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, kms_core::Error> {
        match &self.current {
            Some(key) => Ok(key.clone()),
            None => self.keys.current_key(options).await,
        }
    }

    async fn wrap(
        &self,
        dek: &SecretBytes,
        options: &WrapOptions,
    ) -> Result<WrappedKey, kms_core::Error> {
        self.contexts.lock().unwrap().push(options.context.clone());
        self.keys.wrap(dek, &WrapOptions::default()).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, kms_core::Error> {
        self.contexts.lock().unwrap().push(options.context.clone());
        self.keys.unwrap(wrapped, &UnwrapOptions::default()).await
    }
}

fn odd(change: impl FnOnce(&mut Odd)) -> Result<Envelope, kms_envelope::Error> {
    let (keys, _) = provider();
    let mut odd = Odd {
        capabilities: keys.capabilities(),
        keys,
        current: None,
        contexts: Contexts::default(),
    };
    change(&mut odd);
    Envelope::builder(Arc::new(ManualClock::new()))
        .recipient("main", Arc::new(odd) as Arc<dyn KeyProvider>)
        .build()
}

#[test]
fn a_recipient_has_to_wrap_and_as_much_as_a_dek() {
    let built = |wraps, len| {
        odd(|odd| {
            let basic = Capabilities::basic();
            odd.capabilities = basic.with_wraps(wraps).with_max_plaintext_len(len);
        })
    };
    assert!(built(true, 32).is_ok());
    for (wraps, len) in [(false, 32), (false, 4096), (true, 31), (true, 0)] {
        let error = built(wraps, len).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`main`"), "{error}");
    }
}

#[test]
fn the_version_that_a_message_shows_is_that_of_the_key_it_is_under() {
    for (is_under, shown) in [(true, Some("v7")), (false, None)] {
        let envelope = odd(|odd| {
            let key = now(odd.keys.current_key(&CallOptions::default())).unwrap();
            let id = match is_under {
                true => key.id,
                false => "another".parse().unwrap(),
            };
            odd.current = Some(KeyInfo::new(id, key.state).with_version("v7"));
        })
        .unwrap();
        let message = now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
        let recipient = inspect(&message).unwrap().recipients().next().unwrap();
        assert_eq!(recipient.key_version(), shown);
    }
}

#[test]
fn a_context_is_given_to_a_provider_that_binds_it_and_to_no_other() {
    for (support, given) in [
        (ContextSupport::Native, users().context().clone()),
        (ContextSupport::None, EncryptionContext::new()),
    ] {
        let mut contexts = Contexts::default();
        let envelope = odd(|odd| {
            odd.capabilities = odd.capabilities.with_context(support);
            contexts = Arc::clone(&odd.contexts);
        })
        .unwrap();
        let message = now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
        now(envelope.open(&users(), b"", &message)).unwrap();
        assert_eq!(*contexts.lock().unwrap(), [given.clone(), given]);
    }
}

#[test]
fn the_first_provider_that_fails_is_the_one_that_is_named() {
    let ((_, east), (_, west)) = (provider(), provider());
    let envelope = envelope(&[("east", &east), ("west", &west)]);
    for region in [&east, &west] {
        region.script(
            Operation::CurrentKey,
            [Outcome::Fail(kms_core::ErrorKind::Unavailable)],
        );
    }
    let error = now(envelope.refresh()).unwrap_err();
    assert!(error.message().contains("east"), "{error}");
}

#[test]
fn what_the_caches_did_is_told_by_provider() {
    let ((_, east), (_, west)) = (provider(), provider());
    let envelope = envelope(&[("east", &east), ("west", &west)]);
    let message = now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    now(envelope.seal(&users(), b"", PLAINTEXT)).unwrap();
    let sealing = envelope.seal_stats();
    assert_eq!((sealing.hits, sealing.misses), (1, 1));
    for _ in 0..3 {
        now(envelope.open(&users(), b"", &message)).unwrap();
    }
    let opening: Vec<_> = envelope
        .open_stats()
        .map(|(name, stats)| (name, stats.hits, stats.misses))
        .collect();
    assert_eq!(opening, [("east", 2, 1), ("west", 0, 0)]);
}

#[test]
fn an_envelope_and_its_builder_show_what_they_are_made_of() {
    let (_, east) = provider();
    let builder = Envelope::builder(Arc::new(ManualClock::new()))
        .recipient("east", Arc::clone(&east) as Arc<dyn KeyProvider>);
    let shown = format!("{builder:?}");
    assert!(
        shown.contains("east") && shown.contains("limits"),
        "{shown}"
    );
    let shown = format!("{:?}", builder.build().unwrap());
    assert!(shown.contains("east") && shown.contains("suite"), "{shown}");
}

#[test]
fn a_region_that_is_down_says_more_than_one_that_refuses() {
    let ((_, east), (_, west)) = (provider(), provider());
    let sealed =
        now(envelope(&[("east", &east), ("west", &west)]).seal(&users(), b"", PLAINTEXT)).unwrap();
    for (down, refuses, named) in [(&east, &west, "east"), (&west, &east, "west")] {
        let cold = envelope(&[("east", &east), ("west", &west)]);
        down.script(
            Operation::Unwrap,
            [Outcome::Fail(kms_core::ErrorKind::Unavailable)],
        );
        refuses.script(
            Operation::Unwrap,
            [Outcome::Fail(kms_core::ErrorKind::PermissionDenied)],
        );
        let error = now(cold.open(&users(), b"", &sealed)).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(error.message().contains(named), "{error}");
    }
}
