//! One provider call for all who ask for the same, and the cache.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kms_core::{Error, ErrorKind, KeyId, KeyProvider};
use kms_plugin::client::V2Client;
use kms_plugin::server::CacheOptions;
use kms_testkit::{ManualClock, Operation, Outcome, StaticProvider};

use crate::support::{
    Served, current, dek, eventually, ms, provider, provider_on, quick, still, well,
};

#[tokio::test]
async fn sixty_four_identical_decrypts_are_one_call() {
    for cache in [None, Some(CacheOptions::default())] {
        let clock = ManualClock::new();
        let provider = provider_on(Arc::new(clock.clone()));
        let served = Served::new(still(provider.clone()).cache(cache)).await;
        let client = served.client();
        well(&client).await;
        let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
        let before = provider.calls(Operation::Unwrap);
        provider.script(Operation::Unwrap, [Outcome::Delay(ms(400))]);
        let options = Default::default();
        let calls = (0..64).map(|_| client.unwrap(&wrapped, &options));
        let (answers, ()) = tokio::join!(join_all(calls), async {
            arrived(&client).await;
            clock.advance(ms(400));
        });
        for opened in answers {
            assert_eq!(opened.unwrap(), dek());
        }
        assert_eq!(provider.calls(Operation::Unwrap) - before, 1);
    }
}

/// Waits until the server has begun with every call that this client has made before: it answers
/// this one after them, since all are on one connection, and server and client on one thread.
async fn arrived(client: &V2Client) {
    current(client).await.unwrap();
}

#[tokio::test]
async fn a_failure_goes_to_all_who_wait_and_is_not_kept() {
    let clock = ManualClock::new();
    let provider = provider_on(Arc::new(clock.clone()));
    let served = Served::new(still(provider.clone())).await;
    let client = served.client();
    well(&client).await;
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    let before = provider.calls(Operation::Unwrap);
    provider.set_latency(Operation::Unwrap, ms(400));
    provider.script(Operation::Unwrap, [Outcome::Fail(ErrorKind::Throttled)]);
    let options = Default::default();
    let calls = (0..8).map(|_| client.unwrap(&wrapped, &options));
    let (answers, ()) = tokio::join!(join_all(calls), async {
        arrived(&client).await;
        clock.advance(ms(400));
    });
    for opened in answers {
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Throttled);
    }
    assert_eq!(provider.calls(Operation::Unwrap) - before, 1);
    provider.set_latency(Operation::Unwrap, Duration::ZERO);
    let opened = client.unwrap(&wrapped, &Default::default()).await.unwrap();
    assert_eq!(opened, dek());
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_call_to_the_others() {
    let clock = ManualClock::new();
    let provider = provider_on(Arc::new(clock.clone()));
    let served = Served::new(still(provider.clone())).await;
    let client = Arc::new(served.client());
    well(&client).await;
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    let before = provider.calls(Operation::Unwrap);
    provider.script(Operation::Unwrap, [Outcome::Delay(ms(500))]);
    let leader = tokio::spawn({
        let (client, wrapped) = (client.clone(), wrapped.clone());
        async move { client.unwrap(&wrapped, &Default::default()).await }
    });
    eventually("the call is made", || async {
        (provider.calls(Operation::Unwrap) > before).then_some(())
    })
    .await;
    let options = Default::default();
    let (opened, ()) = tokio::join!(client.unwrap(&wrapped, &options), async {
        arrived(&client).await;
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        arrived(&client).await;
        clock.advance(ms(500));
    });
    assert_eq!(opened.unwrap(), dek());
    assert_eq!(provider.calls(Operation::Unwrap) - before, 1);
    assert_eq!(provider.cancelled(Operation::Unwrap), 0);
}

