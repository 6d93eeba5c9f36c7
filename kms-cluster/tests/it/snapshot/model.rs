//! Whatever is written, the file says what a store in memory says.

use kms_cluster::embedded::EmbeddedStore;
use kms_cluster::snapshot::{Snapshot, SnapshotOptions};
use kms_core::object::{
    FetchOptions, HistoryOptions, HistoryRecord, LeaseId, ObjectKey, ObjectSource, Revision, Scan,
    ScanOptions, StoredObject,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Change {
    Put(u8, Vec<u8>, i64),
    Delete(u8),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let length = prop_oneof![4 => 0..40_usize, 2 => 900..1200_usize, 1 => 4000..9000_usize];
    let put = (0..20_u8, length, 0..2_i64)
        .prop_map(|(key, length, lease)| Change::Put(key, vec![key; length], lease));
    let change = prop_oneof![3 => put, 1 => (0..20_u8).prop_map(Change::Delete)];
    proptest::collection::vec(change, 0..80)
}

fn key(number: u8) -> ObjectKey {
    ObjectKey::new(format!("/registry/secrets/ns-{}/{number}", number % 3)).unwrap()
}

/// The same changes in a file and in memory.
fn both(changes: &[Change], window: usize) -> (Snapshot, EmbeddedStore) {
    let mut file = super::writer();
    let memory = EmbeddedStore::new("model");
    for change in changes {
        match change {
            Change::Put(number, value, lease) => {
                let lease = LeaseId::new(*lease);
                let at = memory.put(&key(*number), value.clone(), lease).unwrap();
                file.skip_to(at);
                file.put(key(*number).as_bytes(), value, lease).unwrap();
            }
            Change::Delete(number) => {
                if let Some(at) = memory.delete(&key(*number)).unwrap() {
                    file.skip_to(at);
                    file.delete(key(*number).as_bytes()).unwrap();
                }
            }
        }
    }
    let options = SnapshotOptions::default().with_window_bytes(window);
    let bytes = super::finish(file);
    (
        Snapshot::from_bytes(bytes, "file", &options).unwrap(),
        memory,
    )
}

async fn scan(source: &dyn ObjectSource, options: ScanOptions) -> Vec<StoredObject> {
    let mut scan = Scan::new(source, options);
    let mut objects = Vec::new();
    while let Some(page) = scan.next_page().await.unwrap() {
        objects.extend(page.objects);
    }
    objects
}

async fn history(source: &dyn ObjectSource, limit: u32) -> Vec<HistoryRecord> {
    let mut options = HistoryOptions::default()
        .with_prefix("/registry/secrets/ns-1/")
        .with_page_limit(limit);
    let mut records = Vec::new();
    loop {
        let page = source.history(&options).await.unwrap();
        records.extend(page.records);
        match page.next {
            Some(next) => options.after = Some(next),
            None => return records,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_file_and_a_store_in_memory_say_the_same(
        changes in changes(),
        window in prop_oneof![Just(1_usize), Just(500), Just(1 << 20)],
        limit in 1..9_u32,
        back in 0..30_u64,
        after in proptest::option::of(0..20_u8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (file, memory) = both(&changes, window);
            if !changes.is_empty() {
                let newest = memory.identity(&Default::default()).await.unwrap().revision;
                if newest > Revision::new(1) {
                    prop_assert_eq!(file.info().revision, newest);
                    let at = Revision::new(newest.get().saturating_sub(back).max(1));
                    for at in [None, Some(at)] {
                        let options = ScanOptions::default()
                            .with_page_limit(limit)
                            .with_after(after.map(key))
                            .with_at(at);
                        prop_assert_eq!(
                            scan(&file, options.clone()).await,
                            scan(&memory, options).await
                        );
                        let one = FetchOptions::default().with_at(at);
                        prop_assert_eq!(
                            file.fetch(&key(1), &one).await.unwrap(),
                            memory.fetch(&key(1), &one).await.unwrap()
                        );
                    }
                }
            }
            prop_assert_eq!(history(&file, limit).await, history(&memory, limit).await);
            Ok(())
        })?;
    }
}
