//! Start, restart and stop.

use std::sync::Arc;
use std::time::Duration;

use kms_core::{Clock as _, ErrorKind, KeyProvider};
use kms_plugin::client::{ClientOptions, V2Client};
use kms_plugin::socket::SocketAddress;
use kms_testkit::{ManualClock, Operation, Outcome};

use crate::support::{
    Served, current, dek, eventually, ms, provider, provider_on, quick, still, well,
};

#[tokio::test]
async fn a_client_waits_for_a_plugin_that_makes_its_socket_a_little_later() {
    let directory = tempfile::tempdir().unwrap();
    let address = SocketAddress::from_path(directory.path().join("kms.sock")).unwrap();
    let clock = ManualClock::new();
    let options = ClientOptions::default()
        .with_timeout(Duration::from_secs(15))
        .with_clock(Arc::new(clock.clone()));
    let client = V2Client::new(address.clone(), options);
    let (id, served) = tokio::join!(current(&client), async {
        pauses(&clock).await;
        let served = Served::at(&address, quick(provider())).await;
        clock.advance(ms(499));
        served
    });
    id.unwrap();
    served.stop().await.unwrap();
}

/// Waits until a call has found no plugin and pauses before it looks again.
async fn pauses(clock: &ManualClock) {
    let soon = clock.now() + ms(250);
    eventually("the client pauses", || async {
        clock.next_deadline().filter(|next| *next <= soon)
    })
    .await;
}

#[tokio::test]
async fn no_socket_and_no_right_to_it_are_final_after_half_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kms.sock");
    let address = SocketAddress::from_path(&path).unwrap();
    let clock = ManualClock::new();
    let options = ClientOptions::default()
        .with_timeout(Duration::from_secs(15))
        .with_clock(Arc::new(clock.clone()));
    let client = V2Client::new(address.clone(), options.clone());
    let missing = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::join!(current(&client), async {
            pauses(&clock).await;
            clock.advance(ms(500));
        })
    });
    let error = missing.await.expect("it is final").0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("No such file"), "{error}");
    assert!(error.remedy().contains("listens"), "{}", error.remedy());

    // One that is there and refuses is waited for.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let client = V2Client::new(address.clone(), options);
    let (id, served) = tokio::join!(current(&client), async {
        for _ in 0..8 {
            pauses(&clock).await;
            clock.advance(ms(250));
        }
        pauses(&clock).await;
        let served = Served::at(&address, quick(provider())).await;
        clock.advance(ms(250));
        served
    });
    id.unwrap();
    served.stop().await.unwrap();
}

#[tokio::test]
async fn no_plugin_is_unavailable_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let address = SocketAddress::from_path(directory.path().join("kms.sock")).unwrap();
    let client = V2Client::new(address.clone(), ClientOptions::default());
    let error = current(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("No such file"), "{error}");
    assert!(error.to_string().contains("kms.sock"), "{error}");
}

#[tokio::test]
async fn a_connected_client_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let address = SocketAddress::from_path(directory.path().join("kms.sock")).unwrap();
    let provider = provider();
    let served = Served::at(&address, quick(provider.clone())).await;
    let client = served.client();
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    for _ in 0..3 {
        let path = address.path().unwrap();
        assert!(path.exists());
    }
    served.stop().await.unwrap();
    assert!(!address.path().unwrap().exists());
    let served = Served::at(&address, quick(provider)).await;
    let opened = client.unwrap(&wrapped, &Default::default()).await.unwrap();
    assert_eq!(opened, dek());
    served.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_in_flight_is_finished_and_no_new_one_taken() {
    let clock = ManualClock::new();
    let provider = provider_on(Arc::new(clock.clone()));
    let mut served = Served::new(still(provider.clone())).await;
    let client = Arc::new(served.client());
    well(&client).await;
    let before = provider.calls(Operation::Wrap);
    provider.script(Operation::Wrap, [Outcome::Delay(ms(600))]);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.wrap(&dek(), &Default::default()).await }
    });
    eventually("the call is at the provider", || async {
        (provider.calls(Operation::Wrap) > before).then_some(())
    })
    .await;
    served.begin_stop();
    let path = served.address.path().unwrap().to_owned();
    eventually("the socket file goes at once", || async {
        (!path.exists()).then_some(())
    })
    .await;
    let late = V2Client::new(served.address.clone(), ClientOptions::default());
    let refused = current(&late).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(!call.is_finished());
    clock.advance(ms(600));
    call.await.unwrap().unwrap();
    served.stopped().await.unwrap();
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_cut_off() {
    let provider = provider();
    let mut served = Served::new(still(provider.clone()).stop_limit(ms(100))).await;
    let client = Arc::new(served.client());
    well(&client).await;
    let before = provider.calls(Operation::Wrap);
    provider.script(Operation::Wrap, [Outcome::Hang]);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.wrap(&dek(), &Default::default()).await }
    });
    eventually("the call is at the provider", || async {
        (provider.calls(Operation::Wrap) > before).then_some(())
    })
    .await;
    served.begin_stop();
    let error = served.stopped().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(call.await.unwrap().is_err());
    eventually("the provider's call is dropped", || async {
        (provider.cancelled(Operation::Wrap) == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_stop() {
    let served = Served::new(still(provider()).stop_limit(Duration::from_secs(15))).await;
    let client = served.client();
    well(&client).await;
    let _silent = tokio::net::UnixStream::connect(served.address.path().unwrap())
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(10), served.stop())
        .await
        .expect("well before its limit")
        .unwrap();
}