#[tokio::test]
async fn the_cache_answers_for_its_time_and_for_the_whole_of_a_key() {
    let provider = provider();
    let cache = CacheOptions::new(NonZeroUsize::new(2).unwrap(), ms(600));
    let clock = ManualClock::new();
    let builder = still(provider.clone())
        .cache(Some(cache))
        .clock(Arc::new(clock.clone()));
    let served = Served::new(builder).await;
    let client = served.client();
    well(&client).await;
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    let before = provider.calls(Operation::Unwrap);
    let calls = || provider.calls(Operation::Unwrap) - before;
    for _ in 0..3 {
        let opened = client.unwrap(&wrapped, &Default::default()).await.unwrap();
        assert_eq!(opened, dek());
    }
    assert_eq!(calls(), 1);
    // Another annotation is another key, for the cache.
    let noted = wrapped
        .clone()
        .with_annotation("a.b", b"1".to_vec())
        .unwrap();
    client.unwrap(&noted, &Default::default()).await.unwrap();
    assert_eq!(calls(), 2);
    clock.advance(ms(599));
    client.unwrap(&wrapped, &Default::default()).await.unwrap();
    assert_eq!(calls(), 2);
    clock.advance(ms(1));
    client.unwrap(&wrapped, &Default::default()).await.unwrap();
    assert_eq!(calls(), 3);
}

#[tokio::test]
async fn without_a_cache_every_call_asks() {
    let provider = provider();
    let served = Served::new(still(provider.clone()).cache(None)).await;
    let client = served.client();
    well(&client).await;
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    let before = provider.calls(Operation::Unwrap);
    for _ in 0..3 {
        client.unwrap(&wrapped, &Default::default()).await.unwrap();
    }
    assert_eq!(provider.calls(Operation::Unwrap) - before, 3);
}

#[tokio::test]
async fn provider_calls_are_limited() {
    let provider = provider();
    let served = Served::new(
        still(provider.clone())
            .cache(None)
            .max_unwraps(2)
            .call_limit(ms(500)),
    )
    .await;
    let client = served.client();
    well(&client).await;
    let mut wrapped = Vec::new();
    for _ in 0..4 {
        wrapped.push(client.wrap(&dek(), &Default::default()).await.unwrap());
    }
    let before = provider.calls(Operation::Unwrap);
    provider.set_latency(Operation::Unwrap, Duration::from_secs(60));
    let options = Default::default();
    let calls = wrapped
        .iter()
        .map(|wrapped| client.unwrap(wrapped, &options));
    let watch = async {
        let mut most = 0;
        loop {
            let ended = provider.cancelled(Operation::Unwrap);
            most = most.max(provider.calls(Operation::Unwrap) - before - ended);
            assert!(most <= 2, "{most} at once");
            if most == 2 && ended >= 2 {
                return;
            }
            tokio::time::sleep(ms(1)).await;
        }
    };
    let (answers, ()) = tokio::join!(join_all(calls), watch);
    for opened in answers {
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    }
}

#[tokio::test]
async fn a_key_that_was_switched_off_leaves_the_cache_at_the_next_poll() {
    type Change = fn(&StaticProvider, &KeyId) -> Result<(), Error>;
    let changes: [(Change, ErrorKind); 2] = [
        (StaticProvider::disable, ErrorKind::KeyDisabled),
        (StaticProvider::remove, ErrorKind::KeyNotFound),
    ];
    for (change, kind) in changes {
        let provider = provider();
        let served = Served::new(quick(provider.clone())).await;
        let client = served.client();
        let old = well(&client).await;
        let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
        let new = provider.inner().rotate().unwrap();
        client.wrap(&dek(), &Default::default()).await.unwrap();
        client.unwrap(&wrapped, &Default::default()).await.unwrap();
        // While the provider does not tell, the cache answers: it bridges an outage.
        provider.set_error_rate(Operation::DescribeKey, 1000, ErrorKind::Unavailable);
        change(provider.inner(), &old).unwrap();
        let before = provider.calls(Operation::DescribeKey);
        eventually("the provider is asked after the old key", || async {
            (provider.calls(Operation::DescribeKey) > before + 2).then_some(())
        })
        .await;
        client.unwrap(&wrapped, &Default::default()).await.unwrap();
        provider.set_error_rate(Operation::DescribeKey, 0, ErrorKind::Unavailable);
        let error = eventually("the old key is not answered from memory", || async {
            client.unwrap(&wrapped, &Default::default()).await.err()
        })
        .await;
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(well(&client).await, new);
    }
}
