//! What is in the way of retiring each key.

use std::time::{Duration, UNIX_EPOCH};

use kms_cluster::snapshot::Snapshot;
use kms_core::object::ObjectSource as _;
use kms_core::{CallOptions, KeyId};
use kms_envelope::reencrypt::{CensusReport, Evidence, Objection, ScannedSource};
use serde_json::Value;

use crate::check::Checks;
use crate::set::Set;

/// The objections are those that the independent reader's rows give: what names the key, and in the
/// way of every key what is of KMS v1, damaged, or of a provider that nobody knows.
pub(crate) async fn check(
    report: &CensusReport,
    snapshot: &Snapshot,
    set: &Set,
    checks: &mut Checks,
) {
    let identity = snapshot.identity(&CallOptions::default()).await.unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let source = ScannedSource::cluster(&identity, report, identity.revision, now);
    let evidence = Evidence::builder(now).scanned(source).finish().unwrap();
    let read = Evidence::from_json(&evidence.to_json().unwrap()).unwrap();
    checks.equal("evidence as JSON", &read, &evidence);

    let (live, history) = (&set.expected["live"], &set.expected["history"]);
    let live = |is_wanted: &dyn Fn(&Value) -> bool| sum(&live["census"], "objects", is_wanted);
    let history = |is_wanted: &dyn Fn(&Value) -> bool| {
        sum(&history["census_puts_not_live"], "records", is_wanted)
    };
    let is_unknown = |row: &Value| {
        row["provider"] == "kms-v1" || row["unparsable"] == true || row["provider"].is_null()
    };
    let known = set.expected["key_ids"].as_object().unwrap().keys();
    for asked in known.map(String::as_str).chain(["never-used"]) {
        let objections = evidence.objections(&KeyId::new(asked).unwrap());
        let is_key = |row: &Value| row["key_id"] == asked;
        let found = counts(&objections);
        let expected = Counts {
            live: live(&is_key),
            history: history(&is_key),
            unknown: live(&is_unknown) + history(&is_unknown),
        };
        checks.equal(&format!("needed by {asked}"), found, expected);
        let is_a_copy = objections.contains(&Objection::NoLiveSource);
        checks.equal(&format!("a copy of {asked}"), is_a_copy, true);
    }
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    live: u64,
    history: u64,
    unknown: u64,
}

fn counts(objections: &[Objection]) -> Counts {
    let mut counts = Counts::default();
    for objection in objections {
        match objection {
            Objection::LiveObjects { objects, .. } => counts.live += objects,
            Objection::History { records, .. } => counts.history += records,
            Objection::UnknownKey { live, history, .. } => counts.unknown += live + history,
            _ => {}
        }
    }
    counts
}

fn sum(rows: &Value, count: &str, is_wanted: &dyn Fn(&Value) -> bool) -> u64 {
    let rows = rows.as_array().unwrap().iter();
    let wanted = rows.filter(|row| is_wanted(row));
    wanted.map(|row| row[count].as_u64().unwrap()).sum()
}
