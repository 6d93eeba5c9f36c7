//! A real API server: re-encryption through the Kubernetes API, for clusters whose etcd cannot be
//! reached, such as AKS.
//!
//! [`KubeApi`] is a [`Rewriter`](kms_core::object::Rewriter) over HTTPS. It needs Kubernetes 1.15 or
//! later, and the verbs `list` and `patch` on what is to be rewritten.
//!
//! ```no_run
//! use kms_cluster::api::{ApiOptions, KubeApi, Kubeconfig};
//! use kms_core::object::{ApiResource, ListOptions, RewriteOutcome, Rewriter};
//! use kms_core::{CallOptions, Error};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let kubeconfig = Kubeconfig::read("/home/admin/.kube/config".as_ref())?;
//! let api = KubeApi::new(kubeconfig.target(None)?, ApiOptions::default())?;
//!
//! let secrets = ApiResource::new("", "v1", "secrets")?;
//! let page = api.list(&ListOptions::new(secrets)).await?;
//! for object in &page.objects {
//!     match api.rewrite(object, &CallOptions::default()).await? {
//!         RewriteOutcome::Written { .. } => println!("{object}: was under an old key"),
//!         outcome => println!("{object}: {outcome:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The no-op update
//!
//! An object is rewritten by a JSON merge patch that holds its `resourceVersion` and `uid` and
//! nothing else. The server reads the object, finds that the patch changes nothing, and stores it
//! anew if what it read is stale, that is under another key than the one it writes with. Of the
//! ways to ask for that, this one
//!
//! - **shows no content.** A PUT takes the whole object through this process. Here lists and
//!   answers are asked for as metadata alone, and no other form is taken.
//! - **changes nothing.** Server-side apply, which Kubernetes' own storage version migrator uses,
//!   adds managed fields (`before-first-apply`) to every object that has none, and so writes objects
//!   that are fresh.
//! - **makes nothing.** Apply without a `uid` creates an object that is gone. A merge patch of what is
//!   gone is 404.
//! - **undoes nothing.** The `resourceVersion` is compared in the transaction that writes, and tells an
//!   object from a later one of its name, too; the `uid` cannot be changed.
//!
//! Admission sees an update. A webhook that denies it or changes the object does so here, too.
//!
//! The outcome follows from the resource version in the answer: the same as before, nothing was
//! written.
//!
//! # Errors
//!
//! | code | kind | meaning |
//! |---|---|---|
//! | 400 | InvalidInput | the server does not understand the request |
//! | 401 | Unauthenticated | the server does not know who we are |
//! | 403 | PermissionDenied | the server does not allow it |
//! | 404 | InvalidInput | the server has no such resource |
//! | 405 | Unsupported | the resource does not allow it |
//! | 406 | Unsupported | the server cannot list metadata without content |
//! | 410 | Compacted | the server does not hold the rest of this list any more |
//! | 415 | Unsupported | the server does not take merge patches of this resource |
//! | 429 | Throttled | the server asks to slow down |
//! | 500 | Unavailable | the server failed |
//! | 502 | Unavailable | a proxy did not reach the server |
//! | 503 | Unavailable | the server is not ready |
//! | 504 | Unavailable | the server did not get it done in time |
//!
//! Any other is `Protocol`. Of a rewrite, 404 for this object is
//! [`Gone`](kms_core::object::RewriteOutcome::Gone), 409 is
//! [`Conflict`](kms_core::object::RewriteOutcome::Conflict), or `Gone` if the object is not listed
//! any more, and 400, 413 and 422 are [`Refused`](kms_core::object::RewriteOutcome::Refused). 403 is
//! both an answer of access control and one of admission: the server is asked whether we may patch
//! the resource, and if we may, it is `Refused`.
//!
//! After 401 a token file is read again, or a plugin run again, and the request sent once more.
//! Nothing else is sent twice. No connection is `Unavailable`; a certificate that is not trusted,
//! or a handshake that the server refuses, is `Unauthenticated`.
//!
//! # Bounds
//!
//! A call has a time-out, connecting has another. A page of a list is at most
//! [`ApiOptions::max_list_len`] and is asked for in smaller parts if it is longer; every other
//! answer is bounded, too, and so are the number and the length of its headers. What a server says
//! of itself is cut to 512 bytes on one line. Redirects are not followed.
//!
//! # Secrets
//!
//! Tokens and keys are wiped on drop and never printed. Answers are wiped, since annotations may
//! hold what an object holds (`kubectl apply` puts it there). Copies that the HTTP and TLS libraries
//! make are out of reach.

mod connector;
mod credentials;
mod discovery;
mod exec;
mod file;
mod kubeconfig;
mod options;
mod partial;
mod review;
mod secret_text;
mod server;
mod status;
mod target;
mod tls;
mod transport;

pub use discovery::{Discovery, ServedResource};
pub use exec::{ExecPlugin, ExecVersion};
pub use kubeconfig::Kubeconfig;
pub use options::ApiOptions;
pub use review::AccessVerb;
pub use server::KubeApi;
pub use target::ApiTarget;
