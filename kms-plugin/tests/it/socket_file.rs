//! The socket file: whose it is, who may use it, and when it goes.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use kms_core::ErrorKind;
use kms_plugin::socket::{ListenOptions, Listener, SocketAddress};
use tempfile::tempdir;

async fn bind(path: &Path) -> Result<Listener, kms_core::Error> {
    let address = SocketAddress::from_path(path).unwrap();
    Listener::bind(&address, &ListenOptions::default()).await
}

#[tokio::test]
async fn only_the_owner_may_use_it_unless_told() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("kms.sock");
    let listener = bind(&path).await.unwrap();
    let found = fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    drop(listener);
    assert!(!path.exists(), "the file goes with the listener");

    let address = SocketAddress::from_path(&path).unwrap();
    let uid = fs::metadata(directory.path()).unwrap().uid();
    let gid = if uid == 0 {
        12
    } else {
        fs::metadata(directory.path()).unwrap().gid()
    };
    let options = ListenOptions::default()
        .with_mode(0o660)
        .with_owner_uid(uid)
        .with_owner_gid(gid);
    let _listener = Listener::bind(&address, &options).await.unwrap();
    let found = fs::symlink_metadata(&path).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);
    assert_eq!((found.uid(), found.gid()), (uid, gid));
    let options = ListenOptions::default().with_mode(0o1777);
    let error = Listener::bind(&address, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn the_file_of_a_server_that_is_gone_is_replaced() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("kms.sock");
    // The standard library's listener leaves its file, as a crash does.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _listener = bind(&path).await.unwrap();
    tokio::net::UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_live_server_is_not_disturbed() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("kms.sock");
    let _first = bind(&path).await.unwrap();
    let before = fs::symlink_metadata(&path).unwrap().ino();
    let error = bind(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before);
    tokio::net::UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn two_that_start_at_once_over_a_stale_file_leave_one_that_works() {
    for _ in 0..20 {
        let directory = tempdir().unwrap();
        let path = directory.path().join("kms.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (first, second) = tokio::join!(bind(&path), bind(&path));
        assert_ne!(first.is_ok(), second.is_ok(), "exactly one listens");
        tokio::net::UnixStream::connect(&path).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_waits_for_one_that_is_binding_the_same_path() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("kms.sock");
    drop(bind(&path).await.unwrap());
    // The lock file has stayed, for its owner alone.
    let lock = directory.path().join("kms.sock.lock");
    assert_eq!(
        fs::metadata(&lock).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let other = fs::File::open(&lock).unwrap();
    other.lock().unwrap();
    let mut binding = Box::pin(bind(&path));
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), &mut binding).await;
    assert!(early.is_err() && !path.exists());
    drop(other);
    binding.await.unwrap();
}

#[tokio::test]
async fn a_lock_on_the_directory_stops_nobody() {
    let directory = tempdir().unwrap();
    let other = fs::File::open(directory.path()).unwrap();
    other.lock().unwrap();
    bind(&directory.path().join("kms.sock")).await.unwrap();
}

#[tokio::test]
async fn a_lock_file_that_others_could_hold_is_refused() {
    type Prepare = fn(&Path);
    let ways: [Prepare; 4] = [
        |lock| {
            fs::write(lock, "").unwrap();
            fs::set_permissions(lock, fs::Permissions::from_mode(0o644)).unwrap();
        },
        |lock| std::os::unix::fs::symlink(lock.with_extension("elsewhere"), lock).unwrap(),
        |lock| drop(UnixListener::bind(lock).unwrap()),
        |lock| fs::create_dir(lock).unwrap(),
    ];
    for (number, prepare) in ways.iter().enumerate() {
        let directory = tempdir().unwrap();
        let path = directory.path().join("kms.sock");
        prepare(&directory.path().join("kms.sock.lock"));
        let error = bind(&path).await.unwrap_err();
        assert!(error.message().contains("kms.sock.lock"), "{error}");
        assert!(!path.exists(), "{number}");
        assert!(!directory.path().join("kms.sock.elsewhere").exists());
    }
    let directory = tempdir().unwrap();
    if fs::metadata(directory.path()).unwrap().uid() != 0 {
        println!("skipped: needs root, to make a file of another user's");
        return;
    }
    let lock = directory.path().join("kms.sock.lock");
    fs::write(&lock, "").unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&lock, Some(65_534), None).unwrap();
    let error = bind(&directory.path().join("kms.sock")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.remedy().contains("remove"), "{}", error.remedy());
}

#[tokio::test]
async fn a_directory_in_which_everybody_may_replace_the_socket_is_refused() {
    for (mode, good) in [
        (0o700, true),
        (0o755, true),
        (0o1777, true),
        (0o775, true),
        (0o707, false),
        (0o777, false),
        (0o2777, false),
    ] {
        let directory = tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        let bound = bind(&directory.path().join("kms.sock")).await;
        assert_eq!(bound.is_ok(), good, "{mode:o}");
        if let Err(error) = bound {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.remedy().starts_with("chmod o-w /"), "{mode:o}");
        }
    }
}

#[tokio::test]
async fn no_other_kind_of_file_is_touched() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    // A link to a stale socket is not a socket of ours.
    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&stale, &link).unwrap();
    for path in [&file, &folder, &link] {
        let error = bind(path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{}", path.display());
        assert!(error.message().contains("is not a socket"), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(folder.is_dir() && stale.exists());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let directory = tempdir().unwrap();
    let error = bind(&directory.path().join("no/kms.sock"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains("/no"), "{error}");
    assert!(error.remedy().contains("create the directory"), "{error}");
    assert!(error.remedy().contains("owned by"), "{}", error.remedy());
}

#[tokio::test]
async fn a_file_that_another_server_has_put_there_stays() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("kms.sock");
    let first = bind(&path).await.unwrap();
    fs::remove_file(&path).unwrap();
    let second = bind(&path).await.unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}
