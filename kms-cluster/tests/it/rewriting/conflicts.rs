//! Others who write at the same time.

use kms_core::object::RewriteOutcome;
use kms_envelope::reencrypt::LeftReason;

use super::{Call, Reply, Server, assert_complete, assert_incomplete, migrate, options};

/// The other one writes through a server that does not have the new key.
#[test]
fn what_somebody_else_wrote_is_looked_at_again() {
    let server = Server::with_secrets(6);
    let store = server.store.clone();
    let mut left = 4;
    server.on_call(move |call| {
        if let Call::Rewrite(object) = call
            && object.name() == "001"
            && left > 0
        {
            left -= 1;
            let key = kms_core::object::ObjectKey::new("/registry/secrets/a-b/001").unwrap();
            store.put(&key, vec![0, left], None).unwrap();
        }
        None
    });
    let report = migrate(&server, &options());
    assert_complete(&report);
    assert_eq!(report.counts.conflicts, 4);
    assert_eq!(report.counts.written, 6);
    assert_eq!(server.writes()["/registry/secrets/a-b/001"], 1);
}

#[test]
fn an_object_that_never_holds_still_is_left_and_named() {
    let server = Server::with_secrets(3);
    server.on_call(|call| match call {
        Call::Rewrite(object) if object.name() == "001" => {
            Some(Reply::Outcome(RewriteOutcome::Conflict))
        }
        _ => None,
    });
    let report = migrate(&server, &options());
    assert_incomplete(&report);
    assert_eq!(report.last_pass.left, 1);
    let [left] = report.left.as_slice() else {
        panic!("{report:#?}");
    };
    assert_eq!(
        (left.path.as_str(), &left.reason),
        ("a-b/001", &LeftReason::AlwaysChanging)
    );
    assert_eq!(server.writes().len(), 2);
}

#[test]
fn what_is_deleted_meanwhile_stays_deleted() {
    let server = Server::with_secrets(6);
    let store = server.store.clone();
    server.on_call(move |call| {
        if let Call::Rewrite(object) = call
            && object.name() == "001"
        {
            let key = kms_core::object::ObjectKey::new("/registry/secrets/a-b/001").unwrap();
            store.delete(&key).unwrap();
        }
        None
    });
    let report = migrate(&server, &options());
    assert_complete(&report);
    assert_eq!((report.counts.gone, report.counts.written), (1, 5));
}

/// What is new under an old name is an object as any other.
#[test]
fn what_is_made_anew_is_rewritten_too() {
    let server = Server::with_secrets(6);
    let store = server.store.clone();
    let mut once = true;
    server.on_call(move |call| {
        if let Call::Rewrite(object) = call
            && object.name() == "001"
            && std::mem::take(&mut once)
        {
            let key = kms_core::object::ObjectKey::new("/registry/secrets/a-b/001").unwrap();
            store.delete(&key).unwrap();
            store.put(&key, vec![0, 1, 2], None).unwrap();
        }
        None
    });
    let report = migrate(&server, &options());
    assert_complete(&report);
    assert_eq!(server.writes()["/registry/secrets/a-b/001"], 1);
}

/// What is created while the first pass runs, through a server with the old key, the second finds.
#[test]
fn what_comes_in_behind_is_found_by_the_next_pass() {
    let server = Server::with_secrets(9);
    let store = server.store.clone();
    let mut calls = 0;
    server.on_call(move |call| {
        if let Call::Rewrite(_) = call {
            calls += 1;
            if calls == 9 {
                let key = kms_core::object::ObjectKey::new("/registry/secrets/a/new").unwrap();
                store.put(&key, vec![0], None).unwrap();
            }
        }
        None
    });
    let report = migrate(&server, &options());
    assert_complete(&report);
    assert_eq!((report.passes, report.counts.written), (3, 10));
    assert_eq!(server.writes()["/registry/secrets/a/new"], 1);
}
