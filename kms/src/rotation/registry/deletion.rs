//! Whether a key may be deleted now.

use std::time::SystemTime;

use kms_core::KeyState;
use kms_envelope::rotation::{KeyRecord, Stage};
use serde::Serialize;

use super::RegistrySources;
use super::counts::{Counts, names_no_key};

/// Whether a key may be deleted now, as far as is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Deletion {
    /// Something needs it or may need it, or that nothing does was never shown.
    No,
    /// Nothing needed it at the latest census, and that is too old to act on: `kms key retire` looks
    /// again and gives leave that lasts for a while.
    LookAgain,
    /// The leave lasts, and nothing was counted now: rule 7 of the rotation wants both.
    NotCounted,
    /// The leave lasts, and what was counted now does not need it.
    Yes,
}

impl Deletion {
    /// A stable lower-case name, as it stands in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::LookAgain => "look_again",
            Self::NotCounted => "not_counted",
            Self::Yes => "yes",
        }
    }

    /// What is known of a key.
    pub(super) fn of(
        sources: &RegistrySources,
        recorded: Option<&KeyRecord>,
        counts: Counts,
        now: SystemTime,
    ) -> Self {
        let is_left = |key: &&KeyRecord| {
            matches!(key.stage(), Stage::Retirable | Stage::Retired)
                && key.health() != KeyState::Destroyed
        };
        let Some(key) = recorded.filter(is_left) else {
            return Self::No;
        };
        if counts.is_needed() || names_no_key(sources) {
            return Self::No;
        }
        if permitted_until(key, now).is_none() {
            return Self::LookAgain;
        }
        match (counts.live, counts.history) {
            (Some(0), Some(0)) => Self::Yes,
            _ => Self::NotCounted,
        }
    }
}

/// Until when the leave to delete a key lasts; `None` if there is none any more. What is stored does
/// not end by itself: somebody has to look at the time.
pub(super) fn permitted_until(key: &KeyRecord, now: SystemTime) -> Option<SystemTime> {
    let until = key.permit()?.until();
    (key.stage() == Stage::Retired && now < until).then_some(until)
}
