//! A store in memory, with revisions, history and compaction as etcd has them, and an API server
//! that is not one, over it.
//!
//! ```
//! use kms_cluster::embedded::EmbeddedStore;
//! use kms_core::CallOptions;
//! use kms_core::object::{ObjectKey, ObjectStore, Swap, SwapOutcome};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), kms_core::Error> {
//! let store = EmbeddedStore::new("demo");
//! let key = ObjectKey::new("/registry/secrets/default/token")?;
//! let expected = store.put(&key, b"old".to_vec(), None)?;
//!
//! let swap = Swap::Replace { expected, value: b"new".to_vec() };
//! let call = CallOptions::default();
//! assert!(store.compare_and_swap(&key, &swap, &call).await?.swapped().is_some());
//! // The same again finds the object changed, and does nothing.
//! let again = store.compare_and_swap(&key, &swap, &call).await?;
//! assert!(matches!(again, SwapOutcome::Changed { current: Some(now) } if now > expected));
//! # Ok(())
//! # }
//! ```

mod api;
mod state;
mod store;

pub use api::EmbeddedApi;
pub use store::EmbeddedStore;
