//! Where a cluster keeps its objects, as traits: what a census reads and a migration writes.
//!
//! - [`ObjectSource`] gives stored bytes: a snapshot file, a live etcd, a store in memory.
//! - [`ObjectStore`] is a source that can also compare and swap; [`LeaseStore`] is one with leases.
//! - [`Rewriter`] is the other way to re-encrypt: the no-op update of the Kubernetes API, which
//!   never shows stored bytes.
//!
//! [`Scan`] pages through a source and checks every page against the contract, so that a source
//! that skips, repeats or reorders keys ends in an error and not in a census that is too small.
//! The conformance suites are in `kms-testkit`; the implementations in `kms-cluster`.
//!
//! Counting the keys of a store, page by page:
//!
//! ```
//! use kms_core::Error;
//! use kms_core::object::{ObjectSource, Revision, Scan, ScanOptions};
//!
//! /// How many objects there are below a prefix, and at which revision that was so.
//! async fn count(source: &dyn ObjectSource, prefix: &[u8]) -> Result<(u64, Revision), Error> {
//!     let options = ScanOptions::default().with_prefix(prefix).with_page_limit(500);
//!     let mut scan = Scan::new(source, options);
//!     let mut keys = 0_u64;
//!     let mut revision = Revision::default();
//!     while let Some(page) = scan.next_page().await? {
//!         keys += page.objects.len() as u64;
//!         revision = page.revision;
//!     }
//!     Ok((keys, revision))
//! }
//! ```

mod history;
mod key;
mod key_map;
mod lease;
mod rewriter;
mod scan;
mod source;
mod store;
mod stored;

pub use history::{HistoryOptions, HistoryPage, HistoryPosition, HistoryRecord};
pub use key::ObjectKey;
pub use key_map::KeyMap;
pub use lease::{GrantedLease, LeaseStore};
pub use rewriter::{
    ApiObject, ApiPage, ApiResource, ContinueToken, ListOptions, RewriteOutcome, Rewriter,
};
pub use scan::Scan;
pub use source::{FetchOptions, ObjectSource, ScanOptions, ScanPage, StoreIdentity};
pub use store::{ObjectStore, Swap, SwapOutcome};
pub use stored::{LeaseId, Revision, StoredObject};
