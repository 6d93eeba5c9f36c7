//! Proof before an old key goes: what still needs it, what to do about that, and the last look.
//!
//! [`plan`] scans a cluster and its backups and makes a [`RetirePlan`]: what needs the key, what
//! stands in the way, the next steps with their commands, and the
//! [`Evidence`](kms_envelope::reencrypt::Evidence). [`retire`] takes that evidence, scans the
//! cluster once more and makes a [`Retirement`], or says why not. Neither deletes a key.

mod commands;
mod last_look;
mod needs;
mod plan;
mod replica;
mod request;
mod steps;
mod text;

pub use commands::{Places, Step};
pub use last_look::{RetireOutcome, RetireRequest, Retirement, retire};
pub use needs::{
    BackupNeed, HistoryNeeds, LiveNeeds, NeededBy, ReplicaNeed, ResourceNeed, UnknownGroup,
    UnknownNeeds,
};
pub(crate) use plan::scanned;
pub use plan::{PlannedObjection, RetirePlan, plan};
pub use replica::ReplicaArgument;
pub use request::{KmsV1Argument, PlanRequest, UnscannedArgument, parse_key_id};
pub use text::{refusal_text, retirement_text, text_plan};
