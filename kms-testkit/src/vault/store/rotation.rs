//! Rotation policies: what they may say, and when they make a key due.

use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::vault::access::Kind;
use crate::vault::refusal::Refusal;

const DAY: i64 = 86_400;
/// The shortest time a new version may live.
const MIN_EXPIRY: i64 = 28 * DAY;
/// In a vault a key is not rotated sooner than this after it was made, or before it expires.
const MIN_VAULT: i64 = 7 * DAY;
const MIN_HSM: i64 = 28 * DAY;

/// When a key gets a new version by itself, and how long the new one is to live.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::vault) struct RotationPolicy {
    #[serde(default)]
    lifetime_actions: Vec<LifetimeAction>,
    #[serde(default)]
    attributes: PolicyAttributes,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct LifetimeAction {
    trigger: Trigger,
    action: Action,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Trigger {
    #[serde(skip_serializing_if = "Option::is_none")]
    time_after_create: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_before_expiry: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Action {
    #[serde(rename = "type")]
    what: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyAttributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<i64>,
}

impl RotationPolicy {
    /// What a key has that was never given one: a vault announces the end of a key.
    pub(in crate::vault) fn unset(kind: Kind) -> Self {
        let lifetime_actions = match kind {
            Kind::ManagedHsm => Vec::new(),
            Kind::KeyVault => vec![LifetimeAction {
                trigger: Trigger {
                    time_before_expiry: Some("P30D".to_owned()),
                    ..Trigger::default()
                },
                action: Action {
                    what: "Notify".to_owned(),
                },
            }],
        };
        Self {
            lifetime_actions,
            attributes: PolicyAttributes::default(),
        }
    }

    /// Checks a policy that a caller sent, and dates it.
    pub(in crate::vault) fn accept(
        mut self,
        kind: Kind,
        old: Option<&Self>,
        now: i64,
    ) -> Result<Self, Refusal> {
        let expiry = match self.attributes.expiry_time.as_deref() {
            Some(text) => Some(at_least("expiryTime", text, now, MIN_EXPIRY)?),
            None => None,
        };
        for action in &mut self.lifetime_actions {
            action.check(kind, expiry, now)?;
        }
        let created = old.and_then(|old| old.attributes.created).unwrap_or(now);
        self.attributes.created = Some(created);
        self.attributes.updated = Some(now);
        Ok(self)
    }

    /// When a version that was made then, and expires then, is to be followed by another: not before
    /// this policy was set, and not before it was made.
    pub(in crate::vault) fn due(&self, created: i64, expires: Option<i64>) -> Option<i64> {
        let earliest = self.attributes.updated.unwrap_or(created).max(created);
        self.lifetime_actions
            .iter()
            .filter(|action| action.action.what == "Rotate")
            .filter_map(|action| {
                let trigger = &action.trigger;
                match (&trigger.time_after_create, &trigger.time_before_expiry) {
                    (Some(after), _) => later(after, created),
                    (None, Some(before)) => earlier(before, expires?),
                    (None, None) => None,
                }
            })
            .min()
            .map(|due| due.max(earliest))
    }

    /// When a version that is made by rotation at this time is to expire.
    pub(in crate::vault) fn expiry(&self, created: i64) -> Option<i64> {
        later(self.attributes.expiry_time.as_deref()?, created)
    }

    pub(in crate::vault) fn to_json(&self, id: &str) -> Value {
        let mut object = json!(self);
        if let Some(object) = object.as_object_mut() {
            object.insert("id".to_owned(), id.into());
        }
        object
    }
}

impl LifetimeAction {
    fn check(&mut self, kind: Kind, expiry: Option<i64>, now: i64) -> Result<(), Refusal> {
        let what = ["Rotate", "Notify"]
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(&self.action.what))
            .ok_or_else(|| invalid("type", "must be Rotate or Notify"))?;
        what.clone_into(&mut self.action.what);
        if what == "Notify" && kind == Kind::ManagedHsm {
            return Err(invalid(
                "type",
                "must be Rotate: a Managed HSM does not notify",
            ));
        }
        let least = match kind {
            Kind::KeyVault => MIN_VAULT,
            Kind::ManagedHsm => MIN_HSM,
        };
        let trigger = &self.trigger;
        match (&trigger.time_after_create, &trigger.time_before_expiry) {
            (Some(after), None) if what == "Rotate" => {
                let after = at_least("timeAfterCreate", after, now, least)?;
                if expiry.is_some_and(|expiry| after > expiry.saturating_sub(least)) {
                    return Err(invalid("timeAfterCreate", "is too close to expiryTime"));
                }
            }
            (None, Some(before)) => {
                let before = at_least("timeBeforeExpiry", before, now, least)?;
                if expiry.is_some_and(|expiry| before > expiry.saturating_sub(least)) {
                    return Err(invalid("timeBeforeExpiry", "is too close to expiryTime"));
                }
                if expiry.is_none() && what == "Rotate" {
                    return Err(invalid("timeBeforeExpiry", "needs expiryTime"));
                }
            }
            _ => {
                return Err(invalid(
                    "trigger",
                    "must have one of timeAfterCreate (to Rotate) and timeBeforeExpiry",
                ));
            }
        }
        Ok(())
    }
}

fn invalid(field: &str, why: &str) -> Refusal {
    Refusal::bad_parameter(format!("Property {field} has invalid value: {why}."))
}

/// The seconds of an ISO 8601 duration, if it is long enough.
fn at_least(field: &str, text: &str, now: i64, least: i64) -> Result<i64, Refusal> {
    let seconds = later(text, now)
        .and_then(|end| end.checked_sub(now))
        .ok_or_else(|| invalid(field, "not an ISO 8601 duration"))?;
    if seconds < least {
        let days = least.checked_div(DAY).unwrap_or_default();
        return Err(invalid(field, &format!("must be at least {days} days")));
    }
    Ok(seconds)
}

/// So much later by the calendar, in UTC.
fn later(duration: &str, time: i64) -> Option<i64> {
    moved(time, duration.parse().ok()?)
}

fn earlier(duration: &str, time: i64) -> Option<i64> {
    let span: Span = duration.parse().ok()?;
    moved(time, span.negate())
}

fn moved(time: i64, by: Span) -> Option<i64> {
    let start = Timestamp::from_second(time).ok()?.to_zoned(TimeZone::UTC);
    // A span that cannot be told in seconds from here is none.
    by.to_duration(SpanRelativeTo::from(&start)).ok()?;
    let end = start.checked_add(by).ok()?;
    Some(end.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-31T00:00:00Z
    const NOW: i64 = 1_769_817_600;

    fn policy(actions: &Value, expiry: Option<&str>) -> RotationPolicy {
        let body = json!({"lifetimeActions": actions, "attributes": {"expiryTime": expiry}});
        serde_json::from_value(body).unwrap()
    }

    fn rotate(trigger: &Value) -> Value {
        json!([{"trigger": trigger, "action": {"type": "rotate"}}])
    }

    #[test]
    fn calendars_are_honoured() {
        let after = rotate(&json!({"timeAfterCreate": "P1M"}));
        let accepted = policy(&after, None)
            .accept(Kind::KeyVault, None, NOW)
            .unwrap();
        // The last day of February.
        assert_eq!(accepted.due(NOW, None), Some(NOW + 28 * DAY));
        let before = rotate(&json!({"timeBeforeExpiry": "P30D"}));
        let accepted = policy(&before, Some("P1Y")).accept(Kind::KeyVault, None, NOW);
        let accepted = accepted.unwrap();
        assert_eq!(accepted.expiry(NOW), Some(NOW + 365 * DAY));
        assert_eq!(
            accepted.due(NOW, Some(NOW + 90 * DAY)),
            Some(NOW + 60 * DAY)
        );
        assert_eq!(accepted.due(NOW, None), None);
    }

    #[test]
    fn what_is_too_short_is_refused() {
        let after = |time: &str| rotate(&json!({"timeAfterCreate": time}));
        for (actions, expiry, kind, good) in [
            (after("P7D"), None, Kind::KeyVault, true),
            (after("P6D"), None, Kind::KeyVault, false),
            (after("P7D"), None, Kind::ManagedHsm, false),
            (after("P28D"), None, Kind::ManagedHsm, true),
            (after("P21D"), Some("P28D"), Kind::KeyVault, true),
            (after("P22D"), Some("P28D"), Kind::KeyVault, false),
            (after("P7D"), Some("P27D"), Kind::KeyVault, false),
            (after("seven days"), None, Kind::KeyVault, false),
            (after("P99999Y"), None, Kind::KeyVault, false),
            (rotate(&json!({})), None, Kind::KeyVault, false),
            (
                rotate(&json!({"timeBeforeExpiry": "P30D"})),
                None,
                Kind::KeyVault,
                false,
            ),
        ] {
            let accepted = policy(&actions, expiry).accept(kind, None, NOW);
            assert_eq!(accepted.is_ok(), good, "{actions} {expiry:?} {kind:?}");
        }
    }
}
