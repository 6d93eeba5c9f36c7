//! How often the vault is asked.

use std::time::Duration;

use futures_util::future::join_all;
use kms_azure::provider::ProviderOptions;
use kms_core::{CallOptions, KeyProvider as _, SecretBytes, UnwrapOptions, WrapOptions};
use kms_testkit::vault::Operation;

use crate::support::{Lab, until, versionless};

const POLL: Duration = Duration::from_secs(300);

fn dek(number: usize) -> SecretBytes {
    SecretBytes::from_vec(vec![u8::try_from(number).unwrap(); 32])
}

#[tokio::test]
async fn ten_thousand_wraps_ask_nothing() {
    let lab = Lab::new().await;
    let kid = lab.azure.key_vault().create_rsa_key("etcd", 2048).unwrap();
    let provider = lab.provider(versionless(&kid), ProviderOptions::default());
    provider.refresh().await.unwrap();
    let before = lab.transport.requests();
    for number in 0..10_000 {
        let dek = dek(number % 256);
        let wrapped = provider.wrap(&dek, &WrapOptions::default()).await.unwrap();
        assert_eq!(wrapped.key_id().unwrap().as_str(), kid);
    }
    assert_eq!(lab.transport.requests(), before);
}

/// All begin before the first answer can be there: on one thread none is polled twice before each
/// has been polled once. Callers who come later find the DEK in the cache of the plugin or the
/// envelope; this provider keeps none.
#[tokio::test(flavor = "current_thread")]
async fn ten_thousand_unwraps_of_ten_keys_are_ten_calls() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let kid = store.create_rsa_key("etcd", 2048).unwrap();
    let provider = lab.provider(versionless(&kid), ProviderOptions::default());
    let mut wrapped = Vec::new();
    for number in 0..10 {
        wrapped.push(
            provider
                .wrap(&dek(number), &WrapOptions::default())
                .await
                .unwrap(),
        );
    }
    let before = lab.transport.requests();
    let options = UnwrapOptions::default();
    let calls = (0..10_000).map(|number| provider.unwrap(&wrapped[number % 10], &options));
    for (number, opened) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(opened.unwrap(), dek(number % 10));
    }
    assert_eq!(store.calls(Operation::UnwrapKey), 10);
    assert_eq!(lab.transport.requests() - before, 10);
}

/// R58: a look every 5 minutes, against the 6 hours of AKS.
#[tokio::test]
async fn an_hour_of_status_is_a_dozen_calls() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let kid = store.create_rsa_key("etcd", 2048).unwrap();
    lab.clock.advance(Duration::from_secs(3600));
    let before = lab.transport.requests();
    let provider = lab.steady(versionless(&kid)).await;
    let call = CallOptions::default();
    provider.current_key(&call).await.unwrap();
    // Status every minute of three API servers.
    let step = Duration::from_secs(20);
    for number in 1..=180 {
        lab.clock.advance(step);
        let polls = u64::try_from((step * number).as_secs() / POLL.as_secs()).unwrap();
        until("each poll is made", || {
            store.calls(Operation::Get) == 1 + polls && lab.sleeps(&provider)
        })
        .await;
        assert_eq!(provider.current_key(&call).await.unwrap().id.as_str(), kid);
        provider
            .wrap(&dek(1), &WrapOptions::default())
            .await
            .unwrap();
    }
    // The look at the start, and twelve polls.
    assert_eq!(store.calls(Operation::Get), 13);
    assert_eq!(store.calls(Operation::ListVersions), 0);
    let tokens = lab.azure.calls(Operation::Token);
    let to_the_vault = lab.transport.requests() - before - tokens;
    assert!(to_the_vault <= 15, "{to_the_vault}");
    assert!(tokens <= 2, "{tokens}");
}

