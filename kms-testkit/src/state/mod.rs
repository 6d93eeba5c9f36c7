//! The conformance suite of [`kms_core::state::StateStore`].
//!
//! Whoever writes a store writes a harness, runs the suite in a test of their own, and asserts that
//! the report has passed:
//!
//! ```
//! use kms_testkit::state::{StateStoreHarness, run_state_store};
//!
//! async fn my_store_conforms(harness: &impl StateStoreHarness) {
//!     let report = run_state_store(harness).await;
//!     assert!(report.has_passed(), "{report}");
//! }
//! ```
//!
//! The suite needs a tokio runtime; give it one of several threads, or races stay unseen. It cuts
//! no power and kills nobody: that a store lasts is for its own tests to show.

mod races;
mod suite;

pub use suite::{StateStoreHarness, run_state_store};
