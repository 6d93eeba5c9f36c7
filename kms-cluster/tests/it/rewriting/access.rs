//! What is refused, and what is not allowed.

use kms_core::object::{ApiResource, RewriteOutcome};
use kms_core::{Error, ErrorKind};
use kms_envelope::kubernetes::ProviderKind;
use kms_envelope::reencrypt::{ApiMigrationOptions, ApiScope, LeftReason};

use super::{
    Call, Reply, Server, assert_complete, assert_incomplete, migrate, migrate_with, options,
    secrets,
};
use crate::migrate::config;

#[test]
fn what_admission_refuses_is_named_and_the_rest_goes_on() {
    let server = Server::with_secrets(12);
    server.on_call(|call| match call {
        Call::Rewrite(object) if object.name() > "005" => {
            Some(Reply::Outcome(RewriteOutcome::refused("exceeded quota")))
        }
        _ => None,
    });
    let report = migrate(&server, &options());
    assert_incomplete(&report);
    assert_eq!((report.last_pass.left, report.counts.written), (6, 6));
    assert_eq!(report.left.len(), 6);
    let reason = LeftReason::Refused("exceeded quota".to_owned());
    assert!(report.left.iter().all(|left| left.reason == reason));
}

#[test]
fn a_namespace_without_rights_is_named_once_and_not_asked_about_again() {
    let server = Server::with_secrets(30);
    server.on_call(|call| match call {
        Call::Rewrite(object) if object.namespace() == Some("a-b") => {
            let error = Error::new(ErrorKind::PermissionDenied, "no").with_remedy("grant it");
            Some(Reply::Fails(error))
        }
        _ => None,
    });
    let report = migrate(&server, &options().with_concurrency(1));
    assert_incomplete(&report);
    let [unread] = report.unread.as_slice() else {
        panic!("{report:#?}");
    };
    assert_eq!(unread.namespace.as_deref(), Some("a-b"));
    assert_eq!(
        (unread.kind.as_str(), unread.remedy.as_str()),
        ("permission_denied", "grant it")
    );
    assert_eq!(report.counts.written, 20);
    let asked = server.asked();
    let denied = asked.iter().filter(|(object, _)| object.contains("a-b/"));
    // Once in each of two passes.
    assert_eq!(denied.map(|(_, times)| times).sum::<usize>(), 2);
}

#[test]
fn a_resource_that_cannot_be_listed_does_not_stop_the_next() {
    let server = Server::with_secrets(6);
    let nodes = ApiScope::new(ApiResource::new("", "v1", "nodes").unwrap(), false);
    let options = ApiMigrationOptions::new("test", [nodes, ApiScope::new(secrets(), true)]);
    server.on_call(|call| match call {
        Call::List(options) if options.resource.plural() == "nodes" => {
            Some(Reply::Fails(Error::new(ErrorKind::Unsupported, "405")))
        }
        _ => None,
    });
    let report = migrate(&server, &options);
    assert_incomplete(&report);
    assert_eq!(report.unread_count, 1);
    assert_eq!(report.unread[0].resource, "nodes");
    assert_eq!(report.counts.written, 6);
}

#[test]
fn only_the_namespaces_that_are_named_are_touched() {
    let server = Server::with_secrets(9);
    let scope = ApiScope::new(secrets(), true).with_namespaces(["b", "a"]);
    let report = migrate(&server, &ApiMigrationOptions::new("test", [scope]));
    assert_complete(&report);
    assert_eq!(report.scopes, ["v1 secrets in a, b"]);
    assert_eq!(report.counts.written, 6);
    assert!(server.writes().keys().all(|key| !key.contains("/a-b/")));
}

/// R10, R40: KMS v1 under its old name holds everything for fresh, so it is refused before anything
/// is asked; with a new name, or with v2, it goes on.
#[test]
fn kms_v1_under_an_old_name_is_refused_with_the_remedy() {
    let server = Server::with_secrets(3);
    let with = |providers: &[&str], are_new: bool, dry_run: bool| {
        let scope =
            ApiScope::new(secrets(), true).with_configuration(&config(&[("secrets", providers)]));
        let options = ApiMigrationOptions::new("test", [scope])
            .with_new_kms_v1_names(are_new)
            .with_dry_run(dry_run);
        migrate_with(&server, &options, None)
    };
    for dry_run in [true, false] {
        let error = with(&["v1:old", "identity"], false, dry_run).unwrap_err();
        assert!(error.message().contains("`old`"), "{error}");
        assert!(
            error.remedy().contains("another provider name"),
            "{}",
            error.remedy()
        );
        assert_eq!(
            error.provider_error().unwrap().kind(),
            ErrorKind::Unsupported
        );
    }
    assert_eq!((server.rewrites(), server.lists()), (0, 0));
    // To read v1 is no reason.
    assert_complete(&with(&["v2:new", "v1:old"], false, true).unwrap());
    assert_complete(&with(&["v1:new", "v1:old"], true, false).unwrap());
}

#[test]
fn what_a_resource_is_written_with_follows_from_the_configuration() {
    let config = config(&[
        ("secrets", &["aesgcm:one+two", "identity"]),
        ("configmaps", &["identity", "v2:kms"]),
        ("deployments.apps", &["v2:other"]),
    ]);
    for (group, plural, provider, name) in [
        ("", "secrets", ProviderKind::AesGcm, Some("one")),
        ("", "configmaps", ProviderKind::Identity, None),
        ("apps", "deployments", ProviderKind::KmsV2, Some("other")),
        ("", "pods", ProviderKind::Identity, None),
    ] {
        let resource = ApiResource::new(group, "v1", plural).unwrap();
        let scope = ApiScope::new(resource, true).with_configuration(&config);
        let written = scope.written_with.unwrap();
        assert_eq!(
            (written.provider(), written.name()),
            (provider, name),
            "{plural}"
        );
        assert_eq!(written.key_id(), None);
    }
}
