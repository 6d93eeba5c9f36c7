//! The state as text: JSON with a version, bounded and strict.

use serde::{Deserialize, Serialize};

use super::super::text::nullable;
use super::super::{KeyRecord, Policy, Remaining};
use super::check::Fault;
use super::{Changing, ProviderRecord, State, Work, Writer};
use crate::{Error, ErrorKind};

const FORMAT: &str = "kms-rotation-state";
const VERSION: u32 = 1;

/// Just enough to know whether the rest is for us.
#[derive(Deserialize)]
struct Probe {
    format: String,
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[expect(dead_code, reason = "the probe has looked at it")]
    format: String,
    #[expect(dead_code, reason = "the probe has looked at it")]
    version: u32,
    #[serde(with = "Content")]
    state: State,
}

#[derive(Serialize)]
struct DocumentRef<'a> {
    format: &'a str,
    version: u32,
    #[serde(with = "Content")]
    state: &'a State,
}

/// The state field by field. It is not the state's own form, so that nothing is read without being
/// checked.
#[derive(Deserialize, Serialize)]
#[serde(remote = "State", deny_unknown_fields)]
struct Content {
    cluster_id: String,
    policy: Policy,
    writer: Writer,
    epoch: u64,
    next_task: u64,
    #[serde(deserialize_with = "nullable")]
    changing: Option<Changing>,
    work: Work,
    redo: bool,
    remaining: Remaining,
    providers: Vec<ProviderRecord>,
    keys: Vec<KeyRecord>,
}

impl State {
    /// Writes it down as JSON. The same state always gives the same text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if it is over [`MAX_JSON_LEN`](Self::MAX_JSON_LEN) bytes, which
    /// the bounds on its parts rule out.
    pub fn to_json(&self) -> Result<String, Error> {
        let document = DocumentRef {
            format: FORMAT,
            version: VERSION,
            state: self,
        };
        let text = serde_json::to_string(&document).map_err(|_| {
            Error::new(
                ErrorKind::Internal,
                "the rotation state cannot be written as JSON",
            )
        })?;
        if text.len() > Self::MAX_JSON_LEN {
            return Err(refused(ErrorKind::Unsupported, "it is over 1 MiB"));
        }
        Ok(text)
    }

    /// Reads what [`to_json`](Self::to_json) has written. White space and the order of fields do not
    /// count; everything else does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if anything is missing, unknown, over its bound or at odds with the
    /// rest; the message names the field. [`ErrorKind::Unsupported`] if a newer version of this
    /// software wrote it.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let malformed = |what: &str| refused(ErrorKind::Malformed, what);
        if text.len() > Self::MAX_JSON_LEN {
            return Err(malformed("it is over 1 MiB"));
        }
        let syntax = |error: serde_json::Error| malformed(&error.to_string());
        let probe: Probe = serde_json::from_str(text).map_err(syntax)?;
        if probe.format != FORMAT {
            return Err(malformed("`format` is not that of a rotation state"));
        }
        if probe.version != u64::from(VERSION) {
            return Err(if probe.version > u64::from(VERSION) {
                refused(
                    ErrorKind::Unsupported,
                    "it was written by a newer version of this software",
                )
            } else {
                malformed("`version` is not 1")
            });
        }
        let document: Document = serde_json::from_str(text).map_err(syntax)?;
        let state = document.state;
        let checked = state.check();
        checked.map_err(|fault: Fault| fault.into_error(ErrorKind::Malformed))?;
        Ok(state)
    }
}

fn refused(kind: ErrorKind, what: &str) -> Error {
    Error::new(kind, format!("the rotation state is refused: {what}"))
}
