//! No etcd at all: needs none.

use core::time::Duration;

use kms_cluster::etcd::{EtcdOptions, EtcdStore, EtcdTls};
use kms_core::ErrorKind;
use tokio::net::TcpListener;

#[tokio::test]
async fn endpoints_where_nothing_listens_are_told_at_once() {
    let options = EtcdOptions::new(["http://127.0.0.1:1", "http://127.0.0.1:2"]).unwrap();
    // Were this waited for, the test would not end.
    let options = options.with_timeout(Duration::from_secs(100_000));
    let error = EtcdStore::connect(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(
        text.contains("http://127.0.0.1:2") && text.contains("refused"),
        "{text}"
    );
    assert!(error.remedy().contains("client URL"), "{}", error.remedy());
}

#[tokio::test]
async fn a_peer_that_is_silent_is_not_waited_for_beyond_the_time_given() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let options = EtcdOptions::new([endpoint]).unwrap();
    let error = EtcdStore::connect(options.with_timeout(Duration::from_millis(50)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_refused_before_any_connection() {
    let (one, other) = (super::tls::issued(), super::tls::issued());
    let tls = EtcdTls::new(one.authority).unwrap();
    let tls = tls.with_client(one.certificate, other.key()).unwrap();
    let options = EtcdOptions::new(["https://127.0.0.1:1"]).unwrap();
    let error = EtcdStore::connect(options.with_tls(tls)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}
