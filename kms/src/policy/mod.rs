//! Policies of confidential pods: from files to policies, and back into the file of the pod.

mod maker;
mod request;

pub use maker::{MadePolicies, MadePolicy, PolicyMaker};
pub use request::PolicyRequest;
