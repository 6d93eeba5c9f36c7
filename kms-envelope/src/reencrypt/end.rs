//! How a migration ended, in output.

use serde::Serializer;
use serde::ser::SerializeStruct as _;

/// The name of the end; of a stop, its code, what happened and what to do.
pub(super) fn serialize_end<S: Serializer>(
    serializer: S,
    state: &str,
    reason: Option<(&str, String, &str)>,
) -> Result<S::Ok, S::Error> {
    let (code, message, remedy) = match reason {
        Some((code, message, remedy)) => (Some(code), Some(message), Some(remedy)),
        None => (None, None, None),
    };
    let mut map = serializer.serialize_struct("MigrationEnd", 4)?;
    map.serialize_field("state", state)?;
    map.serialize_field("reason", &code)?;
    map.serialize_field("message", &message)?;
    map.serialize_field("remedy", &remedy)?;
    map.end()
}
