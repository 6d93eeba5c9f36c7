//! Do all API servers, or their plugins, write with this key already?
//!
//! What is asked is given by the operator: sockets of KMS v2 plugins, and metrics of API servers,
//! as files or URLs. What follows from an answer is
//! [`convergence`](kms_envelope::kubernetes::convergence)'s to say; here is how they are asked, and
//! what all of them say together.
//!
//! ```
//! use std::sync::Arc;
//! use kms::cluster::replicas::{ReplicaSource, Replicas};
//! use kms_core::{Clock, KeyId, TokioClock};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let replicas = Replicas::new(vec![ReplicaSource::metrics("cp-1=/nonexistent/metrics.txt")?])
//!     .with_expected(3);
//! let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
//! let report = replicas.check("vault", &KeyId::new("vault/etcd/2")?, &clock).await;
//! assert!(!report.agrees());
//! assert_eq!(report.missing(), 2);
//! println!("{report}");
//! # Ok::<(), kms::Failure>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod check;
mod report;
mod source;

pub use access::MetricsAccess;
pub use check::Replicas;
pub use report::{Evidence, EvidenceKind, Replica, ReplicaReport};
pub use source::ReplicaSource;
