//! R24, R26, R52, R58: a new version in the vault, and nothing restarts or fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kms_azure::provider::{KeyVaultProvider, ProviderOptions};
use kms_core::{
    CallOptions, Clock as _, KeyProvider as _, SecretBytes, UnwrapOptions, WrapOptions,
};
use kms_testkit::vault::{Fault, KeyStore, Operation};
use tokio::sync::RwLock;

use crate::support::{Lab, until, version_of, versionless};

const POLL: Duration = Duration::from_secs(300);
const DELAY: Duration = Duration::from_secs(660);
const STEP: Duration = Duration::from_secs(10);
const CALLERS: usize = 64;

fn dek(number: usize) -> SecretBytes {
    SecretBytes::from_vec(vec![u8::try_from(number % 251).unwrap(); 32])
}

async fn current(provider: &KeyVaultProvider) -> String {
    let info = provider.current_key(&CallOptions::default()).await.unwrap();
    info.id.as_str().to_owned()
}

/// The clock, which stands still while calls are on their way: a step of it would else be a long
/// time to them.
type Street = RwLock<()>;

/// One of many who wrap and unwrap all the while: which keys it saw, in order.
async fn caller(
    provider: Arc<KeyVaultProvider>,
    number: usize,
    street: Arc<Street>,
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
) -> Vec<String> {
    let first = provider
        .wrap(&dek(number), &WrapOptions::default())
        .await
        .unwrap();
    let mut seen = vec![first.key_id().unwrap().to_string()];
    while !stop.load(Ordering::Acquire) {
        let on_the_way = street.read().await;
        let wrapped = provider
            .wrap(&dek(number), &WrapOptions::default())
            .await
            .unwrap();
        for each in [&first, &wrapped] {
            let opened = provider
                .unwrap(each, &UnwrapOptions::default())
                .await
                .unwrap();
            assert_eq!(opened, dek(number));
        }
        drop(on_the_way);
        let id = wrapped.key_id().unwrap().to_string();
        if seen.last() != Some(&id) {
            seen.push(id);
        }
        rounds.fetch_add(1, Ordering::AcqRel);
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_change_over_at_one_moment_under_load() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let old = store.create_rsa_key("etcd", 2048).unwrap();
    // Their polls are a hundred seconds apart, and to the second.
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let replica = Arc::new(lab.steady(versionless(&old)).await);
        assert_eq!(current(&replica).await, old);
        replicas.push((lab.clock.wall_time(), replica));
        lab.clock.advance(POLL / 3);
    }
    let street = Arc::new(Street::default());
    let stop = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let provider = Arc::clone(&replicas[number % 3].1);
            let (street, stop) = (Arc::clone(&street), Arc::clone(&stop));
            tokio::spawn(caller(provider, number, street, stop, Arc::clone(&rounds)))
        })
        .collect();
    let callers_go_on = async || {
        let goal = rounds.load(Ordering::Acquire) + CALLERS;
        until("the callers go on", || {
            rounds.load(Ordering::Acquire) >= goal
        })
        .await;
    };
    // Every poll that is due is made before time goes on.
    let step = async |by: Duration| {
        let standstill = street.write().await;
        lab.clock.advance(by);
        let now = lab.clock.wall_time();
        for (start, replica) in &replicas {
            let age = now.duration_since(*start).unwrap();
            let polls = u32::try_from(age.as_secs() / POLL.as_secs()).unwrap();
            let last_poll = *start + POLL * polls;
            let looked = || replica.health().last_look.unwrap() >= last_poll && lab.sleeps(replica);
            until("the poll is made", looked).await;
        }
        drop(standstill);
    };
    callers_go_on().await;
    let created = lab.clock.now();
    let new = store.create_rsa_key("etcd", 2048).unwrap();
    while lab.clock.now().since(created) < DELAY - STEP {
        step(STEP).await;
        for (_, replica) in &replicas {
            assert_eq!(current(replica).await, old);
            if lab.clock.now().since(created) >= POLL {
                assert!(replica.health().pending.is_some(), "seen within a poll");
            }
        }
    }
    callers_go_on().await;
    // The last moment before, and the moment itself.
    for (by, expected) in [
        (STEP - Duration::from_millis(1), &old),
        (Duration::from_millis(1), &new),
    ] {
        step(by).await;
        for (_, replica) in &replicas {
            assert_eq!(&current(replica).await, expected);
        }
        callers_go_on().await;
    }
    callers_go_on().await;
    stop.store(true, Ordering::Release);
    for caller in callers {
        assert_eq!(
            caller.await.unwrap(),
            [old.clone(), new.clone()],
            "once, and no way back"
        );
    }
}

/// Polling was down when the new version came: it follows with its first look.
#[tokio::test]
async fn a_replica_that_was_blind_follows_at_its_first_look() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let old = store.create_rsa_key("etcd", 2048).unwrap();
    let provider = lab.provider(versionless(&old), ProviderOptions::default());
    assert_eq!(current(&provider).await, old);
    store.disturb(Operation::Get, Fault::Drop, None);
    let minute = Duration::from_secs(60);
    lab.pass(Duration::from_secs(1), &[&provider]).await;
    let new = store.create_rsa_key("etcd", 2048).unwrap();
    lab.pass(DELAY + minute, &[&provider]).await;
    assert!(provider.refresh().await.is_err());
    assert_eq!(current(&provider).await, old, "it cannot know");
    lab.azure.clear_faults();
    lab.pass(minute, &[&provider]).await;
    provider.refresh().await.unwrap();
    assert_eq!(current(&provider).await, new);
}

