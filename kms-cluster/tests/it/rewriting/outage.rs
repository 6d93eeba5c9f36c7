//! Servers that fail, and single objects that make them fail.

use core::time::Duration;

use kms_core::{Clock as _, Error, ErrorKind, Tick};
use kms_envelope::reencrypt::{ApiMigrationEnd, ApiStopReason, LeftReason};

use super::{
    Call, Reply, Server, assert_complete, assert_incomplete, migrate, migrate_with, options,
};
use crate::migrate::Kept;

fn failing(kind: ErrorKind) -> Reply {
    Reply::Fails(Error::new(kind, "it fails"))
}

#[test]
fn an_outage_is_waited_out() {
    let server = Server::with_secrets(20);
    let clock = server.clock.clone();
    server.on_call(move |_| {
        let now = clock.now().since(Tick::ORIGIN).as_secs();
        (1..240)
            .contains(&now)
            .then(|| failing(ErrorKind::Unavailable))
    });
    // Slow enough to be in the middle when it begins.
    let server = server.with_latency(Duration::from_millis(300));
    let report = migrate(&server, &options());
    assert_complete(&report);
    assert_eq!((report.counts.written, report.counts.left), (20, 0));
    assert!(server.writes().values().all(|writes| *writes == 1));
}

#[test]
fn an_outage_without_end_stops_it_where_it_can_go_on() {
    let server = Server::with_secrets(20);
    let kept = Kept::default();
    let mut calls = 0;
    server.on_call(move |call| {
        if let Call::Rewrite(_) = call {
            calls += 1;
        }
        (calls > 10).then(|| failing(ErrorKind::DeadlineExceeded))
    });
    let report = migrate_with(&server, &options(), Some(&kept)).unwrap();
    let ApiMigrationEnd::Stopped(ApiStopReason::Server(error)) = &report.end else {
        panic!("{report:#?}");
    };
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let took = server.clock.now().since(Tick::ORIGIN).as_secs();
    assert!((300..330).contains(&took), "{took}");
    server.undisturbed();
    let report = migrate_with(&server, &options().with_resume(true), Some(&kept)).unwrap();
    assert_complete(&report);
    assert_eq!(
        (
            report.counts.objects,
            report.counts.written + report.counts.fresh
        ),
        (20, 20)
    );
    assert!(server.writes().values().all(|writes| *writes == 1));
    assert!(kept.0.lock().unwrap().is_none());
}

#[test]
fn one_object_that_fails_is_named_and_the_rest_goes_on() {
    let server = Server::with_secrets(20);
    server.on_call(|call| match call {
        Call::Rewrite(object) if object.name() == "007" => Some(failing(ErrorKind::Unavailable)),
        _ => None,
    });
    let report = migrate(&server, &options());
    assert_incomplete(&report);
    let [left] = report.left.as_slice() else {
        panic!("{report:#?}");
    };
    assert_eq!(left.path, "a-b/007");
    assert_eq!(left.reason, LeftReason::Failed("it fails".to_owned()));
    assert_eq!(server.writes().len(), 19);
    let took = server.clock.now().since(Tick::ORIGIN);
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// There is no other whose success would tell, so the server is asked something else.
#[test]
fn the_only_object_that_fails_is_named_too() {
    let server = Server::with_secrets(1);
    server.on_call(|call| match call {
        Call::Rewrite(_) => Some(failing(ErrorKind::Unavailable)),
        Call::List(_) => None,
    });
    let report = migrate(&server, &options());
    assert_incomplete(&report);
    assert_eq!(report.last_pass.left, 1);
}

#[test]
fn what_time_does_not_heal_stops_at_once() {
    for kind in [
        ErrorKind::Unauthenticated,
        ErrorKind::Protocol,
        ErrorKind::Io,
    ] {
        let server = Server::with_secrets(20);
        server.on_call(move |call| match call {
            Call::Rewrite(object) if object.name() == "007" => Some(failing(kind)),
            _ => None,
        });
        let report = migrate(&server, &options());
        let ApiMigrationEnd::Stopped(reason @ ApiStopReason::Server(error)) = &report.end else {
            panic!("{report:#?}");
        };
        assert_eq!(error.kind(), kind);
        assert_eq!(reason.remedy(), kind.remedy());
        assert_eq!(server.clock.now(), Tick::ORIGIN);
    }
}
