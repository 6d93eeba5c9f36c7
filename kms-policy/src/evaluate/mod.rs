//! Judging requests by a policy, as the guest's agent does: the same engine, features and limits, and
//! the same state from one request to the next.
//!
//! ```
//! use kms_policy::Policy;
//! use kms_policy::evaluate::{Evaluator, Request, Verdict};
//! use kms_policy::generate::Profile;
//! use kms_policy::rules::Rules;
//!
//! # fn main() -> Result<(), kms_policy::Error> {
//! let text = format!("{}policy_data := {{}}", Rules::built_in(Profile::Kata).text());
//! let mut evaluator = Evaluator::new(Profile::Kata, &Policy::from_text(text))?;
//! let request = Request::parse("ReseedRandomDevRequest", "{}")?;
//! assert_eq!(evaluator.judge(&request)?.verdict, Verdict::Denied);
//! # Ok(())
//! # }
//! ```

mod denial;
mod engine;
mod nesting;
mod recursion;
mod request;
mod shape;
mod stack;

pub use denial::{Denial, Difference, explain_denial};
pub use engine::{Decision, Evaluator, Verdict};
pub use request::{Case, MAX_REQUEST_LEN, Request, requests};
