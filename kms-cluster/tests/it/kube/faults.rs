//! Servers, proxies and networks that fail.

use core::time::Duration;

use kms_cluster::api::{ApiOptions, KubeApi};
use kms_core::object::{ListOptions, RewriteOutcome, Rewriter as _};
use kms_core::{CallOptions, Clock as _, Error, ErrorKind, TokioClock};
use kms_testkit::apiserver::{ApiServer, Fault, Verb};

use super::{aes_gcm, api, listed, only, secrets, target, with_secret};

async fn list(api: &KubeApi) -> Result<usize, Error> {
    let page = api.list(&ListOptions::new(secrets())).await?;
    Ok(page.objects.len())
}

#[tokio::test]
async fn each_fault_is_the_error_that_it_should_be() {
    let server = with_secret("db").await;
    let api = api(&server);
    let object = only(&api).await;
    let throttled = Fault::Throttled {
        retry_after: Some(Duration::from_secs(7)),
    };
    for (fault, kind) in [
        (throttled, ErrorKind::Throttled),
        (Fault::Status(500), ErrorKind::Unavailable),
        (Fault::Status(503), ErrorKind::Unavailable),
        (Fault::Status(504), ErrorKind::Unavailable),
        (Fault::Status(302), ErrorKind::Protocol),
        (Fault::ProxyStatus(502), ErrorKind::Unavailable),
        (Fault::Unauthorized, ErrorKind::Unauthenticated),
        (Fault::Drop, ErrorKind::Unavailable),
        (Fault::Truncated, ErrorKind::Unavailable),
        (Fault::WholeObjects, ErrorKind::Unsupported),
    ] {
        for verb in [Verb::List, Verb::Patch] {
            server.disturb(verb, fault.clone(), 1);
            let error = match verb {
                Verb::List => list(&api).await.map(|_| ()).unwrap_err(),
                _ => {
                    let call = CallOptions::default();
                    api.rewrite(&object, &call).await.map(|_| ()).unwrap_err()
                }
            };
            assert_eq!(error.kind(), kind, "{fault:?} {verb:?}: {error:?}");
            let advised =
                matches!(fault, Fault::Throttled { .. }).then_some(Duration::from_secs(7));
            assert_eq!(error.retry_after(), advised);
            assert_eq!(
                error.provider(),
                Some(format!("API server {}", server.url()).as_str())
            );
        }
    }
    assert_eq!(list(&api).await.unwrap(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_told_by_repeating() {
    let server = with_secret("db").await;
    server.set_encryption(&aes_gcm(&["key1"]));
    let api = api(&server);
    let object = only(&api).await;
    let call = CallOptions::default();
    server.disturb(Verb::Patch, Fault::LostAnswer, 1);
    let error = api.rewrite(&object, &call).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(
        api.rewrite(&object, &call).await.unwrap(),
        RewriteOutcome::Conflict
    );
    assert_eq!(
        api.rewrite(&only(&api).await, &call).await.unwrap(),
        RewriteOutcome::Unchanged
    );
}

#[tokio::test]
async fn nobody_is_waited_for_longer_than_told() {
    let server = with_secret("db").await;
    server.disturb(Verb::List, Fault::Hang, None);
    let options = ApiOptions::default().with_timeout(Duration::from_millis(50));
    let api = KubeApi::new(target(&server), options).unwrap();
    let error = list(&api).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);

    let clock = std::sync::Arc::new(TokioClock::new());
    let options = ApiOptions::default().with_clock(clock.clone());
    let api = KubeApi::new(target(&server), options).unwrap();
    let deadline = clock.now() + Duration::from_millis(50);
    let call = CallOptions::default().with_deadline(deadline);
    let options = ListOptions::new(secrets()).with_call(call);
    let error = api.list(&options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let server = ApiServer::builder().start().await.unwrap();
    let target = target(&server);
    let address = server.address();
    drop(server);
    // Its connections end with it, at some moment.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let api = KubeApi::new(target, ApiOptions::default()).unwrap();
    let error = list(&api).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn one_token_refused_once_is_not_sent_again() {
    let server = with_secret("db").await;
    let api = api(&server);
    server.disturb(Verb::List, Fault::Unauthorized, 1);
    assert!(list(&api).await.is_err());
    assert_eq!(server.calls(Verb::List), 1);
    assert_eq!(listed(&api).await.len(), 1);
}
