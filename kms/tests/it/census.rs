//! `kms census` and `kms etcd export` over a large snapshot, against the books of its maker.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::command::{Ran, kms};
use crate::made::{Made, RowKey, Rows, make};

fn run(made: &Made, before: &[&str], with_keys: bool, after: &[&str]) -> Ran {
    let snapshot = made.path("backup.db").display().to_string();
    let config = made.path("config.yaml").display().to_string();
    let mut arguments: Vec<String> = before.iter().map(ToString::to_string).collect();
    arguments.extend(["--snapshot".to_owned(), snapshot]);
    if with_keys {
        arguments.extend(["--encryption-config".to_owned(), config]);
        arguments.extend(made.keks());
    }
    arguments.extend(after.iter().map(ToString::to_string));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    kms(&arguments)
}

/// Objects or records, bytes, and how many DEKs.
type Counts = (u64, u64, u64);

fn found(rows: &Value, count: &str) -> BTreeMap<RowKey, Counts> {
    let row = |row: &Value| {
        let text = |field: &str| row[field].as_str().map(str::to_owned);
        let number = |field: &str| row[field].as_u64().unwrap();
        let key = (
            text("resource").unwrap(),
            text("prefix").unwrap(),
            text("key_id"),
            row["unparsable"].as_bool().unwrap_or_default(),
        );
        let deks = number("distinct_encrypted_dek_sources");
        (key, (number(count), number("value_bytes"), deks))
    };
    let rows = rows.as_array().unwrap();
    let by_key: BTreeMap<_, _> = rows.iter().map(row).collect();
    assert_eq!(by_key.len(), rows.len(), "no row is there twice");
    by_key
}

fn expected(rows: &Rows) -> BTreeMap<RowKey, Counts> {
    rows.iter()
        .map(|(key, row)| {
            let deks = row.sources.len() as u64;
            (key.clone(), (row.count, row.value_bytes, deks))
        })
        .collect()
}

fn keys_of(damaged: &Value) -> BTreeSet<String> {
    let keys = damaged.as_array().unwrap().iter();
    keys.map(|object| object["etcd_key"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_census_finds_what_the_books_say() {
    let made = make(12_000);
    let books = &made.books;
    // Without a configuration names with a colon are found by where their values make sense.
    for with_keys in [false, true] {
        let census = run(&made, &["census", "--history", "--json"], with_keys, &[]);
        let census = census.ok().json();
        let live = &census["live"];
        assert_eq!(live["keys"], books.keys);
        assert_eq!(live["keys_with_an_etcd_lease"], books.leases);
        assert_eq!(found(&live["census"], "objects"), expected(&books.live));
        let seen: BTreeSet<String> = books
            .damaged
            .iter()
            .filter(|(_, is_seen)| **is_seen)
            .map(|(key, _)| key.clone())
            .collect();
        assert_eq!(keys_of(&live["damaged"]), seen);
        let history = &census["history"];
        assert_eq!(history["records"], books.records);
        assert_eq!(history["tombstones"], books.tombstones);
        assert_eq!(
            found(&history["census_all_puts"], "records"),
            expected(&books.all_puts)
        );
        assert_eq!(
            found(&history["census_puts_not_live"], "records"),
            expected(&books.not_live)
        );
        assert_eq!(census["source"]["revision"], books.revision);
        assert_eq!(census["source"]["compact_revision"], books.compacted);
    }
    // It is large enough for what it is to show.
    assert!(books.live.len() > 20 && books.not_live.len() > 10);
    let of_names: BTreeSet<&str> = books.live.keys().map(|key| key.1.as_str()).collect();
    assert!(
        of_names.contains("k8s:enc:kms:v1:team:")
            && of_names.contains("k8s:enc:kms:v1:team:vault:one:")
    );
}

/// Exactly the damaged objects stand in the way, each under the name it has.
#[test]
fn verify_and_export_name_exactly_what_does_not_open() {
    let made = make(900);
    let books = &made.books;
    let ran = run(&made, &["census", "--verify", "--json"], true, &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let census = ran.json();
    let damaged: BTreeSet<String> = books.damaged.keys().cloned().collect();
    assert_eq!(keys_of(&census["live"]["damaged"]), damaged);
    let verify = &census["verify"];
    assert_eq!(verify["opened"], books.keys - damaged.len() as u64);
    assert_eq!(verify["failed"], damaged.len());
    let plugins = verify["plugins"].as_array().unwrap();
    assert_eq!(plugins.len(), 3);
    assert!(
        plugins.iter().all(|plugin| plugin["ok"] == true),
        "{verify}"
    );
    let blockers = verify["blockers"].as_array().unwrap();
    let blocked: u64 = blockers
        .iter()
        .map(|it| it["objects"].as_u64().unwrap())
        .sum();
    assert_eq!(blocked, damaged.len() as u64);
    let of_colon = blockers
        .iter()
        .filter(|it| it["prefix"] == "k8s:enc:kms:v1:team:vault:one:");
    let of_colon: u64 = of_colon.map(|it| it["objects"].as_u64().unwrap()).sum();
    assert_eq!(of_colon, 3, "{verify}");

    let raw = ["--format", "raw", "--prefix", "/registry/secrets/"];
    let ran = run(&made, &["etcd", "export"], true, &raw);
    assert_eq!(ran.code, Some(1));
    let secrets: u64 = books
        .live
        .iter()
        .filter(|(key, _)| key.0 == "secrets")
        .map(|(_, row)| row.count)
        .sum();
    let lines = ran.text().lines().count() as u64;
    assert_eq!(lines, secrets - damaged.len() as u64);
    for key in &damaged {
        assert!(ran.stderr.contains(key.as_str()), "{key}");
    }
}
