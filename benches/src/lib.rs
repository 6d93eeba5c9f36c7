//! What the benchmarks measure with; it is published, as `kms_testkit::bench`.

pub use kms_testkit::bench::{Comparison, compare, compare_on_cpu, machine, percentile, smoke};
