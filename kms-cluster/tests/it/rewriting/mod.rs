//! Migration through the API, over a server in memory that does what a test wants at each call.

mod access;
mod conflicts;
mod lists;
mod outage;
mod places;
mod server;
mod throttling;

use kms_core::object::ApiResource;
use kms_envelope::reencrypt::{
    ApiMigration, ApiMigrationEnd, ApiMigrationOptions, ApiMigrationPhase, ApiMigrationReport,
    ApiScope, CheckpointStore,
};

pub(crate) use server::{Call, Reply, Server};

pub(crate) fn secrets() -> ApiResource {
    ApiResource::new("", "v1", "secrets").unwrap()
}

/// All Secrets, with a place to keep that loses nothing.
pub(crate) fn options() -> ApiMigrationOptions {
    let scope = ApiScope::new(secrets(), true);
    ApiMigrationOptions::new("test", [scope])
        .with_page_limit(4)
        .with_checkpoint_interval(std::time::Duration::ZERO)
}

/// Migrates to the end.
#[track_caller]
pub(crate) fn migrate(server: &Server, options: &ApiMigrationOptions) -> ApiMigrationReport {
    migrate_with(server, options, None).unwrap()
}

#[track_caller]
pub(crate) fn migrate_with(
    server: &Server,
    options: &ApiMigrationOptions,
    checkpoints: Option<&dyn CheckpointStore>,
) -> Result<ApiMigrationReport, kms_envelope::Error> {
    let mut migration = ApiMigration::new(server, &server.clock, options);
    if let Some(checkpoints) = checkpoints {
        migration = migration.with_checkpoints(checkpoints);
    }
    let run = migration.run(std::future::pending(), |_| ());
    server.clock.run(run).expect("it ends")
}

#[track_caller]
pub(crate) fn assert_complete(report: &ApiMigrationReport) {
    assert!(
        matches!(report.end, ApiMigrationEnd::Complete),
        "{report:#?}"
    );
}

#[track_caller]
pub(crate) fn assert_incomplete(report: &ApiMigrationReport) {
    assert!(
        matches!(report.end, ApiMigrationEnd::Incomplete),
        "{report:#?}"
    );
}

/// R23: every object is written once, and a second pass finds nothing to write.
#[test]
fn what_is_stale_is_written_once_and_confirmed() {
    let server = Server::with_secrets(10);
    let mut phases = Vec::new();
    let options = options();
    let migration = ApiMigration::new(&server, &server.clock, &options);
    let run = migration.run(std::future::pending(), |shown| {
        phases.push((shown.phase, shown.done, shown.total));
    });
    let report = server.clock.run(run).unwrap().unwrap();
    assert_complete(&report);
    assert!(report.is_settled);
    assert_eq!(
        (report.passes, report.counts.objects, report.counts.written),
        (2, 10, 10)
    );
    assert_eq!((report.last_pass.objects, report.last_pass.fresh), (10, 10));
    assert!(
        server.writes().values().all(|writes| *writes == 1),
        "{:?}",
        server.writes()
    );
    assert!(
        phases.contains(&(ApiMigrationPhase::Rewriting, 10, Some(10))),
        "{phases:?}"
    );
    assert_eq!(
        phases.last(),
        Some(&(ApiMigrationPhase::Confirming, 10, Some(10)))
    );
    assert!(report.proves.contains("census"));

    // Once more: there is nothing to write, which is the proof, and needs no second pass.
    let again = migrate(&server, &options);
    assert_complete(&again);
    assert_eq!((again.passes, again.counts.fresh), (1, 10));
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let server = Server::with_secrets(10);
    let report = migrate(&server, &options().with_dry_run(true));
    assert_complete(&report);
    assert_eq!((report.counts.objects, report.counts.written), (10, 0));
    assert!(!report.is_settled);
    assert!(server.writes().is_empty());
    assert_eq!(server.rewrites(), 0);
}

#[test]
fn no_more_is_on_its_way_than_told() {
    let server = Server::with_secrets(20).with_latency(std::time::Duration::from_millis(50));
    migrate(&server, &options().with_page_limit(20).with_concurrency(3));
    assert_eq!(server.most_at_once(), 3);
}

/// Server B does not have the new key, and holds what it wrote for fresh.
#[test]
fn servers_that_disagree_are_not_settled() {
    let server = Server::with_secrets(3);
    let options = options();
    // The key flips with every call to rewrite.
    server.on_call({
        let generation = server.generation.clone();
        let mut odd = false;
        move |call| {
            if let Call::Rewrite(_) = call {
                odd = !odd;
                generation.store(if odd { 1 } else { 2 }, std::sync::atomic::Ordering::SeqCst);
            }
            None
        }
    });
    let report = migrate(&server, &options);
    assert_incomplete(&report);
    assert!(!report.is_settled);
    assert_eq!(report.passes, 3);
    assert!(report.last_pass.written > 0);
}

#[test]
fn a_report_is_json_with_stable_names() {
    let server = Server::with_secrets(1);
    let report = migrate(&server, &options());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["end"]["state"], "complete");
    assert_eq!(json["scopes"], serde_json::json!(["v1 secrets"]));
    assert_eq!(json["counts"]["written"], 1);
    assert_eq!(json["is_settled"], true);
    assert_eq!(json["left"], serde_json::json!([]));
}
