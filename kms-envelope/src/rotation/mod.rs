//! From one key to the next, as a state machine without input or output.
//!
//! [`State`] is all that is remembered, [`step`] takes in one [`Event`] at a time and says by
//! [`Effect`]s what is to be done. A driver carries them out and tells what came of it by further
//! events. Nothing here reads a clock, talks to anybody or stores anything.

mod alert;
#[cfg(feature = "arbitrary")]
mod arbitrary;
mod effect;
mod event;
mod hex;
mod key;
mod moment;
mod names;
mod outstanding;
mod policy;
mod refusal;
mod state;
mod step;
mod text;

pub use alert::{Activity, Alert, Stop};
pub use effect::{Effect, Expectation, Scope, Target};
pub use event::{Change, Event, Observation, ObservedKey, Remaining};
pub use key::{KeyPhase, KeyRecord, Permit, Proof, Stage};
pub use names::{ProviderName, TaskId};
pub use policy::{Policy, Retention, Rewrite};
pub use refusal::Refusal;
pub use state::{Start, State, Writes};
pub use step::{Step, step};
