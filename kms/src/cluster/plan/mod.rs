//! A change of the `EncryptionConfiguration`, planned for a cluster.
//!
//! What the steps are is [`kubernetes::plan`](kms_envelope::kubernetes::plan)'s to say. Here is
//! what it is told (a census, what KMS answer), and what becomes of it: files and text.

mod census_file;
mod files;
mod stock;
mod text;

pub use census_file::{CensusFacts, read_census};
pub use files::{PlannedFile, write_files};
pub use stock::{probe_kms, take_stock};
pub use text::{PlanContext, plan_text, survey_text};
