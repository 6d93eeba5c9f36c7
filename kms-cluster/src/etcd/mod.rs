//! A live etcd: read, compared and swapped over its own API.
//!
//! [`EtcdStore`] is an [`ObjectSource`](kms_core::object::ObjectSource) with history and an
//! [`ObjectStore`](kms_core::object::ObjectStore) with
//! [leases](kms_core::object::LeaseStore). It needs etcd 3.4 or later.
//!
//! ```no_run
//! use kms_cluster::etcd::{EtcdOptions, EtcdStore, EtcdTls};
//! use kms_core::object::{Scan, ScanOptions};
//! use kms_core::{Error, ErrorKind, SecretBytes};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let pki = |name: &str| {
//!     std::fs::read(format!("/etc/kubernetes/pki/{name}"))
//!         .map_err(|error| Error::new(ErrorKind::Io, name).with_source(error))
//! };
//! let key = SecretBytes::from_vec(pki("apiserver-etcd-client.key")?);
//! let tls = EtcdTls::new(pki("etcd/ca.crt")?)?
//!     .with_client(pki("apiserver-etcd-client.crt")?, key)?;
//! let options = EtcdOptions::new(["https://127.0.0.1:2379"])?.with_tls(tls);
//! let etcd = EtcdStore::connect(options).await?;
//!
//! let secrets = ScanOptions::default().with_prefix("/registry/secrets/");
//! let mut scan = Scan::new(&etcd, secrets);
//! while let Some(page) = scan.next_page().await? {
//!     for object in page.objects {
//!         println!("{} at {}: {} bytes", object.key, object.revision, object.value.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Members that fail
//!
//! Endpoints are tried in turn, beginning with the one that answered last, until the call's time
//! is over. Reads are tried again freely. A change is sent again only if it certainly did not
//! happen; if that is not certain, the object is read first. An endpoint of another cluster is an
//! error: half of one state and half of another would be no census.
//!
//! # Sizes
//!
//! etcd bounds a range by the number of keys and not by bytes. How many are asked for follows from
//! the sizes that were seen, 2,000 at most; an answer over
//! [`max_message_len`](EtcdOptions::max_message_len) is not taken in, and half as many are asked
//! for.
//!
//! # History
//!
//! Every change that etcd still keeps: up to the revision that was compacted to, the newest of each
//! object, with a number within its revision that is not etcd's own; after that, all, from a
//! watch, deletions included. A user needs the right to read all keys. What was compacted while it
//! was read is an error.
//!
//! # Upkeep
//!
//! [`status`](EtcdStore::status) and [`defragment`](EtcdStore::defragment) are about one member;
//! [`compacted`](EtcdStore::compacted) and [`compact`](EtcdStore::compact) about history, which may
//! hold what a key that is to go away was for; [`snapshot`](EtcdStore::snapshot) takes a backup.
//!
//! # Errors
//!
//! | code | message has | kind | did it happen? |
//! |---|---|---|---|
//! | OutOfRange | `required revision has been compacted` | Compacted | no |
//! | OutOfRange | `required revision is a future revision` | InvalidInput | no |
//! | OutOfRange | `message length too large` | Protocol | read again in smaller parts |
//! | ResourceExhausted | `database space exceeded` | Io | no |
//! | ResourceExhausted | `message larger than max` | InvalidInput | no |
//! | InvalidArgument | `request is too large` | InvalidInput | no |
//! | ResourceExhausted |  | Throttled | no; another member is asked |
//! | InvalidArgument | `authentication failed` | Unauthenticated | no |
//! | InvalidArgument | `user name is empty` | Unauthenticated | no; asked again with a new token |
//! | InvalidArgument | `revision of auth store is old` | Unavailable | no; asked again with a new token |
//! | Unknown | `revision in header is old` | Unavailable | no; asked again with a new token |
//! | Unauthenticated |  | Unauthenticated | no; asked again with a new token |
//! | PermissionDenied |  | PermissionDenied | no |
//! | NotFound | `requested lease not found` | Conflict | no |
//! | Unavailable | `not supported for learner` | Unavailable | no; another member is asked |
//! | Unavailable | `no leader` | Unavailable | not known |
//! | Unavailable | `leader changed` | Unavailable | not known |
//! | Unavailable | `request timed out` | Unavailable | not known |
//! | Unavailable | `unhealthy cluster` | Unavailable | not known |
//! | Unavailable |  | Unavailable | not known |
//! | DataLoss |  | Corrupt | no |
//! | DeadlineExceeded |  | DeadlineExceeded | not known |
//! | Cancelled |  | Unavailable | not known |
//! | Unimplemented |  | Unsupported | no |
//! | InvalidArgument |  | InvalidInput | no |
//! | Unknown |  | Internal | not known |
//! | Internal |  | Protocol | not known |
//! | any other |  | Protocol | not known |
//!
//! No connection, or one that breaks, is `Unavailable`, and `Unauthenticated` if TLS fails. No
//! answer in time is `DeadlineExceeded`.

mod backup;
mod cluster;
mod compaction;
mod history;
mod lease;
mod login;
mod maintenance;
mod options;
mod proto;
mod range;
mod settled;
mod status;
mod store;
mod swap;
mod watch;

pub use backup::TakenSnapshot;
pub use maintenance::EtcdStatus;
pub use options::{EtcdOptions, EtcdTls, EtcdUser};
pub use store::EtcdStore;
