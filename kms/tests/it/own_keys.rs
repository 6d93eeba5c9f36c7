//! What this software keeps in a cluster's etcd is told from the cluster's objects.

use crate::command::{Ran, kms};
use crate::etcd_server::Server;

const CONFIG: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources: [{resources: [configmaps], providers: [{identity: {}}]}]
";

const OBJECT: &str =
    r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"ns"}}"#;

fn export(server: &Server, more: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let config = ["--encryption-config", config.to_str().unwrap()];
    let etcd = ["etcd", "export", "--etcd", server.url()];
    kms(&[&etcd[..], &config, more].concat())
}

#[test]
#[ignore = "needs etcd"]
fn where_a_rotation_stands_is_no_object() {
    let server = Server::start();
    server.control(&["put", "/registry/configmaps/ns/a", OBJECT]);
    for own in [
        "/kms/rotation/default",
        "/kms/rotation-checkpoint",
        "/kms/migrate/0a/checkpoint",
    ] {
        server.control(&["put", own, "{}\n{}"]);
    }
    let all = export(&server, &[]).ok();
    assert!(all.text().contains("ConfigMap"), "{all:?}");
    assert!(all.stderr.contains("3 keys below /kms/"), "{all:?}");
    assert!(!all.stderr.contains("damaged"), "{all:?}");

    // Who asks for them gets them.
    let asked = export(&server, &["--prefix", "/kms/", "--format", "raw"]).ok();
    assert_eq!(asked.text().lines().count(), 3, "{asked:?}");

    let census = kms(&["census", "--etcd", server.url()]).ok();
    assert!(
        census
            .text()
            .contains("3 keys are not under the API server's prefix; 3 of them, below /kms/"),
        "{}",
        census.text()
    );
    server.control(&["put", "/elsewhere/x", "{}"]);
    let census = kms(&["census", "--etcd", server.url()]).ok();
    assert!(census.text().contains("4 keys are not"));
    assert!(census.text().contains("; 3 of them"), "{}", census.text());
    // The figures of the JSON count keys, whosever they are.
    let json = kms(&["census", "--etcd", server.url(), "--json"])
        .ok()
        .json();
    assert_eq!(json["live"]["keys"], 5);
    assert_eq!(json.get("own_keys"), None);
}

#[test]
#[ignore = "needs etcd"]
fn an_export_of_nothing_says_so() {
    let server = Server::start();
    server.control(&["put", "/registry/configmaps/ns/a", OBJECT]);
    let ran = export(&server, &["--prefix", "/registry/nope/"]).ok();
    assert_eq!(ran.text(), "");
    assert!(ran.stderr.contains("/registry/nope/"), "{ran:?}");
    let ran = export(&server, &["--prefix", "/registry/configmaps/"]).ok();
    assert_eq!(ran.stderr, "");
}