/// The plugin asks after the keys of what it has cached, every 30 s.
#[tokio::test]
async fn describing_a_version_seen_lately_asks_nothing() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let old = store.create_rsa_key("etcd", 2048).unwrap();
    lab.clock.advance(Duration::from_secs(1));
    let new = store.create_rsa_key("etcd", 2048).unwrap();
    lab.clock.advance(Duration::from_secs(3600));
    let provider = lab.provider(versionless(&old), ProviderOptions::default());
    provider.refresh().await.unwrap();
    let call = CallOptions::default();
    let before = store.calls(Operation::Get);
    for kid in [&old, &new, &old, &new] {
        let info = provider
            .describe_key(&kid.parse().unwrap(), &call)
            .await
            .unwrap();
        assert_eq!(info.id.as_str(), kid);
    }
    assert_eq!(
        store.calls(Operation::Get) - before,
        1,
        "of the old one, once"
    );
    lab.clock.advance(POLL + Duration::from_secs(1));
    provider
        .describe_key(&old.parse().unwrap(), &call)
        .await
        .unwrap();
    assert!(store.calls(Operation::Get) - before >= 2);
}

/// Another vault's or name's key id is refused before any call.
#[tokio::test]
async fn a_foreign_key_id_asks_nothing() {
    let lab = Lab::new().await;
    let kid = lab.azure.key_vault().create_rsa_key("etcd", 2048).unwrap();
    let provider = lab.provider(versionless(&kid), ProviderOptions::default());
    let wrapped = provider
        .wrap(&dek(1), &WrapOptions::default())
        .await
        .unwrap();
    let before = lab.transport.requests();
    for id in [
        kid.replace("etcd", "etce"),
        kid.replace("kms-testkit", "kms-testkiu"),
        kid.replace("/keys/", "/secrets/"),
        kid.replace("etcd", "../secrets/etcd"),
        kid.replace("https", "http"),
        format!("{kid}/../x"),
        versionless(&kid).to_owned(),
        "k".repeat(1024),
    ] {
        let id: kms_core::KeyId = id.parse().unwrap();
        let foreign = kms_core::WrappedKey::new(id.clone(), wrapped.ciphertext().to_vec()).unwrap();
        let opened = provider.unwrap(&foreign, &UnwrapOptions::default()).await;
        assert_eq!(
            opened.unwrap_err().kind(),
            kms_core::ErrorKind::KeyNotFound,
            "{id}"
        );
        let described = provider.describe_key(&id, &CallOptions::default()).await;
        assert_eq!(
            described.unwrap_err().kind(),
            kms_core::ErrorKind::KeyNotFound,
            "{id}"
        );
    }
    assert_eq!(lab.transport.requests(), before);
}

/// What is no ciphertext of this key costs no call either.
#[tokio::test]
async fn a_ciphertext_of_no_possible_length_asks_nothing() {
    let lab = Lab::new().await;
    let kid = lab.azure.key_vault().create_rsa_key("etcd", 2048).unwrap();
    let provider = lab.provider(versionless(&kid), ProviderOptions::default());
    provider.refresh().await.unwrap();
    let before = lab.transport.requests();
    for length in [1, 255, 257, 65_535] {
        let wrapped = kms_core::WrappedKey::new(kid.parse().unwrap(), vec![7; length]).unwrap();
        let opened = provider.unwrap(&wrapped, &UnwrapOptions::default()).await;
        assert_eq!(opened.unwrap_err().kind(), kms_core::ErrorKind::Crypto);
    }
    assert_eq!(lab.transport.requests(), before);
}

/// Each of them would begin with a challenge and throw the others' token away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_first_callers_share_one_challenge_and_one_token() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let kid = store.create_rsa_key("etcd", 2048).unwrap();
    let other = lab.provider(versionless(&kid), ProviderOptions::default());
    let mut wrapped = Vec::new();
    for number in 0..100 {
        wrapped.push(
            other
                .wrap(&dek(number), &WrapOptions::default())
                .await
                .unwrap(),
        );
    }
    drop(other);
    let before = [Operation::Challenge, Operation::Token].map(|what| lab.azure.calls(what));
    // Another provider, with a credential of its own that has no token yet.
    let provider = lab.provider(versionless(&kid), ProviderOptions::default());
    let options = UnwrapOptions::default();
    let calls = wrapped
        .iter()
        .map(|wrapped| provider.unwrap(wrapped, &options));
    for (number, opened) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(opened.unwrap(), dek(number));
    }
    let after = [Operation::Challenge, Operation::Token].map(|what| lab.azure.calls(what));
    assert_eq!([after[0] - before[0], after[1] - before[1]], [1, 1]);
}
