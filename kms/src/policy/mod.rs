//! Policies of confidential pods: from files to policies, and back into the file of the pod.

mod file;
mod maker;
mod request;

pub use file::replace_text;
pub use maker::{MadePolicies, MadePolicy, PolicyMaker};
pub use request::PolicyRequest;
