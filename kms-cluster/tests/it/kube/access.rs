//! Rights and logins.

use std::sync::Arc;

use kms_cluster::api::{AccessVerb, ApiOptions, ApiTarget, KubeApi, Kubeconfig};
use kms_core::object::{ListOptions, RewriteOutcome, Rewriter as _};
use kms_core::{CallOptions, ErrorKind, SecretBytes};
use kms_testkit::ManualClock;
use kms_testkit::apiserver::{Denial, Verb};

use super::{api, only, secret, secrets, target, with_secret};

fn call() -> CallOptions {
    CallOptions::default()
}

#[tokio::test]
async fn missing_rights_are_told_from_a_refusal_of_one_object() {
    let server = with_secret("db").await;
    let api = api(&server);
    let object = only(&api).await;
    server.deny(Denial::new(Verb::Patch, "secrets").in_namespace("default"));
    let error = api.rewrite(&object, &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("cannot patch"), "{error}");
    assert!(
        error.remedy().contains("--verb=list,patch"),
        "{}",
        error.remedy()
    );
    server.allow_all();
    server.refuse(&secret("db"), 403, "denied the request");
    let outcome = api.rewrite(&object, &call()).await.unwrap();
    assert!(matches!(outcome, RewriteOutcome::Refused { .. }));

    server.deny(Denial::new(Verb::List, "secrets"));
    let error = api.list(&ListOptions::new(secrets())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(
        error.remedy().contains("--resource=secrets"),
        "{}",
        error.remedy()
    );
}

#[tokio::test]
async fn rights_can_be_asked_for_before() {
    let server = with_secret("db").await;
    let api = api(&server);
    server.deny(Denial::new(Verb::Patch, "secrets").in_namespace("kube-system"));
    let may = |verb, namespace| {
        let api = api.clone();
        async move { api.may(verb, &secrets(), namespace, &call()).await.unwrap() }
    };
    assert!(may(AccessVerb::List, None).await);
    assert!(may(AccessVerb::Patch, Some("default")).await);
    assert!(!may(AccessVerb::Patch, Some("kube-system")).await);
    assert!(!may(AccessVerb::Patch, None).await);
}

#[tokio::test]
async fn a_token_that_is_not_known_is_refused_without_being_shown() {
    let server = with_secret("db").await;
    let token = SecretBytes::copy_from_slice(b"hunter2");
    let unknown = ApiTarget::new(&server.url())
        .unwrap()
        .with_authority_pem(server.ca_pem().as_bytes())
        .unwrap()
        .with_token(token)
        .unwrap();
    let api = KubeApi::new(unknown, ApiOptions::default()).unwrap();
    let error = api.list(&ListOptions::new(secrets())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(
        error.remedy().contains("log in again"),
        "{}",
        error.remedy()
    );
    for shown in [format!("{api:?}"), format!("{api}"), format!("{error:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let server = with_secret("db").await;
    let (certificate, key) = server.client_certificate("admin").unwrap();
    let with = |certificate: &str, key: &str| {
        ApiTarget::new(&server.url())
            .unwrap()
            .with_authority_pem(server.ca_pem().as_bytes())
            .unwrap()
            .with_client_certificate(
                certificate.as_bytes(),
                SecretBytes::copy_from_slice(key.as_bytes()),
            )
            .unwrap()
    };
    let api = KubeApi::new(with(&certificate, &key), ApiOptions::default()).unwrap();
    assert_eq!(only(&api).await.name(), "db");

    // The key of another one does not fit, which shows at once.
    let (_, other) = server.client_certificate("other").unwrap();
    let error = KubeApi::new(with(&certificate, &other), ApiOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);

    // A certificate of somebody else's authority is refused in the handshake.
    let made = rcgen::generate_simple_self_signed(vec!["me".to_owned()]).unwrap();
    let stranger = with(&made.cert.pem(), &made.signing_key.serialize_pem());
    let api = KubeApi::new(stranger, ApiOptions::default()).unwrap();
    let error = api.list(&ListOptions::new(secrets())).await.unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Unauthenticated | ErrorKind::Unavailable
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn whom_we_act_for_is_said() {
    let server = with_secret("db").await;
    let token = server.token("admin");
    let kubeconfig =
        server.kubeconfig_with(&format!("token: {token}\nas: auditor\nas-groups: [a]"));
    let target = Kubeconfig::parse(&kubeconfig, "/")
        .unwrap()
        .target(None)
        .unwrap();
    let api = KubeApi::new(target, ApiOptions::default()).unwrap();
    server.deny(Denial::new(Verb::List, "secrets"));
    let error = api.list(&ListOptions::new(secrets())).await.unwrap_err();
    assert!(error.message().contains("\"auditor\""), "{error}");
}

/// Service accounts renew their tokens in place.
#[tokio::test]
async fn a_token_file_is_read_again() {
    let server = with_secret("db").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let first = server.token("admin");
    std::fs::write(&path, format!("{first}\n")).unwrap();
    let clock = ManualClock::new();
    let options = || ApiOptions::default().with_clock(Arc::new(clock.clone()));
    let from_file = || target(&server).with_token_file(path.clone());
    let api = KubeApi::new(from_file(), options()).unwrap();
    only(&api).await;

    // The server does not take the old one any more: read at once.
    let second = server.token("admin");
    std::fs::write(&path, &second).unwrap();
    server.revoke_token(&first);
    only(&api).await;

    // A minute later it is read again, though the old one would do.
    let third = server.token("admin");
    std::fs::write(&path, &third).unwrap();
    clock.advance(core::time::Duration::from_secs(61));
    only(&api).await;
    server.revoke_token(&second);
    let before = server.calls(Verb::List);
    only(&api).await;
    assert_eq!(server.calls(Verb::List), before + 1);

    // A file that is gone for a moment does no harm while the token is good.
    std::fs::remove_file(&path).unwrap();
    clock.advance(core::time::Duration::from_secs(61));
    only(&api).await;
    server.revoke_token(&third);
    let error = api.list(&ListOptions::new(secrets())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let api = KubeApi::new(from_file(), options()).unwrap();
    let error = api.list(&ListOptions::new(secrets())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}
