//! News as JSON, one object a line.

use std::time::SystemTime;

use kms_envelope::rotation::Alert;
use serde_json::{Map, Value, json};

use super::News;
use super::registry::shown;

/// One line of `kms rotation watch --json`: `time`, `event`, `message`, `remedy` if there is one,
/// and what the event is about.
///
/// | event | has |
/// |---|---|
/// | `driving` | `new`, `after` |
/// | `waiting`, `yielded` | `driver` |
/// | `store_fails`, `provider_fails`, `failed` | `kind`; `activity` |
/// | `key` | `key_id`, `from`, `to` |
/// | `activity` | `activity` |
/// | `converged`, `lagging` | `lagging`, `findings` |
/// | `progress` | `done`, `total`, `rewritten`, `seconds_left` |
/// | `migrated` | `seen`, `rewritten`, `left`, `reasons` |
/// | `census` | `revision`, `evidence` (its digest), `remaining`, `keys`: `key_id`, `objections` |
/// | `alert`, `refused`, `stopped` | `code` |
#[must_use]
pub fn event_line(news: &News, now: SystemTime) -> String {
    let mut line = Map::new();
    line.insert("time".to_owned(), shown(now).into());
    line.insert("event".to_owned(), news.code().into());
    if let Value::Object(details) = details(news) {
        line.extend(details);
    }
    line.insert("message".to_owned(), news.to_string().into());
    if let Some(remedy) = news.remedy() {
        line.insert("remedy".to_owned(), remedy.into());
    }
    Value::Object(line).to_string()
}

fn details(news: &News) -> Value {
    match news {
        News::Driving { after, new } => json!({ "new": new, "after": after }),
        News::Waiting { driver } => json!({ "driver": driver }),
        News::Yielded { to } => json!({ "driver": to }),
        News::StoreFails(failure) | News::ProviderFails(failure) => {
            json!({ "kind": failure.kind() })
        }
        News::Failed { activity, failure } => {
            json!({ "activity": activity.as_str(), "kind": failure.kind() })
        }
        News::Key { id, from, to } => json!({
            "key_id": id.as_str(),
            "from": from.map(kms_envelope::rotation::Stage::as_str),
            "to": to.as_str(),
        }),
        News::Activity { activity } => json!({ "activity": activity.as_str() }),
        News::Checked { found, .. } => {
            json!({ "lagging": found.lagging, "findings": found.findings })
        }
        News::Progress(progress) => json!(progress),
        News::Migrated(summary) => json!(summary),
        News::Census {
            verified,
            objections,
        } => {
            let key = |(id, objections): &(kms_core::KeyId, Vec<_>)| json!({ "key_id": id.as_str(), "objections": objections });
            json!({
                "revision": verified.revision().get(),
                "evidence": verified.evidence.digest().to_string(),
                "remaining": verified.remaining,
                "keys": objections.iter().map(key).collect::<Vec<_>>(),
            })
        }
        News::Alert(alert) => json!({ "code": alert.code(), "key_id": key_of(alert) }),
        News::Refused(refusal) => json!({ "code": refusal.code() }),
        News::Stopped(doubt) => json!(doubt),
        _ => Value::Null,
    }
}

/// The key that an alert is about, if it is about one.
fn key_of(alert: &Alert) -> Option<&str> {
    match alert {
        Alert::WritesStopped { key, .. }
        | Alert::ReadsFail { key, .. }
        | Alert::TargetUnusable { key, .. }
        | Alert::SeenLate { key }
        | Alert::StillNeeded { key, .. }
        | Alert::ReplicaWentBack { key }
        | Alert::ProviderWentBack { key } => Some(key.as_str()),
        _ => None,
    }
}
