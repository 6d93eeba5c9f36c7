//! From one `EncryptionConfiguration` to another, without an object that cannot be read.
//!
//! While a change goes from API server to API server, some have the configuration of before and
//! some that of after. All of them write, and each must read what any other wrote. [`plan`] finds
//! the files in between:
//!
//! | step | what each server has | so that |
//! |---|---|---|
//! | `add-readers` | the old list, and behind it what the new one has more | nobody meets what they cannot read, later |
//! | `switch-writer` | the new list, and behind it what the old one had more | new objects are under the new provider |
//! | `migrate` | the same; every object is rewritten | nothing is under the old provider (R23) |
//! | `drop-readers` | the new list alone | the old key is needed no more, but for history and backups |
//!
//! Steps that change nothing are left out. Enabling, rotating a local key, another provider, KMS v1
//! to v2, resources that come and go, and disabling are all the same to it (R24, R34, R37, R40).
//! A rotation inside a KMS v2 needs no change of the configuration.
//!
//! Every step is checked against what is stored, by a [census](crate::reencrypt) or without one
//! against everything that may be: what would make an object unreadable is an [`Objection`], and a
//! plan with an objection has no steps.
//!
//! # What kube-apiserver's rules forbid
//!
//! - The name of a KMS v2 provider stands in one entry. Two resources that share one can therefore
//!   neither be brought together nor be parted while servers change one by one: there would have
//!   to be two entries with it for a while. Give each an entry and a name of its own; the socket
//!   may be the same.
//! - A name cannot change its meaning: another key, another socket, another version of the KMS
//!   API. Stored values say the name and no more.
//! - A KMS v2 provider that only reads must answer Status and Encrypt all the same, to every
//!   server that starts or reloads.
//!
//! # Example
//!
//! ```
//! use kms_envelope::kubernetes::EncryptionConfiguration;
//! use kms_envelope::kubernetes::plan::{PlanRequest, Purpose, plan};
//!
//! let to = EncryptionConfiguration::parse(r#"
//! apiVersion: apiserver.config.k8s.io/v1
//! kind: EncryptionConfiguration
//! resources:
//!   - resources: [secrets]
//!     providers:
//!       - kms: {apiVersion: v2, name: vault, endpoint: "unix:///run/kms.sock"}
//!       - identity: {}
//! "#)?;
//! // Nothing has been encrypted so far.
//! let plan = plan(&PlanRequest::new(None, &to));
//! let steps: Vec<_> = plan.steps.iter().map(|step| step.purpose).collect();
//! assert_eq!(steps, [Purpose::AddReaders, Purpose::SwitchWriter, Purpose::Migrate]);
//! # Ok::<(), kms_envelope::Error>(())
//! ```

mod arrange;
mod caution;
mod class;
mod inventory;
mod objection;
mod reader;
mod request;
mod safety;
mod sequence;
mod step;
mod stored;
mod survey;

pub use caution::Caution;
pub use objection::{Objection, Unchecked};
pub use request::{KmsAnswer, PlanRequest, Rollout};
pub use sequence::plan;
pub use step::{
    Action, Check, ConfigFile, Migration, Plan, Purpose, ResourceReaders, Step, Under, WayBack,
};
pub use stored::{StoredObjects, StoredRow};
pub use survey::{Survey, survey};
