//! Conformance suites for the traits of [`kms_core::object`].
//!
//! Whoever implements a trait writes a harness, runs the suite in a test of their own, and asserts
//! that the report has passed:
//!
//! ```
//! use kms_testkit::objects::{StoreHarness, run_store};
//!
//! async fn my_store_conforms(harness: &impl StoreHarness) {
//!     let report = run_store(harness).await;
//!     assert!(report.has_passed(), "{report}");
//! }
//! ```
//!
//! The suites need a tokio runtime; give them one of several threads, or races stay unseen. They
//! take no time-outs: a source that hangs, hangs the test.

mod database;
pub(crate) mod races;
pub(crate) mod report;
mod rewriter;
mod source;
mod store;

pub use database::DatabaseWriter;
pub use report::{CheckResult, Report, Verdict};
pub use rewriter::{RewriterHarness, run_rewriter};
pub use source::{SourceHarness, run_source};
pub use store::{StoreHarness, run_store};
