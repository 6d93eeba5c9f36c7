//! What is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::ControlFlow;

use kms_cluster::snapshot::{Snapshot, SnapshotOptions};
use kms_core::object::{FetchOptions, ObjectKey, ObjectSource as _, Scan, ScanOptions};
use kms_core::text::hex;
use kms_envelope::kubernetes::ConfiguredNames;
use kms_envelope::reencrypt::{Census, CensusOptions, CensusReport, take_census};
use ring::digest;
use serde_json::Value;

use crate::evidence;
use crate::open::Opener;
use crate::set::Set;

#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) passed: usize,
    pub(crate) failures: Vec<String>,
}

impl Checks {
    pub(crate) fn equal<T: PartialEq + Debug>(&mut self, what: &str, found: T, expected: T) {
        if found == expected {
            self.passed += 1;
        } else {
            self.failures
                .push(format!("{what}: found {found:?}, expected {expected:?}"));
        }
    }
}

pub(crate) async fn run(set: &Set, checks: &mut Checks) {
    let options = SnapshotOptions::default();
    let snapshot = match Snapshot::from_bytes(set.snapshot.clone(), "snapshot", &options) {
        Ok(snapshot) => snapshot,
        Err(error) => return checks.failures.push(error.to_string()),
    };
    info(&snapshot, set, checks);
    let swept = sweep(&snapshot, set);
    census(&swept, set, checks);
    key_ids(&swept, set, checks);
    evidence::check(&swept, &snapshot, set, checks).await;
    scanned(&snapshot, &swept, set, checks).await;
    samples(&snapshot, set, checks).await;
    every_object(&snapshot, set, checks).await;
    changed_file(set, checks);
}

fn info(snapshot: &Snapshot, set: &Set, checks: &mut Checks) {
    let expected = &set.expected["snapshot"];
    let info = snapshot.info();
    let number = |value: &Value| value.as_u64().unwrap();
    checks.equal(
        "revision",
        info.revision.get(),
        number(&expected["status"]["revision"]),
    );
    checks.equal(
        "compact_revision",
        info.compacted.unwrap_or_default().get(),
        number(&expected["compact_revision"]),
    );
    checks.equal(
        "db_bytes",
        info.database_bytes,
        number(&expected["db_bytes"]),
    );
    let bbolt = &expected["bbolt"];
    checks.equal(
        "page_size",
        info.page_bytes.into(),
        number(&bbolt["page_size"]),
    );
    checks.equal("txid", info.transaction, number(&bbolt["txid"]));
    checks.equal(
        "sha256",
        info.sha256.as_deref(),
        expected["trailing_sha256_hex"].as_str(),
    );
}

fn census_options(set: &Set) -> CensusOptions {
    let providers = set
        .config
        .resources
        .iter()
        .flat_map(|entry| &entry.providers);
    CensusOptions::default()
        .with_names(ConfiguredNames::new(providers))
        .with_by_namespace(true)
        .with_key_digests(true)
}

