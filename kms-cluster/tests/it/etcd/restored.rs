//! A file and a live etcd say the same, whichever was there first.

use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use kms_cluster::etcd::EtcdStore;
use kms_cluster::snapshot::Snapshot;
use kms_core::object::{
    HistoryOptions, HistoryRecord, ObjectKey, ObjectSource, Revision, ScanOptions,
};
use kms_envelope::kubernetes::{ConfiguredNames, EncryptionConfiguration};
use kms_envelope::reencrypt::{CensusOptions, take_census};

use super::server::Server;
use super::{connect, create, delete, key, replace};

fn vectors(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors/etcd-snapshot")
        .join(name)
}

async fn census(source: &dyn ObjectSource) -> (serde_json::Value, Revision) {
    let config = std::fs::read_to_string(vectors("encryption-config.yaml")).unwrap();
    let config = EncryptionConfiguration::parse(&config).unwrap();
    let providers = config.resources.iter().flat_map(|entry| &entry.providers);
    let options = CensusOptions::default()
        .with_names(ConfiguredNames::new(providers))
        .with_by_namespace(true)
        .with_key_digests(true);
    let scan = ScanOptions::default();
    let (report, revision) = take_census(source, &scan, &options, true, |_| {})
        .await
        .unwrap();
    (serde_json::to_value(report).unwrap(), revision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_census_of_a_backup_and_of_the_cluster_restored_from_it_are_the_same() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("snapshot.db");
    let mut bytes = Vec::new();
    let packed = std::fs::File::open(vectors("snapshot.db.gz")).unwrap();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    std::fs::write(&path, bytes).unwrap();

    let snapshot = Snapshot::open(&path).unwrap();
    let (expected, at) = census(&snapshot).await;
    let server = Server::restore(&path);
    let store = connect(server.url()).await;
    let (found, revision) = census(&store).await;
    assert_eq!(revision, at);
    assert!(expected["live"]["census"].as_array().unwrap().len() > 10);
    assert_eq!(found, expected);
    let objects = super::scan(&store, ScanOptions::default()).await;
    assert!(objects == super::scan(&snapshot, ScanOptions::default()).await);
    let records = super::history(&store, HistoryOptions::default()).await;
    assert!(records == super::history(&snapshot, HistoryOptions::default()).await);
}

/// Deletions at the compacted revision are kept by some versions of etcd and lost by others.
fn but_old_deletions(records: Vec<HistoryRecord>, floor: Revision) -> Vec<HistoryRecord> {
    let keeps = |record: &HistoryRecord| record.value.is_some() || record.position.revision > floor;
    records.into_iter().filter(keeps).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd"]
async fn a_backup_of_a_cluster_says_what_the_cluster_says() {
    let mut server = Server::start();
    let store = connect(server.url()).await;
    let name = |number: usize| {
        let folder = ["secrets", "configmaps", "events"][number % 3];
        key(format!("/registry/{folder}/ns-{}/{number:04}", number % 7))
    };
    let value = |number: usize, round: u8| vec![round; number % 600];
    let mut made: Vec<(ObjectKey, Revision)> = Vec::new();
    for number in 0..2000 {
        let at = create(&store, &name(number), &value(number, 1)).await;
        made.push((name(number), at));
    }
    let mut floor = Revision::default();
    for (number, (key, at)) in made.iter_mut().enumerate() {
        match number % 5 {
            0 => *at = replace(&store, key, *at, &value(number, 2)).await,
            1 => *at = delete(&store, key, *at).await,
            _ => {}
        }
        if number == 1000 {
            floor = *at;
        }
        if number % 5 == 0 && number % 2 == 0 {
            *at = replace(&store, key, *at, &value(number, 3)).await;
        }
    }
    server.compact(floor);
    // One transaction, several changes: a range is deleted at once.
    server.control(&["del", "/registry/events/ns-1/", "--prefix"]);

    let path = server.directory.path().join("backup.db");
    server.control(&["snapshot", "save", path.to_str().unwrap()]);
    let snapshot = Snapshot::open(&path).unwrap();
    assert_eq!(snapshot.info().compacted, Some(floor));
    let everything = ScanOptions::default;
    let objects = super::scan(&store, everything()).await;
    assert!(objects.len() > 1000);
    assert!(objects == super::scan(&snapshot, everything()).await);
    let middle = everything().with_at(Revision::new(floor.get() + 100));
    let then = super::scan(&store, middle.clone()).await;
    assert!(then == super::scan(&snapshot, middle).await);
    // Few keys at a time: many passes.
    let narrow = super::options(server.url()).with_history_window_bytes(9000);
    let narrow = EtcdStore::connect(narrow).await.unwrap();
    let old = super::history(&narrow, HistoryOptions::default()).await;
    assert!(old == super::history(&store, HistoryOptions::default()).await);
    for prefix in ["", "/registry/secrets/"] {
        for limit in [7, 500, 100_000] {
            let options = HistoryOptions::default()
                .with_prefix(prefix)
                .with_page_limit(limit);
            let live = but_old_deletions(super::history(&store, options.clone()).await, floor);
            let file = but_old_deletions(super::history(&snapshot, options).await, floor);
            assert!(live.iter().any(|record| record.position.revision < floor));
            assert!(live.iter().any(|record| record.value.is_none()));
            assert_eq!(live.len(), file.len());
            assert!(live == file, "history of {prefix:?} by {limit}");
        }
    }
    // The census is of one revision; the file of a member that is stopped has the same.
    let (of_store, at) = census(&store).await;
    server.stop();
    let member = Snapshot::open(server.database()).unwrap();
    let (of_member, member_at) = census(&member).await;
    assert_eq!(at, member_at);
    assert_eq!(of_store, of_member);
}
