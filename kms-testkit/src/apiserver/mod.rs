//! A loopback Kubernetes API server over a store in memory.
//!
//! It listens with TLS under a certificate authority of its own. What it stores is encrypted by a
//! [`Transformer`](kms_envelope::kubernetes::Transformer), as kube-apiserver does it, and lies in an
//! [`EmbeddedStore`](kms_cluster::embedded::EmbeddedStore), where a test can look at the bytes.
//!
//! What it is honest about is the update that changes nothing: it writes if, and only if, the
//! stored object is stale by the rules of kube-apiserver. So KMS v1 data after a rotation under the
//! same provider name stays as it is; a server that has not seen a new key holds old data for
//! fresh; and an object that no key opens fails its reads, its updates, and every list that it would
//! be in.
//!
//! ```
//! use kms_testkit::apiserver::{ApiServer, Place, Verb};
//! use serde_json::json;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let server = ApiServer::builder().start().await?;
//! let place = Place::of("secrets", "default", "token");
//! server.create(&place, json!({"data": {"password": "aHVudGVyMg=="}})).await?;
//! let stored = server.stored(&place).await?.expect("it was just made");
//! assert!(stored.value.starts_with(b"{"), "nothing encrypts yet");
//!
//! // A client needs server.url(), trust in server.ca_pem(), and a token; or all of it as a file.
//! let token = server.token("admin");
//! let kubeconfig = server.kubeconfig(&token);
//! assert!(kubeconfig.contains(&server.url()));
//! assert_eq!(server.calls(Verb::Patch), 0);
//! # Ok::<(), kms_core::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where it is not like the real thing
//!
//! - Every object is stored as JSON; kube-apiserver stores its own kinds as protobuf. Nothing is
//!   validated but metadata, and nothing defaulted.
//! - Reads and lists go to the store; there is no watch cache, and no watch.
//! - Patches are JSON merge patches, and apply patches that hold metadata alone.
//! - Rights are an allow-list turned around: who logs in may do everything that is not
//!   [denied](ApiServer::deny).
//! - Its replicas take turns, request by request.

mod access;
mod builder;
mod discovery;
mod encryption;
mod fault;
mod list;
mod listener;
mod meta;
mod objects;
mod place;
mod refusal;
mod running;
mod schema;
mod shared;
mod update;

pub use access::{Denial, Verb};
pub use builder::ApiServerBuilder;
pub use encryption::Encryption;
pub use fault::Fault;
pub use place::Place;
pub use running::ApiServer;
