//! Interruptions, and where it goes on.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kms_envelope::ErrorKind;
use kms_envelope::reencrypt::{ApiMigration, ApiMigrationEnd, ApiMigrationOptions, ApiStopReason};
use tokio::sync::Notify;

use super::{Call, Server, assert_complete, migrate_with, options};
use crate::migrate::Kept;

/// Long enough that there is a moment in which to stop.
const LATENCY: Duration = Duration::from_millis(10);

/// Ends it, as a signal does, when the server has been asked for so many rewrites.
fn stopped_after(
    server: &Server,
    rewrites: usize,
    kept: &Kept,
    options: &ApiMigrationOptions,
) -> ApiMigrationEnd {
    let (stop, count) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    let told = Arc::clone(&stop);
    server.on_call(move |call| {
        if let Call::Rewrite(_) = call
            && count.fetch_add(1, Ordering::SeqCst) + 1 == rewrites
        {
            told.notify_one();
        }
        None
    });
    let migration = ApiMigration::new(server, &server.clock, options).with_checkpoints(kept);
    let run = migration.run(stop.notified(), |_| ());
    let report = server.clock.run(run).unwrap().unwrap();
    server.undisturbed();
    report.end
}

#[test]
fn who_is_asked_to_stop_stops_and_goes_on_later() {
    let server = Server::with_secrets(40).with_latency(LATENCY);
    let kept = Kept::default();
    let options = options().with_concurrency(2);
    let end = stopped_after(&server, 15, &kept, &options);
    assert!(
        matches!(end, ApiMigrationEnd::Stopped(ApiStopReason::Asked)),
        "{end:?}"
    );
    let before = server.rewrites();
    assert!((15..20).contains(&before), "{before}");

    let report = migrate_with(&server, &options.with_resume(true), Some(&kept)).unwrap();
    assert_complete(&report);
    assert_eq!(report.counts.objects, 40);
    assert!(server.writes().values().all(|writes| *writes == 1));
    // The pages that were done with are not asked for again but to confirm.
    let (asked, done) = (server.rewrites() - before, before / 4 * 4);
    assert_eq!(asked, 40 - done + 40);
}

/// Dropped at every request in turn, as by `kill -9`.
#[test]
fn wherever_it_is_killed_it_goes_on_without_writing_twice() {
    for death in 1..60 {
        let server = Server::with_secrets(20);
        let kept = Kept::default();
        let options = options().with_concurrency(3);
        let dead = Arc::new(Notify::new());
        let told = Arc::clone(&dead);
        let mut calls = 0;
        server.on_call(move |_| {
            calls += 1;
            if calls == death {
                told.notify_one();
            }
            None
        });
        let migration = ApiMigration::new(&server, &server.clock, &options).with_checkpoints(&kept);
        let run = Box::pin(migration.run(std::future::pending(), |_| ()));
        let killed = futures_util::future::select(run, Box::pin(dead.notified()));
        drop(server.clock.run(killed).unwrap());
        server.undisturbed();
        let options = options.with_resume(true);
        let report = migrate_with(&server, &options, Some(&kept)).unwrap();
        assert_complete(&report);
        let writes = server.writes();
        assert_eq!(writes.len(), 20, "killed at call {death}");
        assert!(
            writes.values().all(|it| *it == 1),
            "killed at call {death}: {writes:?}"
        );
        assert!(kept.0.lock().unwrap().is_none());
    }
}

/// In the second pass the place is kept by whole units, and its findings with it.
#[test]
fn what_an_interrupted_pass_wrote_is_not_forgotten() {
    let server = Server::with_secrets(12).with_latency(LATENCY);
    let kept = Kept::default();
    let options = ApiMigrationOptions::new(
        "test",
        ["a", "b"].map(|namespace| {
            kms_envelope::reencrypt::ApiScope::new(super::secrets(), true)
                .with_namespaces([namespace])
        }),
    )
    .with_checkpoint_interval(Duration::ZERO)
    .with_concurrency(1);
    // The first pass asks for eight; in the second one, something stale is in the first unit, and
    // it is stopped in the second unit.
    let store = server.store.clone();
    let (stop, mut calls) = (Arc::new(Notify::new()), 0);
    let told = Arc::clone(&stop);
    server.on_call(move |call| {
        if let Call::Rewrite(_) = call {
            calls += 1;
            match calls {
                8 => {
                    let key = kms_core::object::ObjectKey::new("/registry/secrets/a/new").unwrap();
                    store.put(&key, vec![0], None).unwrap();
                }
                14 => told.notify_one(),
                _ => {}
            }
        }
        None
    });
    let migration = ApiMigration::new(&server, &server.clock, &options).with_checkpoints(&kept);
    let run = migration.run(stop.notified(), |_| ());
    let report = server.clock.run(run).unwrap().unwrap();
    assert!(
        matches!(report.end, ApiMigrationEnd::Stopped(_)),
        "{report:#?}"
    );
    assert_eq!((report.passes, report.last_pass.written), (2, 1));
    server.undisturbed();
    let report = migrate_with(&server, &options.with_resume(true), Some(&kept)).unwrap();
    assert_complete(&report);
    // A third one, since the second has written something before it was stopped.
    assert_eq!((report.passes, report.counts.written), (3, 9));
}

#[test]
fn the_checkpoint_of_another_migration_is_refused() {
    let server = Server::with_secrets(20).with_latency(LATENCY);
    let kept = Kept::default();
    stopped_after(&server, 5, &kept, &options());
    assert!(kept.0.lock().unwrap().is_some());
    let mut other = options().with_resume(true);
    other.cluster = "other".to_owned();
    let error = migrate_with(&server, &other, Some(&kept)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Checkpoint);
    assert!(error.message().contains("another cluster"), "{error}");
    // That of a migration over etcd is none of this one.
    *kept.0.lock().unwrap() = Some(br#"{"version": 1, "migration": {}}"#.to_vec());
    let error = migrate_with(&server, &options().with_resume(true), Some(&kept)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Checkpoint);
}

#[test]
fn a_dry_run_keeps_no_place() {
    let server = Server::with_secrets(5);
    let kept = Kept::default();
    let options = options().with_dry_run(true);
    migrate_with(&server, &options, Some(&kept)).unwrap();
    assert!(kept.0.lock().unwrap().is_none());
}
