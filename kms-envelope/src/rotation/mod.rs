//! From one key to the next, as a state machine without input or output.
//!
//! [`State`] is all that is remembered, [`step`] takes in one [`Event`] at a time and says by
//! [`Effect`]s what is to be done. A driver carries them out and tells what came of it by further
//! events. Nothing here reads a clock, talks to anybody or stores anything.
//!
//! # When to use it
//!
//! Where keys follow each other and old ones are to be deleted, and several replicas write: the
//! machine says when all of them can read by a key, when all of them have left one, and when nothing
//! needs it. Who has one process and never deletes a key needs none of it.
//!
//! # What a driver does
//!
//! | in order | why |
//! |---|---|
//! | loads the [`State`], and steps with [`Event::Restarted`] | whatever was given out before may be lost |
//! | carries out [`Effect::Persist`] by compare-and-swap before all else | two drivers must not both go on from one state |
//! | carries out the other effects, as often as they are given out | each may be lost, and none harms twice |
//! | tells what came of each by an [`Event`] with its [`TaskId`] | an answer to an older question counts for nothing |
//! | steps with [`Event::Tick`] at [`Effect::WakeAt`] | nothing here waits |
//!
//! Clocks may differ by [`Policy::skew`]. What else is relied on, how keys go from one stage to the
//! next, and every refusal are in `ROTATION.md` beside this crate.
//!
//! # Example
//!
//! A new version is seen before its instant, and becomes active at it.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//! use kms_core::KeyState;
//! use kms_envelope::rotation::{
//!     Activity, Event, KeyPhase, Observation, ObservedKey, Policy, Start, State, step,
//! };
//!
//! let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
//! let provider = "keys.example.com/etcd".parse()?;
//! let first = ObservedKey::new("keys.example.com/etcd/1".parse()?, KeyState::Enabled);
//! let begin = Start::Key { provider, key: first.with_active_at(now - Duration::from_secs(90_000)) };
//! let state = State::new("cdf818194e3a8c32", begin, Policy::default(), now)?;
//!
//! let instant = now + state.policy().activation_delay;
//! let second = ObservedKey::new("keys.example.com/etcd/2".parse()?, KeyState::Enabled);
//! let id = second.id.clone();
//! let seen = Observation::new("keys.example.com/etcd".parse()?, vec![second.with_active_at(instant)])
//!     .with_complete(false);
//! let state = step(&state, &Event::Observed(seen), now).state;
//! assert_eq!(state.key(&id).map(|key| key.phase()), Some(KeyPhase::Pending));
//!
//! let state = step(&state, &Event::Tick, instant).state;
//! assert_eq!(state.key(&id).map(|key| key.phase()), Some(KeyPhase::Active));
//! // Next the driver is asked whether every replica writes with it.
//! assert_eq!(state.activity(), Activity::Converging);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alert;
#[cfg(feature = "arbitrary")]
mod arbitrary;
mod effect;
mod event;
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
