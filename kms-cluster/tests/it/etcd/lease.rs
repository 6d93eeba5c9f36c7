//! Claims that end with their holder.

use core::time::Duration;

use kms_core::ErrorKind;
use kms_core::object::{FetchOptions, LeaseStore as _, ObjectSource as _, SwapOutcome};

use super::server::Server;
use super::{call, connect, key};

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_claim_lives_as_long_as_its_lease() {
    let server = Server::start();
    let store = connect(server.url()).await;
    let (claim, call) = (key("claims/1"), call());
    let minute = Duration::from_secs(60);
    let lease = store.grant_lease(minute, &call).await.unwrap();
    assert!(lease.time_to_live >= minute);
    let outcome = store
        .create_with_lease(&claim, b"one".to_vec(), lease.id, &call)
        .await
        .unwrap();
    assert!(outcome.swapped().is_some());
    // It is taken for anyone else.
    let other = store.grant_lease(minute, &call).await.unwrap();
    let outcome = store
        .create_with_lease(&claim, b"two".to_vec(), other.id, &call)
        .await
        .unwrap();
    assert!(matches!(outcome, SwapOutcome::Changed { current: Some(_) }));
    let left = store.keep_lease_alive(lease.id, &call).await.unwrap();
    assert_eq!(left, Some(lease.time_to_live));
    store.revoke_lease(lease.id, &call).await.unwrap();
    let found = store.fetch(&claim, &FetchOptions::default()).await.unwrap();
    assert_eq!(found, None);
    // Gone is gone, and said so.
    store.revoke_lease(lease.id, &call).await.unwrap();
    assert_eq!(store.keep_lease_alive(lease.id, &call).await.unwrap(), None);
    let error = store
        .create_with_lease(&claim, b"one".to_vec(), lease.id, &call)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}
