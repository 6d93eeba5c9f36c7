//! What a driver would do, without doing it.

use core::fmt;

use kms_core::CallOptions;
use kms_envelope::rotation::{Effect, Event, State, step};
use serde::Serialize;

use super::Driver;
use crate::Failure;
use crate::rotation::RotationRecord;

/// What a driver would begin now. Nothing was written. API servers were asked only if there is no
/// state yet.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DrivePlan {
    /// Whether there is a state already; else it would be begun.
    pub has_state: bool,
    /// Who drives now: a driver would wait for it.
    pub driver: Option<String>,
    /// What it would be at.
    pub activity: &'static str,
    /// What it would begin, in sentences; empty if it would wait for a new version.
    pub would: Vec<String>,
}

impl Driver {
    /// Looks at the store and at the provider, and says what a driver would begin.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: one of them cannot be read.
    pub async fn plan(&self) -> Result<DrivePlan, Failure> {
        let loaded = self.store.load(&CallOptions::default()).await?;
        let record = match &loaded {
            Some(found) => Some(
                RotationRecord::from_bytes(&found.bytes)
                    .map_err(|failure| failure.at(&self.store))?,
            ),
            None => None,
        };
        let (state, driver) = match record {
            Some(record) => (record.state, record.driver),
            None => (self.begin().await?, None),
        };
        let state = state.with_policy(self.options.policy)?;
        let call = CallOptions::default();
        let seen = self.in_time(self.parts.keys.observe(&call)).await?;
        let seen = Event::Observed(seen);
        let now = self.clock.wall_time();
        let state = step(&state, &seen, now).state;
        Ok(DrivePlan {
            has_state: loaded.is_some(),
            driver: driver.map(|note| note.to_string()),
            activity: state.activity().as_str(),
            would: would(&state),
        })
    }
}

fn would(state: &State) -> Vec<String> {
    let say = |effect: &Effect| {
        Some(match effect {
            Effect::CheckConvergence { .. } => {
                "ask every API server which key it writes with".to_owned()
            }
            Effect::Migrate { target, .. } => match target.key() {
                Some(key) => format!("re-encrypt every object that is not under {key}"),
                None => "store every object as it is, without encryption".to_owned(),
            },
            Effect::Verify { keys, .. } => {
                let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
                format!(
                    "count what objects are under, and what needs {}",
                    keys.join(", ")
                )
            }
            Effect::Alert(alert) => format!("tell an operator: {alert}"),
            Effect::WakeAt(_) | Effect::Persist => return None,
            _ => format!("{effect:?}"),
        })
    };
    state.outstanding().iter().filter_map(say).collect()
}

impl fmt::Display for DrivePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_state {
            writeln!(f, "There is no state yet; it would be begun.")?;
        }
        if let Some(driver) = &self.driver {
            writeln!(f, "{driver} drives now; it would be waited for.")?;
        }
        writeln!(f, "Activity: {}", self.activity)?;
        if self.would.is_empty() {
            return writeln!(f, "Nothing would be begun now.");
        }
        writeln!(f, "Would be begun now:")?;
        self.would
            .iter()
            .try_for_each(|what| writeln!(f, "  {what}"))
    }
}
