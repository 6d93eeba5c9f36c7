//! Database files: the contract of a source, a model, damage, and memory.

mod batch;
mod conformance;
mod damaged;
mod memory;
mod model;

use std::io::Cursor;

use kms_cluster::snapshot::{Snapshot, SnapshotOptions};
use kms_core::Error;
use kms_testkit::objects::DatabaseWriter;

type MemoryWriter = DatabaseWriter<Cursor<Vec<u8>>>;

fn writer() -> MemoryWriter {
    DatabaseWriter::new(Cursor::new(Vec::new())).unwrap()
}

fn open(bytes: Vec<u8>) -> Result<Snapshot, Error> {
    Snapshot::from_bytes(bytes, "test", &SnapshotOptions::default())
}

fn finish(writer: MemoryWriter) -> Vec<u8> {
    writer.finish_snapshot().unwrap().into_inner()
}
