//! The table of failures in the documentation of the server, row by row.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Error, ErrorKind, KeyInfo, KeyProvider, SecretBytes, UnwrapOptions,
    WrapOptions, WrappedKey,
};
use kms_plugin::client::{ClientOptions, V2Client};
use kms_plugin::health::HealthState;
use kms_plugin::server::Plugin;
use kms_testkit::{ManualClock, Operation, Outcome, StaticProvider};

use crate::support::{Served, current, dek, eventually, ms, provider, quick, still, unwell, well};

#[tokio::test]
async fn status_waits_for_the_first_answer_and_then_agrees_with_encrypt() {
    let provider = provider();
    provider.set_latency(Operation::CurrentKey, ms(100));
    let served = Served::new(still(provider.clone())).await;
    assert_eq!(served.plugin.health().state, HealthState::Starting);
    let client = served.client();
    let id = current(&client).await.unwrap();
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    assert_eq!(wrapped.key_id(), Some(&id));
    assert_eq!(
        client.unwrap(&wrapped, &Default::default()).await.unwrap(),
        dek()
    );
    let health = served.plugin.health();
    assert!(health.is_ready() && health.live, "{health}");
    assert_eq!(health.key_id, Some(id));
    // From memory: Status has asked the provider nothing.
    for _ in 0..20 {
        current(&client).await.unwrap();
    }
    assert_eq!(provider.calls(Operation::CurrentKey), 1);
}

