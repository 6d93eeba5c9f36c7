//! Whole snapshots with what is in them, against this crate and the census over it.
//!
//! With `KMS_SHARED=DIR` the sets are the directories below `DIR/vectors` that hold a
//! `snapshot.db` or `snapshot.db.gz` beside an `expected.json`; without it, the one beside this
//! file. Prints a line for each set and each check that fails; fails if one does, or if there is
//! no set.

mod check;
mod evidence;
mod open;
mod set;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use check::Checks;
use set::Set;

fn main() -> ExitCode {
    let directory = match std::env::var_os("KMS_SHARED") {
        Some(directory) => PathBuf::from(directory).join("vectors"),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
    };
    let mut found = Vec::new();
    set::find(&directory, 3, &mut found);
    found.sort();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let mut failed = 0;
    for directory in &found {
        let mut checks = Checks::default();
        let set = Set::load(directory);
        runtime.block_on(check::run(&set, &mut checks));
        for failure in &checks.failures {
            println!("FAILED {}: {failure}", directory.display());
        }
        println!(
            "cases {} {} passed {} failed",
            directory.file_name().unwrap().to_string_lossy(),
            checks.passed,
            checks.failures.len()
        );
        failed += checks.failures.len();
    }
    if found.is_empty() {
        println!("no sets in {}", directory.display());
    }
    if found.is_empty() || failed > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
