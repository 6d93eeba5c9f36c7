//! Proof before an old key goes: what still needs it, what to do about that, and the last look.
//!
//! [`plan`] scans a cluster and its backups and makes a [`RetirePlan`]: what needs the key, what
//! stands in the way, the next steps with their commands, and the
//! [`Evidence`](kms_envelope::reencrypt::Evidence). [`retire`] takes that evidence, scans the
//! cluster once more and makes a [`Retirement`], or says why not. Neither deletes a key.
//!
//! A key must be known to somebody: that nothing needs a key of which nobody has heard would be
//! true of every misspelt one. Stored values, backups and replicas know it, and who else does is
//! given as known keys: its provider ([`ProviderListing`]), a rotation, evidence of before.
//!
//! # JSON
//!
//! `kms key plan-retire --json` prints one object:
//!
//! | field | what it holds |
//! |---|---|
//! | `schema_version` | 1 |
//! | `key_id` | the key, as it stands in stored values |
//! | `needed_by.live` | `objects`, and `by_resource`: `source`, `resource`, `prefix`, `count`, `examples` |
//! | `needed_by.history` | `records`, `by_resource` as above, and `compact_to`: the revision that clears them |
//! | `needed_by.backups[]` | `name`, `live`, `history`, `waived` |
//! | `needed_by.replicas[]` | `name`, `writes_with` |
//! | `needed_by.unknown` | `objects` and `records` that are not waived, and `groups`: `source`, `resource`, `prefix`, `reason` (`kms_v1`, `damaged`, `unknown_provider`), `objects`, `records`, `waive_as`, `waived`, `examples` |
//! | `objections[]` | `code`, what it counts or names, `message`, `remedy`, `waivable_as`; `never_seen` with `known`: keys of similar names; nothing is in the way if there is none |
//! | `next_steps[]` | `do`, `commands` |
//! | `notes[]` | what could not be asked, and why |
//! | `evidence` | `format`, `version`, `content`, `digest`: what `--out` writes |
//!
//! `kms key retire --json` prints a statement (`format` `kms-retirement`, `version`, `key_id`,
//! `retired_at`, `cluster_id`, `revision`, `plan`, `evidence`, `next_steps`), or, refused,
//! `objections` as above.

mod commands;
mod known;
mod last_look;
mod needs;
mod plan;
mod replica;
mod request;
mod steps;
mod text;

pub use commands::{Places, Step};
pub use known::{ProviderListing, key_of_evidence, keys_of_rotation, resolve_key_id};
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
