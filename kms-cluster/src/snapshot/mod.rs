//! etcd without etcd: a snapshot, or the database file of a member that is stopped.
//!
//! What `etcdctl snapshot save` writes is a bbolt file with a SHA-256 behind it; a member keeps
//! the same file without that, `member/snap/db`. [`Snapshot`] reads either directly: no etcd, no
//! restore, no key. It is an [`ObjectSource`](kms_core::object::ObjectSource), with history.
//!
//! A census needs no order of keys, and is fastest by [`Snapshot::sweep`], which is one pass
//! over the file:
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use kms_cluster::snapshot::Snapshot;
//!
//! let snapshot = Snapshot::open("backup.db")?;
//! let (mut live, mut superseded) = (0, 0);
//! snapshot.sweep(None, |record| {
//!     if record.is_live {
//!         live += 1;
//!     } else {
//!         superseded += 1;
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! println!("revision {}: {live} live, {superseded} only in history", snapshot.info().revision);
//! # Ok::<(), kms_core::Error>(())
//! ```
//!
//! # What is checked
//!
//! Every page reference, length and order. The digest at the end, unless it is switched off. A
//! page that is not where it belongs, is in the tree twice, or has a gap between its elements is
//! [`ErrorKind::Corrupt`](kms_core::ErrorKind::Corrupt), and the error names page and offset: a
//! census that skipped what it cannot read would let a key be retired too early. A flipped bit
//! *inside* a value is found by the digest, and else only by decrypting the value.
//!
//! # What it costs
//!
//! Memory: at most 40 bytes for each distinct key during a pass, and 32 MiB; values pass through
//! buffers of 256 KiB, or of one page with what overflows from it. A pass reads every page of the
//! tree once. A
//! scan in the order of keys takes one pass for each 10 MiB of keys, and one read for each value.

mod batch;
mod database;
mod info;
mod page;
mod reader;
mod record;
mod source;
mod storage;
mod sweep;
mod walk;
mod window;

pub use batch::RecordBatch;
pub use info::SnapshotInfo;
pub use source::{Snapshot, SnapshotOptions};
pub use sweep::SweptRecord;
