//! Which resources there are.

use kms_core::{CallOptions, ErrorKind};
use kms_testkit::apiserver::{ApiServer, Fault, Place, Verb};
use serde_json::json;

use super::api;

fn call() -> CallOptions {
    CallOptions::default()
}

#[tokio::test]
async fn every_resource_is_found_once_in_the_preferred_version() {
    let server = ApiServer::builder()
        .resource("example.org", "v1alpha1", "oldies", "Oldie", false)
        .start()
        .await
        .unwrap();
    let found = api(&server).discover(&call()).await.unwrap();
    let names: Vec<_> = found
        .resources
        .iter()
        .map(|served| {
            format!(
                "{} {}{}{}",
                served.resource,
                served.resource.version(),
                if served.is_namespaced { "" } else { " global" },
                if served.can_be_rewritten {
                    ""
                } else {
                    " computed"
                }
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            "configmaps v1",
            "namespaces v1 global",
            "secrets v1",
            "deployments.apps v1",
            "gadgets.example.org v1",
            "oldies.example.org v1alpha1 global",
            "pods.metrics.k8s.io v1beta1 computed",
        ]
    );
    assert!(found.unserved.is_empty());
}

#[tokio::test]
async fn a_group_that_is_down_does_not_stop_the_rest() {
    let server = ApiServer::builder().start().await.unwrap();
    server.take_down("metrics.k8s.io");
    let api = api(&server);
    let found = api.discover(&call()).await.unwrap();
    assert_eq!(found.unserved, ["metrics.k8s.io/v1beta1"]);
    assert_eq!(found.resources.len(), 5);
    server.disturb(Verb::Discover, Fault::Status(503), None);
    let error = api.discover(&call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_resource_is_found_by_its_name() {
    let server = ApiServer::builder().start().await.unwrap();
    let api = api(&server);
    let found = api
        .find_resource("gadgets.example.org", &call())
        .await
        .unwrap();
    assert_eq!(found.resource.version(), "v1");
    for (name, kind) in [
        ("deployments", ErrorKind::InvalidInput),
        ("gadgets.example.com", ErrorKind::InvalidInput),
        ("gadgets.example.org/x", ErrorKind::InvalidInput),
        ("", ErrorKind::InvalidInput),
        ("a/../b", ErrorKind::InvalidInput),
    ] {
        let error = api.find_resource(name, &call()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}");
    }
    let error = api.find_resource("deployments", &call()).await.unwrap_err();
    assert!(
        error.remedy().contains("deployments.apps"),
        "{}",
        error.remedy()
    );
}

#[tokio::test]
async fn a_cluster_has_an_id_if_we_may_read_it() {
    let server = ApiServer::builder().start().await.unwrap();
    let api = api(&server);
    assert_eq!(api.cluster_id(&call()).await.unwrap(), None);
    let place = Place::without_namespace("namespaces", "kube-system");
    let made = server.create(&place, json!({})).await.unwrap();
    let uid = made.pointer("/metadata/uid").unwrap().as_str().unwrap();
    assert_eq!(api.cluster_id(&call()).await.unwrap().as_deref(), Some(uid));
    server.deny(kms_testkit::apiserver::Denial::new(Verb::Get, "namespaces"));
    assert_eq!(api.cluster_id(&call()).await.unwrap(), None);
}
