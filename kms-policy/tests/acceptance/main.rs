//! Policy data beside what genpolicy made, byte for byte.
//!
//! With `KMS_SHARED=DIR`, every set of samples under `DIR/genpolicy` is made again and compared;
//! with `KMS_RULES=FILE` the hash of each whole policy too. Every request case under `DIR/genpolicy` is
//! judged by our rules and must have the recorded verdict. The data is read in place.

mod images;
mod requests;
mod samples;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let Some(shared) = std::env::var_os("KMS_SHARED") else {
        println!("KMS_SHARED is not set: policies of genpolicy were not compared");
        println!("test result: ok. 0 passed; 0 failed");
        return ExitCode::SUCCESS;
    };
    let root = Path::new(&shared).join("genpolicy");
    let mut sets: Vec<_> = std::fs::read_dir(&root)
        .expect("KMS_SHARED holds genpolicy")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("meta.json").is_file())
        .collect();
    sets.sort();
    let mut all_sets: Vec<_> = std::fs::read_dir(&root)
        .expect("KMS_SHARED holds genpolicy")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("tests").is_dir())
        .collect();
    all_sets.sort();
    let rules = std::env::var_os("KMS_RULES").map(|file| std::fs::read(file).expect("KMS_RULES"));
    if rules.is_none() {
        println!("KMS_RULES is not set: hashes of whole policies were not compared");
    }
    let (mut passed, mut failed) = (0, 0);
    for set in &sets {
        let outcome = samples::run(set, &root.join("images"), rules.as_deref());
        let name = set.file_name().expect("a name").to_string_lossy();
        println!(
            "cases {name} {} passed {} failed",
            outcome.passed, outcome.failed
        );
        passed += outcome.passed;
        failed += outcome.failed;
    }
    for set in &all_sets {
        let outcome = requests::run(set, &root.join("images"));
        let name = set.file_name().expect("a name").to_string_lossy();
        println!(
            "cases requests-{name} {} passed {} failed",
            outcome.passed, outcome.failed
        );
        passed += outcome.passed;
        failed += outcome.failed;
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed");
    ExitCode::from(u8::from(failed != 0 || passed == 0))
}
