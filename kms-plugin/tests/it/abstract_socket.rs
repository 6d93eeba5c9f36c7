//! Abstract sockets, which have no file to hold a mode.
#![cfg(target_os = "linux")]

use std::io::Read as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use kms_core::{ErrorKind, KeyProvider};
use kms_plugin::socket::{ListenOptions, Listener, SocketAddress};

use crate::support::{Served, dek, provider, quick, well};

/// Names the socket for the child process of the test below.
const CHILD: &str = "KMS_PLUGIN_TEST_ABSTRACT_NAME";
/// The user that the child runs as: nobody.
const STRANGER: u32 = 65_534;

fn address(name: &str) -> SocketAddress {
    let name = format!("kms-plugin-test-{}-{name}", std::process::id());
    SocketAddress::from_abstract_name(name).unwrap()
}

#[tokio::test]
async fn a_client_of_the_same_user_works() {
    let address = address("same");
    let served = Served::at(&address, quick(provider())).await;
    let client = served.client();
    let id = well(&client).await;
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    assert_eq!(wrapped.key_id(), Some(&id));
    let taken = Listener::bind(&address, &ListenOptions::default()).await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::Conflict);
    served.stop().await.unwrap();
    // The name is free again.
    Listener::bind(&address, &ListenOptions::default())
        .await
        .unwrap();
}

/// Runs as another user, in a process of its own, and tells by its exit code whether the server
/// keeps the connection open.
#[test]
#[ignore = "the child process of the next test"]
fn stranger() {
    let Ok(name) = std::env::var(CHILD) else {
        return;
    };
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let mut stream = UnixStream::connect_addr(&address).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    // A server that takes the connection speaks when the preface is there.
    std::io::Write::write_all(
        &mut stream,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    )
    .ok();
    let taken = matches!(stream.read(&mut [0; 9]), Ok(count) if count > 0);
    std::process::exit(if taken { 10 } else { 11 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_let_in_only_when_told() {
    if std::fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt as _;
        own.uid() != 0
    }) {
        println!("skipped: needs root, to become another user");
        return;
    }
    for (name, options, expected) in [
        ("refused", ListenOptions::default(), 11),
        ("told", ListenOptions::default().with_peer_uid(STRANGER), 10),
    ] {
        let address = address(name);
        let listener = Listener::bind(&address, &options).await.unwrap();
        let plugin = quick(provider()).build().unwrap();
        let server =
            tokio::spawn(async move { plugin.serve(listener, std::future::pending()).await });
        // A copy in a place that everyone may execute from.
        let place = tempfile::tempdir_in("/tmp").unwrap();
        let program = place.path().join("stranger");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        for path in [place.path(), &program] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(path, mode).unwrap();
        }
        let mut child = Command::new(&program);
        child
            .args(["--exact", "abstract_socket::stranger", "--ignored"])
            .env(CHILD, address.abstract_name().unwrap())
            .current_dir("/")
            .uid(STRANGER)
            .gid(STRANGER);
        let status = tokio::task::spawn_blocking(move || child.status())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(status.code(), Some(expected), "{name}");
        server.abort();
    }
}
