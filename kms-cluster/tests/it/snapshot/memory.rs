//! What a pass costs in memory: something for each key, nothing for values.

use std::fs::File;
use std::ops::ControlFlow;

use allocation_counter::measure;
use kms_cluster::snapshot::Snapshot;
use kms_core::object::ScanOptions;
use kms_testkit::objects::DatabaseWriter;

const MIB: u64 = 1024 * 1024;

/// Peaks of a sweep and of a scan's first page over that many objects, in bytes.
fn peaks(keys: u64, value_len: usize) -> (u64, u64) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    let mut writer = DatabaseWriter::new(file).unwrap();
    for number in 0..keys {
        let key = format!(
            "/registry/secrets/namespace-{}/a-secret-{number}",
            number % 50
        );
        writer
            .put(key.as_bytes(), &vec![b'x'; value_len], None)
            .unwrap();
    }
    writer.finish().unwrap();
    let snapshot = Snapshot::open(&path).unwrap();
    let mut live = 0;
    let sweep = measure(|| {
        snapshot
            .sweep(None, |record| {
                live += u64::from(record.is_live);
                ControlFlow::Continue(())
            })
            .unwrap();
    });
    assert_eq!(live, keys);
    // The reader runs on a thread of its own in a runtime; here on this one, to be measured.
    let scan = measure(|| {
        let page = snapshot.scan_blocking(&ScanOptions::default()).unwrap();
        assert_eq!(page.remaining, Some(keys - 500));
    });
    (sweep.bytes_max, scan.bytes_max)
}

#[test]
fn memory_grows_with_keys_and_not_with_values() {
    for (keys, value_len) in [(20_000, 40), (20_000, 1500), (150_000, 40)] {
        let (sweep, scan) = peaks(keys, value_len);
        let budget = keys * 40 + 32 * MIB;
        assert!(sweep < keys * 40 + MIB, "{keys} keys, {value_len}: {sweep}");
        assert!(scan < budget, "{keys} keys, {value_len}: {scan}");
    }
}
