//! Why a driver stops.

use core::fmt;

use kms_core::state::StateVersion;
use serde::Serialize;

/// Something that no driver may decide by itself. It stops, leaves everything as it is, and says
/// so.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Doubt {
    /// The state is of another cluster than the objects.
    OtherCluster {
        /// The cluster of the state.
        state: String,
        /// The cluster of the objects, if it says which it is.
        objects: Option<String>,
    },
    /// The store shows an older state than before: it was restored from a copy, or there are two.
    StateWentBack {
        /// The version that was there.
        before: u64,
        /// The version that is there.
        now: u64,
    },
    /// The state is gone from the store.
    StateGone,
}

impl Doubt {
    pub(super) const fn went_back(before: StateVersion, now: StateVersion) -> Self {
        Self::StateWentBack {
            before: before.get(),
            now: now.get(),
        }
    }

    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OtherCluster { .. } => "other_cluster",
            Self::StateWentBack { .. } => "state_went_back",
            Self::StateGone => "state_gone",
        }
    }

    /// What the operator should do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::OtherCluster { .. } => {
                "give the state and the end points of the same cluster; after a restore into a new cluster begin with a new state"
            }
            Self::StateWentBack { .. } => {
                "find out who restored the state; put the newest copy back, or begin with a new state: the first census says what is under which key"
            }
            Self::StateGone => {
                "find out who removed it; put the newest copy back, or start again: the first census says what is under which key"
            }
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCluster {
                state,
                objects: Some(objects),
            } => write!(
                f,
                "the state is of the cluster {state:?}, and the objects are of {objects:?}"
            ),
            Self::OtherCluster { state, .. } => write!(
                f,
                "the state is of the cluster {state:?}, and the objects do not say of which they are"
            ),
            Self::StateWentBack { before, now } => write!(
                f,
                "the state went back from version {before} to {now}: an older copy was put in its place"
            ),
            Self::StateGone => f.write_str("the state is gone from its store"),
        }
    }
}
