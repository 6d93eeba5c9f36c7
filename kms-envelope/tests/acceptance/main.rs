//! Every vector that upstream code has written and judged, against this crate.
//!
//! With `KMS_SHARED=DIR` the sets are `DIR/vectors/*.json`; without it, the trimmed ones beside
//! this file. Any file with `vectors` at its top level is a set. Prints a line for each format and
//! the name of each case that fails; fails if one does, if there are none, or if a format is
//! unknown.

mod case;
mod check;
mod independent;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use case::{Case, Set};

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

fn main() -> ExitCode {
    let directory = match std::env::var_os("KMS_SHARED") {
        Some(directory) => PathBuf::from(directory).join("vectors"),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
    };
    let sets = match read_sets(&directory) {
        Ok(sets) => sets,
        Err(error) => {
            eprintln!("{}: {error}", directory.display());
            return ExitCode::FAILURE;
        }
    };
    // The panic of a case is reported as its failure; the message is enough.
    std::panic::set_hook(Box::new(|_| {}));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut tallies = BTreeMap::<String, Tally>::new();
    for set in &sets {
        for case in &set.vectors {
            let verdict = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(set, case))))
                .unwrap_or_else(|panic| Err(format!("panicked: {}", panic_text(&*panic))));
            let tally = tallies.entry(case.format()).or_default();
            match verdict {
                Ok(()) => tally.passed += 1,
                Err(problem) => {
                    tally.failed += 1;
                    println!("FAILED {}: {problem}", case.name);
                }
            }
        }
    }
    for (format, tally) in &tallies {
        println!(
            "cases {format} {} passed {} failed",
            tally.passed, tally.failed
        );
    }
    if tallies.is_empty() {
        println!("no cases in {}", directory.display());
        return ExitCode::FAILURE;
    }
    if tallies.values().any(|tally| tally.failed > 0) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn run(set: &Set, case: &Case) -> Result<(), String> {
    if !case.format_is_known() {
        return Err(format!("the format {} is unknown", case.format()));
    }
    if case.is_negative() {
        check::negative(set, case).await
    } else {
        check::positive(set, case).await
    }
}

fn read_sets(directory: &Path) -> std::io::Result<Vec<Set>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut sets = Vec::new();
    for file in files {
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&file)?;
        let value: serde_json::Value = serde_json::from_str(&text)?;
        if value.get("vectors").is_some() {
            sets.push(serde_json::from_value(value)?);
        }
    }
    Ok(sets)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}
