//! Counts the keys of an etcd snapshot: `cargo run --example count_snapshot -- backup.db`.

use std::ops::ControlFlow;

use kms_cluster::snapshot::Snapshot;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/data/snapshot.db");
    let path = std::env::args().nth(1).unwrap_or_else(|| sample.to_owned());
    let snapshot = Snapshot::open(path)?;
    let mut keys = 0;
    snapshot.sweep(None, |record| {
        keys += u64::from(record.is_live);
        ControlFlow::Continue(())
    })?;
    println!("revision {}: {keys} keys", snapshot.info().revision);
    Ok(())
}
