//! What it takes to test a key provider, and what uses one.
//!
//! - [`conformance`]: the rules of [`KeyProvider`](kms_core::KeyProvider), as functions. A provider
//!   of yours should pass them; every provider and wrapper of this SDK does.
//! - [`StaticProvider`]: keys in memory, given as text, for tests and for trying things out.
//! - [`FaultProvider`]: makes any provider slow, failing, hanging or lying, by rate or by script.
//! - [`objects`]: the same for object sources, stores and rewriters; [`state`]: for state stores.
//! - [`ManualClock`]: time that a test is in charge of.
//! - `deterministic` (feature): keys, nonces and time out of one seed, for fuzzing harnesses.
//! - `bench` (feature `criterion`): benchmark suites for whoever wrote a provider.
//! - `apiserver` (by the feature of that name): a loopback Kubernetes API server.
//! - `vault` (by the feature of that name): a loopback Azure Key Vault and Managed HSM.
//!
//! # A provider of your own
//!
//! ```
//! use std::fmt;
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use kms_core::{
//!     CallOptions, Capabilities, Error, KeyInfo, KeyProvider, SecretBytes, UnwrapOptions,
//!     WrapOptions, WrappedKey,
//! };
//! use kms_testkit::conformance::{self, Harness, HookOutcome};
//! use kms_testkit::StaticProvider;
//!
//! /// Stands for a client of some key service.
//! #[derive(Debug)]
//! struct MyProvider(StaticProvider);
//!
//! impl fmt::Display for MyProvider {
//!     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
//!         f.write_str("my-provider")
//!     }
//! }
//!
//! #[async_trait]
//! impl KeyProvider for MyProvider {
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities::basic().with_unwraps_without_key_id(true)
//!     }
//!
//!     async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
//!         self.0.current_key(options).await
//!     }
//!
//!     async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
//!         self.0.wrap(dek, options).await
//!     }
//!
//!     async fn unwrap(
//!         &self,
//!         wrapped: &WrappedKey,
//!         options: &UnwrapOptions,
//!     ) -> Result<SecretBytes, Error> {
//!         self.0.unwrap(wrapped, options).await
//!     }
//! }
//!
//! struct MyHarness(Arc<MyProvider>);
//!
//! #[async_trait]
//! impl Harness for MyHarness {
//!     fn provider(&self) -> Arc<dyn KeyProvider> {
//!         self.0.clone()
//!     }
//!
//!     // Every hook that is given makes more rules apply.
//!     async fn rotate(&self) -> Result<HookOutcome, Error> {
//!         self.0.0.rotate()?;
//!         Ok(HookOutcome::Done)
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! // In a test of yours, `#[tokio::test] async fn it_conforms()`:
//! let provider = MyProvider(StaticProvider::generate()?);
//! // Panics if a rule is violated, and says which and how; `check_all` reports it instead.
//! let report = conformance::run_all(&MyHarness(Arc::new(provider))).await;
//! println!("{report}"); // what held, and which rules had no hook to be tested by
//! # Ok::<(), Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "apiserver")]
#[cfg_attr(docsrs, doc(cfg(feature = "apiserver")))]
pub mod apiserver;
#[cfg(feature = "criterion")]
pub mod bench;
mod clock;
pub mod conformance;
#[cfg(all(feature = "deterministic", any(debug_assertions, fuzzing)))]
pub mod deterministic;
mod fault;
#[cfg(any(feature = "apiserver", feature = "vault"))]
mod loopback;
pub mod objects;
mod random;
pub mod state;
mod static_provider;
#[cfg(feature = "vault")]
#[cfg_attr(docsrs, doc(cfg(feature = "vault")))]
pub mod vault;

pub use clock::ManualClock;
pub use fault::{FaultProvider, Operation, Outcome};
pub use static_provider::StaticProvider;
