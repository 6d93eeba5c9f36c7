//! Sealing and opening one message, ours and theirs taking turns.
//!
//! A ratio is a throughput, ours over theirs: 2.00 means that we are twice as fast. Against a
//! library that makes a DEK for each message we do the same, with our caches switched off.

use kms_benches::{Comparison, compare_on_cpu as compare, machine, smoke};
use kms_peer_benches::{Dek, all, cached, one_dek_a_message};

const SIZES: [(usize, &str); 4] = [
    (64, "64 B"),
    (1 << 10, "1 KiB"),
    (64 << 10, "64 KiB"),
    (1 << 20, "1 MiB"),
];

fn main() {
    if !smoke() && std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    println!("Machine: {}.\n", machine());
    println!(
        "| beside | DEKs | size | ours seals | theirs | ratio | ours opens | theirs | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for side in all() {
        let (ours, deks) = match side.dek {
            Dek::Each => (one_dek_a_message(), "one a message"),
            Dek::Kept => (cached(), "kept"),
        };
        for (size, label) in SIZES {
            let plaintext = vec![0x5a; size];
            let (mut ours, mut theirs) = (ours.sealer(&plaintext), side.sealer(&plaintext));
            let sealed = compare(|| ours.seal(), || theirs.seal());
            let opened = compare(|| ours.open(), || theirs.open());
            println!(
                "| {} | {deks} | {label} | {} | {} |",
                side.name,
                row(&sealed),
                row(&opened)
            );
        }
    }
}

fn row(found: &Comparison) -> String {
    format!(
        "{} | {} | {:.2}",
        time(found.candidate_ns),
        time(found.baseline_ns),
        1.0 / found.ratio
    )
}

fn time(ns: f64) -> String {
    if ns >= 10_000.0 {
        format!("{:.1} us", ns / 1000.0)
    } else {
        format!("{ns:.0} ns")
    }
}
