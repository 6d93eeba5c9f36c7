//! Users, passwords, and what they may do.

use kms_cluster::etcd::{EtcdStore, EtcdUser};
use kms_core::object::{HistoryOptions, ObjectSource as _, ScanOptions};
use kms_core::{ErrorKind, SecretBytes};

use super::server::Server;
use super::{call, create, key};

fn user(name: &str, password: &str) -> EtcdUser {
    EtcdUser::new(name, SecretBytes::copy_from_slice(password.as_bytes())).unwrap()
}

/// An etcd that asks for a password: `root` may do all, `reader` may read `/registry/`.
fn guarded() -> Server {
    let mut server = Server::start();
    for command in [
        &["user", "add", "root:hunter2"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "reader:letmein"],
        &["role", "add", "reads"],
        &[
            "role",
            "grant-permission",
            "reads",
            "--prefix=true",
            "read",
            "/registry/",
        ],
        &["user", "grant-role", "reader", "reads"],
        &["auth", "enable"],
    ] {
        server.control(command);
    }
    server.control = vec!["--user=root:hunter2".into()];
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_user_logs_in_and_again_when_the_token_is_gone() {
    let server = guarded();
    let options = super::options(server.url()).with_user(user("root", "hunter2"));
    let store = EtcdStore::connect(options).await.unwrap();
    create(&store, &key("/registry/a"), b"1").await;
    // etcd forgets all tokens.
    server.control(&["auth", "disable"]);
    server.control(&["auth", "enable"]);
    create(&store, &key("/registry/b"), b"2").await;
    assert_eq!(super::scan(&store, ScanOptions::default()).await.len(), 2);
    assert_eq!(
        super::history(&store, HistoryOptions::default())
            .await
            .len(),
        2
    );
    // A change of rights makes those that were given before old.
    server.control(&["role", "add", "another"]);
    create(&store, &key("/registry/c"), b"3").await;
    assert!(!format!("{store:?} {store}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn whoever_may_not_is_told_what_is_missing() {
    let server = guarded();
    let wrong = super::options(server.url()).with_user(user("root", "hunter3"));
    let error = EtcdStore::connect(wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter3"));
    let nobody = super::options(server.url());
    let error = EtcdStore::connect(nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(error.remedy().contains("password"), "{}", error.remedy());

    let reader = super::options(server.url()).with_user(user("reader", "letmein"));
    let store = EtcdStore::connect(reader).await.unwrap();
    let permitted = ScanOptions::default().with_prefix("/registry/");
    assert!(super::scan(&store, permitted).await.is_empty());
    let error = store.scan(&ScanOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    create_as_root(&server).await;
    let error = store.history(&HistoryOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.message().contains("all keys"), "{error}");
}

async fn create_as_root(server: &Server) {
    let root = super::options(server.url()).with_user(user("root", "hunter2"));
    let store = EtcdStore::connect(root).await.unwrap();
    create(&store, &key("/registry/a"), b"1").await;
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn a_password_that_nobody_asks_for_does_no_harm() {
    let server = Server::start();
    let options = super::options(server.url()).with_user(user("root", "hunter2"));
    let store = EtcdStore::connect(options).await.unwrap();
    assert!(store.identity(&call()).await.unwrap().live);
}