#[tokio::test]
async fn down_at_the_start_then_up() {
    let provider = provider();
    provider.set_error_rate(Operation::CurrentKey, 1000, ErrorKind::PermissionDenied);
    let served = Served::new(quick(provider.clone())).await;
    let client = served.client();
    let error = unwell(&client, ErrorKind::PermissionDenied).await;
    assert!(error.message().contains("injected fault"), "{error}");
    let refused = client.wrap(&dek(), &Default::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert_eq!(served.plugin.health().state, HealthState::Starting);
    provider.set_error_rate(Operation::CurrentKey, 0, ErrorKind::PermissionDenied);
    well(&client).await;
    assert!(served.plugin.health().is_ready());
}

#[tokio::test]
async fn a_key_that_cannot_be_proven_is_never_ok() {
    for (operation, outcome) in [
        (Operation::Wrap, Outcome::Fail(ErrorKind::PermissionDenied)),
        (Operation::Wrap, Outcome::FlippedByte),
        (Operation::Wrap, Outcome::WrongKeyId),
        (
            Operation::Unwrap,
            Outcome::Fail(ErrorKind::PermissionDenied),
        ),
        (Operation::Unwrap, Outcome::FlippedByte),
        (Operation::CurrentKey, Outcome::WrongKeyId),
    ] {
        let provider = provider();
        provider.script(operation, std::iter::repeat_n(outcome.clone(), 3));
        let served = Served::new(still(provider.clone())).await;
        let refused = current(&served.client()).await;
        assert!(refused.is_err(), "{operation:?} {outcome:?}: {refused:?}");
        assert_eq!(served.plugin.health().state, HealthState::Starting);
    }
}

#[tokio::test]
async fn a_passing_fault_is_not_said_at_once_and_a_lasting_one_becomes_an_error() {
    let provider = provider();
    let clock = ManualClock::new();
    let builder = Plugin::builder(provider.clone()).clock(Arc::new(clock.clone()));
    let served = Served::new(builder).await;
    let client = served.client();
    let id = well(&client).await;
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    client.unwrap(&wrapped, &Default::default()).await.unwrap();
    for operation in [Operation::CurrentKey, Operation::Wrap, Operation::Unwrap] {
        provider.set_error_rate(operation, 1000, ErrorKind::Unavailable);
    }
    clock.advance(Duration::from_secs(30));
    let health = eventually("a failure is seen", || async {
        let health = served.plugin.health();
        health.last_error.is_some().then_some(health)
    })
    .await;
    assert_eq!(health.state, HealthState::Ready);
    clock.advance(Duration::from_secs(30));
    assert_eq!(current(&client).await.unwrap(), id);
    // Text first, with the key still named; then an error.
    clock.advance(Duration::from_secs(1));
    let text = current(&client).await.unwrap_err();
    assert_eq!(text.kind(), ErrorKind::Unavailable);
    assert_eq!(text.key_id(), Some(&id), "{text}");
    assert_eq!(served.plugin.health().state, HealthState::Degraded);
    clock.advance(Duration::from_secs(119));
    let text = current(&client).await.unwrap_err();
    assert_eq!(text.key_id(), Some(&id), "{text}");
    clock.advance(Duration::from_secs(1));
    let error = current(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.key_id(), None, "{error}");
    assert_eq!(served.plugin.health().state, HealthState::Failing);
    // What was unwrapped is still there.
    let kept = client.unwrap(&wrapped, &Default::default()).await.unwrap();
    assert_eq!(kept, dek());
    for operation in [Operation::CurrentKey, Operation::Wrap, Operation::Unwrap] {
        provider.set_error_rate(operation, 0, ErrorKind::Unavailable);
    }
    eventually("the plugin looks again, and is well", || async {
        clock.advance(Duration::from_secs(5));
        current(&client).await.ok().filter(|now| *now == id)
    })
    .await;
}

#[tokio::test]
async fn a_lasting_fault_is_said_at_once_and_empties_the_cache() {
    let provider = provider();
    let served = Served::new(quick(provider.clone())).await;
    let client = served.client();
    let id = well(&client).await;
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    client.unwrap(&wrapped, &Default::default()).await.unwrap();
    provider.set_error_rate(Operation::CurrentKey, 1000, ErrorKind::PermissionDenied);
    provider.set_error_rate(Operation::Unwrap, 1000, ErrorKind::PermissionDenied);
    let error = unwell(&client, ErrorKind::Unavailable).await;
    assert_eq!(error.key_id(), Some(&id));
    assert!(error.message().contains("grant the identity"), "{error}");
    assert_eq!(served.plugin.health().state, HealthState::Degraded);
    let refused = client.unwrap(&wrapped, &Default::default()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_new_key_is_taken_over_in_the_background() {
    let provider = provider();
    let served = Served::new(quick(provider.clone())).await;
    let client = served.client();
    let old = well(&client).await;
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    let new = provider.inner().rotate().unwrap();
    eventually("Status names the new key", || async {
        (current(&client).await.unwrap() == new).then_some(())
    })
    .await;
    let again = client.wrap(&dek(), &Default::default()).await.unwrap();
    assert_eq!(again.key_id(), Some(&new));
    assert_eq!(wrapped.key_id(), Some(&old));
    let opened = client.unwrap(&wrapped, &Default::default()).await.unwrap();
    assert_eq!(opened, dek());
}

#[tokio::test]
async fn encrypt_never_answers_under_a_key_that_status_does_not_name() {
    let provider = provider();
    let served = Served::new(still(provider.clone())).await;
    let client = served.client();
    well(&client).await;
    for _ in 0..5 {
        let new = provider.inner().rotate().unwrap();
        let calls = (0..16).map(|_| async {
            let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
            wrapped.key_id().cloned()
        });
        for id in futures_util::future::join_all(calls).await {
            assert_eq!(id.as_ref(), Some(&new));
        }
        assert_eq!(current(&client).await.unwrap(), new);
    }
    // One look at the start and one for each change, however many asked.
    assert_eq!(provider.calls(Operation::CurrentKey), 6);
}

#[tokio::test]
async fn a_replaced_key_id_does_not_come_back() {
    let provider = provider();
    let served = Served::new(quick(provider.clone())).await;
    let client = served.client();
    let old = well(&client).await;
    let new = provider.inner().rotate().unwrap();
    eventually("Status names the new key", || async {
        (current(&client).await.unwrap() == new).then_some(())
    })
    .await;
    provider.inner().make_current(&old).unwrap();
    let error = unwell(&client, ErrorKind::Unavailable).await;
    assert_eq!(error.key_id(), Some(&new), "{error}");
    assert!(error.message().contains("went back"), "{error}");
    let refused = client.wrap(&dek(), &Default::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Protocol);
    let health = served.plugin.health();
    assert_eq!(health.state, HealthState::Degraded);
    assert_eq!(health.key_id, Some(new.clone()));
    provider.inner().make_current(&new).unwrap();
    assert_eq!(well(&client).await, new);
}

#[tokio::test]
async fn a_flapping_provider_names_one_key_throughout() {
    let provider = provider();
    let served = Served::new(quick(provider.clone())).await;
    let client = served.client();
    let id = well(&client).await;
    provider.set_error_rate(Operation::CurrentKey, 500, ErrorKind::Throttled);
    for _ in 0..50 {
        assert_eq!(current(&client).await.unwrap(), id);
        tokio::time::sleep(ms(2)).await;
    }
    assert!(provider.calls(Operation::CurrentKey) > 2);
}

#[tokio::test]
async fn a_slow_provider_does_not_slow_status() {
    let provider = provider();
    let served = Served::new(quick(provider.clone()).call_limit(ms(300))).await;
    let client = served.client();
    let id = well(&client).await;
    provider.set_latency(Operation::CurrentKey, Duration::from_secs(60));
    provider.set_latency(Operation::Wrap, Duration::from_secs(60));
    // The caller allows three seconds; the plugin's own limit is shorter.
    let late = client.wrap(&dek(), &Default::default()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
    assert!(late.message().contains("encrypting"), "{late}");
    assert_eq!(current(&client).await.unwrap(), id);
}

#[tokio::test]
async fn the_callers_deadline_holds_at_both_ends() {
    let provider = provider();
    // Longer than the test may take, so that it is the client's clock that decides.
    let long = Duration::from_secs(60);
    let served = Served::new(still(provider.clone()).call_limit(long)).await;
    let clock = ManualClock::new();
    let options = ClientOptions::default()
        .with_timeout(long)
        .with_clock(Arc::new(clock.clone()));
    let client = V2Client::new(served.address.clone(), options);
    well(&client).await;
    let before = provider.calls(Operation::Wrap);
    provider.script(Operation::Wrap, [Outcome::Hang]);
    let (secret, options) = (dek(), Default::default());
    let (late, ()) = tokio::join!(client.wrap(&secret, &options), async {
        eventually("the call is at the provider", || async {
            (provider.calls(Operation::Wrap) > before).then_some(())
        })
        .await;
        clock.advance(long);
    });
    assert_eq!(late.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    // The provider's call was given up, too.
    eventually("the provider's call is dropped", || async {
        (provider.cancelled(Operation::Wrap) == 1).then_some(())
    })
    .await;
    let past = CallOptions::default().with_deadline(kms_core::Tick::ORIGIN);
    let late = client.current_key(&past).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn unknown_key_ids_are_not_found_and_damage_is_opaque() {
    let provider = provider();
    let served = Served::new(quick(provider.clone())).await;
    let client = served.client();
    well(&client).await;
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    let bytes = wrapped.ciphertext().to_vec();
    let stray = WrappedKey::new("stray".parse().unwrap(), bytes.clone()).unwrap();
    let error = client.unwrap(&stray, &Default::default()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::KeyNotFound);
    let mut damaged = bytes;
    damaged[20] ^= 1;
    let damaged = WrappedKey::new(wrapped.key_id().unwrap().clone(), damaged).unwrap();
    let error = client
        .unwrap(&damaged, &Default::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Crypto);
    assert!(error.message().contains(Error::crypto().message()));
}

/// Panics in its first three calls of `current_key`, and in the second `unwrap`.
#[derive(Debug)]
struct Panicking {
    inner: StaticProvider,
    looks: AtomicUsize,
    unwraps: AtomicUsize,
}

impl fmt::Display for Panicking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("panicking")
    }
}

#[async_trait]
impl KeyProvider for Panicking {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        if self.looks.fetch_add(1, Ordering::SeqCst) < 3 {
            panic!("a defect of the provider's");
        }
        self.inner.current_key(options).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.inner.wrap(dek, options).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        if self.unwraps.fetch_add(1, Ordering::SeqCst) == 1 {
            panic!("a defect of the provider's");
        }
        self.inner.unwrap(wrapped, options).await
    }
}

#[tokio::test]
async fn a_panic_of_the_provider_stops_nothing() {
    let provider = Panicking {
        inner: StaticProvider::generate().unwrap(),
        looks: AtomicUsize::new(0),
        unwraps: AtomicUsize::new(0),
    };
    let served = Served::new(still(Arc::new(provider)).retry_interval(ms(20))).await;
    let client = served.client();
    well(&client).await;
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    let lost = client.unwrap(&wrapped, &Default::default()).await;
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::Internal);
    let opened = client.unwrap(&wrapped, &Default::default()).await.unwrap();
    assert_eq!(opened, dek());
}
