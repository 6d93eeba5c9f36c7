//! Re-encryption through the Kubernetes API.

mod address;
mod migration;
mod rights;
mod scopes;
mod text;

pub use address::KubeAddress;
pub use migration::{KubeMigration, KubeOutcome};
pub use rights::MissingRight;
pub use scopes::KubeSelection;
pub use text::kube_text_report;