fn sweep(snapshot: &Snapshot, set: &Set) -> CensusReport {
    let mut census = Census::new(census_options(set));
    snapshot
        .sweep(None, |record| {
            let revision = record.position.revision;
            census
                .change(record.key, record.value, revision, record.is_live)
                .unwrap();
            if let (true, Some(value)) = (record.is_live, record.value) {
                census
                    .live(record.key, value, record.lease.is_some())
                    .unwrap();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    census.report()
}

fn census(report: &CensusReport, set: &Set, checks: &mut Checks) {
    let found = serde_json::to_value(report).unwrap();
    for part in ["live", "history"] {
        for (field, expected) in set.expected[part].as_object().unwrap() {
            let what = format!("{part}.{field}");
            let found = &found[part][field];
            match (field.as_str(), expected) {
                // Known only to who has the keys; checked below.
                ("decrypted_ok" | "decrypt_failed" | "damaged" | "secrets_by_namespace", _) => {}
                (_, Value::Array(rows)) => equal_rows(&what, found, rows, checks),
                _ => checks.equal(&what, found, expected),
            }
        }
    }
    let secrets: Vec<_> = found["live"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["resource"] == "secrets")
        .cloned()
        .collect();
    let expected = set.expected["live"]["secrets_by_namespace"]
        .as_array()
        .unwrap();
    equal_rows(
        "live.secrets_by_namespace",
        &Value::Array(secrets),
        expected,
        checks,
    );
}

/// Every expected row is found once, with all the fields that are expected, and there is no other.
fn equal_rows(what: &str, found: &Value, expected: &[Value], checks: &mut Checks) {
    let none = Vec::new();
    let found = found.as_array().unwrap_or(&none);
    checks.equal(&format!("{what}: rows"), found.len(), expected.len());
    for row in expected {
        let Some(fields) = row.as_object() else {
            checks.equal(what, found.contains(row), true);
            continue;
        };
        let matches = |found: &&Value| {
            fields.iter().all(|(field, expected)| {
                let found = &found[field];
                match (found.as_array(), expected.as_array()) {
                    (Some(found), Some(expected)) => {
                        let texts = |rows: &[Value]| -> BTreeSet<String> {
                            rows.iter().map(Value::to_string).collect()
                        };
                        texts(found) == texts(expected)
                    }
                    _ => found == expected,
                }
            })
        };
        let count = found.iter().filter(matches).count();
        if count == 1 {
            checks.passed += 1;
        } else {
            checks
                .failures
                .push(format!("{what}: {count} rows are {row}"));
        }
    }
}

fn key_ids(report: &CensusReport, set: &Set, checks: &mut Checks) {
    for (key_id, versions) in set.expected["key_ids"].as_object().unwrap() {
        let Some(expected) = versions.get("kms-v2") else {
            continue;
        };
        let uses: Vec<_> = report
            .key_ids
            .iter()
            .filter(|found| found.key_id.as_deref() == Some(key_id))
            .collect();
        let sum = |count: &dyn Fn(&kms_envelope::reencrypt::KeyIdUse) -> u64| -> u64 {
            uses.iter().map(|found| count(found)).sum()
        };
        let found = [
            ("live_objects", sum(&|found| found.live_objects)),
            ("records", sum(&|found| found.records.unwrap())),
            (
                "records_not_live",
                sum(&|found| found.records_not_live.unwrap()),
            ),
        ];
        for (field, found) in found {
            checks.equal(
                &format!("key_ids.{key_id}.{field}"),
                found,
                expected[field].as_u64().unwrap(),
            );
        }
    }
}

/// The way of any source gives the same numbers as the sweep.
async fn scanned(snapshot: &Snapshot, swept: &CensusReport, set: &Set, checks: &mut Checks) {
    let scan = ScanOptions::default();
    let taken = take_census(snapshot, &scan, &census_options(set), true, |_| {}).await;
    let (scanned, revision) = taken.unwrap();
    checks.equal("revision of the scan", revision, snapshot.info().revision);
    let sorted = |report: &CensusReport| {
        let mut report = report.clone();
        report
            .live
            .damaged
            .sort_by(|a, b| a.etcd_key.cmp(&b.etcd_key));
        serde_json::to_value(report).unwrap()
    };
    checks.equal("the scan's census", sorted(&scanned), sorted(swept));
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Samples are looked for in one pass: a set may be large. Some are fetched as well.
async fn samples(snapshot: &Snapshot, set: &Set, checks: &mut Checks) {
    const FETCHED: usize = 5;
    let samples = |field: &str| set.expected[field].as_array().unwrap().iter();
    let place = |sample: &Value| {
        let name = sample["etcd_key"].as_str().unwrap().as_bytes().to_vec();
        (name, sample["mod_revision"].as_u64().unwrap())
    };
    let all = || samples("samples").chain(samples("history_samples"));
    let wanted: BTreeSet<_> = all().map(place).collect();
    let mut values = BTreeMap::new();
    snapshot
        .sweep(None, |record| {
            let place = (record.key.to_vec(), record.position.revision.get());
            if let (true, Some(value)) = (wanted.contains(&place), record.value) {
                values.insert(place, value.to_vec());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    for sample in samples("samples").take(FETCHED) {
        let name = sample["etcd_key"].as_str().unwrap();
        let key = ObjectKey::new(name).unwrap();
        let found = snapshot.fetch(&key, &FetchOptions::default()).await;
        let found = found.unwrap().unwrap();
        let place = (name.as_bytes().to_vec(), found.revision.get());
        checks.equal(name, Some(&found.value), values.get(&place));
    }
    let mut opener = Opener::new(set);
    for sample in all() {
        let name = sample["etcd_key"].as_str().unwrap();
        let Some(value) = values.get(&place(sample)) else {
            checks.failures.push(format!("{name} is not there"));
            continue;
        };
        checks.equal(
            name,
            Some(sha256(value).as_str()),
            sample["stored_sha256_hex"].as_str(),
        );
        let opened = opener.open(name.as_bytes(), value).await;
        checks.equal(
            name,
            opened.map(|plaintext| sha256(&plaintext)),
            Ok(sample["plaintext_sha256_hex"].as_str().unwrap().to_owned()),
        );
    }
}

/// Exactly the damaged objects do not open.
async fn every_object(snapshot: &Snapshot, set: &Set, checks: &mut Checks) {
    let mut opener = Opener::new(set);
    let mut scan = Scan::new(snapshot, ScanOptions::default());
    let (mut opened, mut damaged) = (0_u64, BTreeSet::new());
    while let Some(page) = scan.next_page().await.unwrap() {
        for object in page.objects {
            let key = object.key.as_bytes();
            match opener.open(key, &object.value).await {
                Ok(_) => opened += 1,
                Err(_) => drop(damaged.insert(object.key.to_string())),
            }
        }
    }
    let live = &set.expected["live"];
    checks.equal("opened", opened, live["decrypted_ok"].as_u64().unwrap());
    let expected = live["damaged"].as_array().unwrap();
    let expected: BTreeSet<_> = expected
        .iter()
        .map(|object| object["etcd_key"].as_str().unwrap().to_owned())
        .collect();
    checks.equal("damaged", damaged, expected);
}

fn changed_file(set: &Set, checks: &mut Checks) {
    let mut bytes = set.snapshot.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let options = SnapshotOptions::default();
    let refused = Snapshot::from_bytes(bytes, "changed", &options).is_err();
    checks.equal("a changed byte is refused", refused, true);
}