/// Made disabled and enabled later: its instant counts from then, in every replica.
#[tokio::test]
async fn a_version_enabled_late_is_active_a_delay_later() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let old = store.create_rsa_key("etcd", 2048).unwrap();
    let provider = lab.provider(versionless(&old), ProviderOptions::default());
    assert_eq!(current(&provider).await, old);
    lab.pass(Duration::from_secs(1), &[&provider]).await;
    let new = store.create_rsa_key("etcd", 2048).unwrap();
    store
        .set_enabled("etcd", Some(version_of(&new)), false)
        .unwrap();
    provider.refresh().await.unwrap();
    lab.pass(10 * DELAY, &[&provider]).await;
    provider.refresh().await.unwrap();
    assert_eq!(current(&provider).await, old);
    let restarted = lab.provider(versionless(&old), ProviderOptions::default());
    assert_eq!(
        current(&restarted).await,
        old,
        "one that starts now says the same"
    );

    store
        .set_enabled("etcd", Some(version_of(&new)), true)
        .unwrap();
    let enabled = lab.clock.wall_time();
    let both = [&provider, &restarted];
    for replica in both {
        lab.pass(Duration::from_secs(100), &both).await;
        replica.refresh().await.unwrap();
        assert_eq!(replica.health().pending.unwrap().active_at, enabled + DELAY);
    }
    lab.pass(DELAY - Duration::from_secs(201), &both).await;
    for replica in both {
        assert_eq!(current(replica).await, old);
    }
    lab.pass(Duration::from_secs(1), &both).await;
    for replica in both {
        assert_eq!(current(replica).await, new);
    }
}

/// Several versions between two looks, one of them of a kind that cannot wrap.
#[tokio::test]
async fn versions_that_came_and_went_between_two_looks() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let mut kids = vec![store.create_rsa_key("etcd", 2048).unwrap()];
    let provider = lab.provider(versionless(&kids[0]), ProviderOptions::default());
    assert_eq!(current(&provider).await, kids[0]);
    for _ in 0..2 {
        lab.pass(Duration::from_secs(60), &[&provider]).await;
        kids.push(store.create_rsa_key("etcd", 2048).unwrap());
    }
    lab.pass(Duration::from_secs(1), &[&provider]).await;
    store.create_ec_key("etcd").unwrap();
    provider.refresh().await.unwrap();
    assert_eq!(current(&provider).await, kids[0]);
    lab.rest(&[&provider]).await;
    lab.clock.advance(DELAY - Duration::from_secs(61));
    assert_eq!(
        current(&provider).await,
        kids[1],
        "without a look in between"
    );
    provider.refresh().await.unwrap();
    lab.pass(Duration::from_secs(60), &[&provider]).await;
    assert_eq!(current(&provider).await, kids[2]);
    provider.refresh().await.unwrap();
    assert_eq!(
        current(&provider).await,
        kids[2],
        "the elliptic curve is passed over"
    );
    let wrapped = provider
        .wrap(&dek(1), &WrapOptions::default())
        .await
        .unwrap();
    assert_eq!(wrapped.key_id().unwrap().as_str(), kids[2]);
}

/// R16, R24: a pinned version stays, whatever comes after it, and opens what all of them wrapped.
#[tokio::test]
async fn a_pinned_version_stays() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let kids = rotated(&lab, &store);
    let followed = lab.provider(versionless(&kids[0]), ProviderOptions::default());
    let pinned = lab.provider(&kids[0], ProviderOptions::default());
    assert_eq!(current(&pinned).await, kids[0]);
    assert_eq!(current(&followed).await, kids[1]);
    let new = followed
        .wrap(&dek(1), &WrapOptions::default())
        .await
        .unwrap();
    let old = pinned.wrap(&dek(2), &WrapOptions::default()).await.unwrap();
    for provider in [&pinned, &followed] {
        for (number, wrapped) in [(1, &new), (2, &old)] {
            let opened = provider
                .unwrap(wrapped, &UnwrapOptions::default())
                .await
                .unwrap();
            assert_eq!(opened, dek(number));
        }
    }
    let listed = pinned.list_keys(&CallOptions::default()).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(listed, [&kids[0], &kids[1]], "oldest first");
    let distinct: BTreeSet<_> = listed.iter().collect();
    assert_eq!(distinct.len(), 2);
}

fn rotated(lab: &Lab, store: &KeyStore) -> [String; 2] {
    let old = store.create_rsa_key("etcd", 2048).unwrap();
    lab.clock.advance(Duration::from_secs(60));
    let new = store.create_rsa_key("etcd", 3072).unwrap();
    lab.clock.advance(Duration::from_secs(3600));
    [old, new]
}
