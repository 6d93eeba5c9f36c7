//! Lists that expire, and lists that fail.

use core::time::Duration;

use kms_core::object::ObjectKey;
use kms_core::{Clock as _, Error, ErrorKind};
use kms_envelope::reencrypt::{ApiMigrationEnd, ApiStopReason};

use super::{Call, Reply, Server, assert_complete, assert_incomplete, migrate, options, secrets};

fn expire(store: &kms_cluster::embedded::EmbeddedStore) {
    let key = ObjectKey::new("/registry/other").unwrap();
    let revision = store.put(&key, vec![0], None).unwrap();
    store.compact(revision).unwrap();
}

/// A list is good for a second, in which ten objects are rewritten.
#[test]
fn a_list_that_expires_is_begun_again_and_nothing_is_done_twice() {
    let server = Server::with_secrets(50).with_latency(Duration::from_millis(100));
    let (store, clock) = (server.store.clone(), server.clock.clone());
    let mut began = clock.now();
    server.on_call(move |call| {
        match call {
            Call::List(options) if options.page_limit == 1 => {}
            Call::List(options) if options.after.is_none() => began = clock.now(),
            Call::List(_) if clock.now().since(began) > Duration::from_secs(1) => expire(&store),
            _ => {}
        }
        None
    });
    let report = migrate(&server, &options().with_concurrency(1));
    assert_complete(&report);
    assert_eq!(report.counts.written, 50);
    assert!(report.counts.restarts >= 6, "{report:#?}");
    assert_eq!(report.counts.objects, 50);
    // Compaction hides the history, so what was asked for tells: once, and once to confirm.
    let asked = server.asked();
    assert!(asked.values().all(|times| *times == 2), "{asked:?}");
}

/// Nothing is ever gained.
#[test]
fn a_list_that_cannot_be_read_to_its_end_ends_it() {
    let server = Server::with_secrets(30);
    server.on_call(|call| match call {
        Call::List(options) if options.after.is_some() => {
            Some(Reply::Fails(Error::new(ErrorKind::Compacted, "too late")))
        }
        _ => None,
    });
    let report = migrate(&server, &options());
    let ApiMigrationEnd::Stopped(ApiStopReason::Server(error)) = &report.end else {
        panic!("{report:#?}");
    };
    assert_eq!(error.kind(), ErrorKind::Compacted);
    assert_eq!(report.counts.written, 4);
    assert!(server.lists() < 20);
}

/// One object that no key opens makes every list fail that it would be in.
#[test]
fn an_object_that_does_not_open_takes_its_own_namespace_with_it_alone() {
    let server = Server::with_secrets(30);
    server.on_call(|call| match call {
        Call::List(options)
            if options.resource == secrets()
                && options.namespace.as_deref().is_none_or(|it| it == "a-b") =>
        {
            let message = "unable to transform key \"/registry/secrets/a-b/001\"";
            Some(Reply::Fails(Error::new(ErrorKind::Unavailable, message)))
        }
        _ => None,
    });
    let report = migrate(&server, &options());
    assert_incomplete(&report);
    let [unread] = report.unread.as_slice() else {
        panic!("{report:#?}");
    };
    assert_eq!(unread.namespace.as_deref(), Some("a-b"));
    assert!(
        unread.message.contains("/registry/secrets/a-b/001"),
        "{unread}"
    );
    assert_eq!(report.counts.written, 20);
    assert!(report.is_settled);
    assert!(server.writes().keys().all(|key| !key.contains("/a-b/")));
}

/// Without the right to list namespaces, the resource is reported as a whole.
#[test]
fn a_resource_that_cannot_be_split_is_reported() {
    let server = Server::with_secrets(6);
    server.on_call(|call| match call {
        Call::List(options) if options.resource == secrets() => {
            Some(Reply::Fails(Error::new(ErrorKind::Unavailable, "500")))
        }
        Call::List(_) => Some(Reply::Fails(Error::new(ErrorKind::PermissionDenied, "403"))),
        Call::Rewrite(_) => None,
    });
    let report = migrate(&server, &options().with_patience(Duration::from_secs(600)));
    assert_incomplete(&report);
    assert_eq!(report.unread.len(), 1);
    assert_eq!(report.unread[0].namespace, None);
    assert_eq!(report.counts.objects, 0);
}
