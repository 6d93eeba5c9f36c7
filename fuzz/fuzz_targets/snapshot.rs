//! Snapshots: a file of which pages were overwritten gives an answer, and no record is read that
//! was not there. The first bytes of the input say where the rest is written.
#![no_main]

use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use kms_cluster::snapshot::{Snapshot, SnapshotOptions};
use kms_testkit::objects::DatabaseWriter;
use libfuzzer_sys::fuzz_target;

const RECORDS: usize = 400;

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut writer = DatabaseWriter::new(Cursor::new(Vec::new())).expect("in memory");
    for number in 0..RECORDS {
        let key = format!("/registry/secrets/ns/{}", number % 90);
        let length = if number % 61 == 0 { 5000 } else { 40 };
        writer
            .put(key.as_bytes(), &vec![7; length], None)
            .expect("in memory");
    }
    writer.finish().expect("in memory").into_inner()
});

fuzz_target!(|input: &[u8]| {
    let Some((place, patch)) = input.split_first_chunk::<4>() else {
        return;
    };
    let mut file = FILE.clone();
    let at = u32::from_le_bytes(*place) as usize % file.len();
    let length = patch.len().min(file.len() - at);
    file[at..at + length].copy_from_slice(&patch[..length]);
    let Ok(snapshot) = Snapshot::from_bytes(file, "fuzz", &SnapshotOptions::default()) else {
        return;
    };
    let mut records = 0;
    let _ = snapshot.sweep(None, |record| {
        assert!(!record.key.is_empty());
        records += 1;
        ControlFlow::Continue(())
    });
    // A page holds 4,096 bytes, so a patch cannot make many more.
    assert!(records <= RECORDS + input.len());
});
