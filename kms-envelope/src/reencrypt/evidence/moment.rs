//! Times in JSON: RFC 3339 in UTC, to the second, in one spelling.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

use crate::{Error, ErrorKind};

/// Cuts a time off to the second, so that it is the same when it was written and read.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`] before 1970 and after 9999: the clock is wrong.
pub(super) fn to_the_second(time: SystemTime) -> Result<SystemTime, Error> {
    let whole = time
        .duration_since(UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs())
        .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .filter(|whole| text(*whole).is_some());
    whole.ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            "the clock is not between the years 1970 and 9999",
        )
    })
}

/// A whole second as text.
pub(super) fn text(time: SystemTime) -> Option<String> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let timestamp = jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(timestamp.to_string())
}

pub(super) fn serialize<S: Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = text(*time).ok_or_else(|| serde::ser::Error::custom("no such time"))?;
    text.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SystemTime, D::Error> {
    let written = String::deserialize(deserializer)?;
    let read = || {
        let timestamp: jiff::Timestamp = written.parse().ok()?;
        let seconds = u64::try_from(timestamp.as_second()).ok()?;
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        (text(time)? == written).then_some(time)
    };
    read().ok_or_else(|| D::Error::custom("not a time such as 2026-01-31T12:00:00Z"))
}
