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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use kms_core::KeyId;
    use kms_envelope::rotation::{Activity, Stage};

    use super::*;
    use crate::rotation::{Doubt, PassProgress, PassSummary};

    #[test]
    fn lines_are_frozen() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let id = KeyId::new("kek-2").unwrap();
        let (from, to) = (Some(Stage::Pending), Stage::Active);
        let cases = [
            (
                News::Key { id, from, to },
                r#"{"event":"key","from":"pending","key_id":"kek-2","message":"key kek-2: active, was pending","time":"2027-01-15T08:00:00Z","to":"active"}"#,
            ),
            (
                News::Activity {
                    activity: Activity::Migrating,
                },
                r#"{"activity":"migrating","event":"activity","message":"re-encrypting objects","time":"2027-01-15T08:00:00Z"}"#,
            ),
            (
                News::Progress(PassProgress::new(5, Some(9), 4).with_seconds_left(Some(2))),
                r#"{"done":5,"event":"progress","message":"5 objects of 9, 4 rewritten, about 2 s to go","rewritten":4,"seconds_left":2,"time":"2027-01-15T08:00:00Z","total":9}"#,
            ),
            (
                News::Migrated(PassSummary::new(9, 8, 1).with_reasons(vec!["a: b".to_owned()])),
                r#"{"event":"migrated","left":1,"message":"a pass has ended: 9 objects seen, 8 rewritten, 1 left; a: b","reasons":["a: b"],"rewritten":8,"seen":9,"time":"2027-01-15T08:00:00Z"}"#,
            ),
            (
                News::Stopped(Doubt::StateGone),
                r#"{"code":"state_gone","event":"stopped","message":"stopped: the state is gone from its store","remedy":"find out who removed it; put the newest copy back, or start again: the first census says what is under which key","time":"2027-01-15T08:00:00Z"}"#,
            ),
        ];
        for (news, line) in cases {
            assert_eq!(event_line(&news, now), line);
        }
    }
}
