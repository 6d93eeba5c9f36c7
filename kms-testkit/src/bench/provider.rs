//! What a provider's own calls take.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use kms_core::KeyProvider;

use super::{CALLERS, Comparison, Subject, compare, now, runtime, timed};

/// Measures `wrap` and `unwrap` of a DEK of 32 bytes: `NAME/wrap` and `NAME/unwrap` are the
/// latency of one call, `NAME/unwrap at once/N` the throughput of 1, 16 and 256 callers.
///
/// # Panics
///
/// If a call fails, or the provider does not wrap.
pub fn provider(criterion: &mut Criterion, name: &str, provider: Arc<dyn KeyProvider>) {
    let runtime = runtime();
    let subject = Arc::new(Subject::new(provider));
    let wrapped = Arc::new(runtime.block_on(subject.wrapped()));
    let mut group = criterion.benchmark_group(name);
    group.bench_function("wrap", |bencher| {
        bencher.iter_custom(|calls| runtime.block_on(timed(calls, || subject.wrapped())));
    });
    group.bench_function("unwrap", |bencher| {
        bencher.iter_custom(|calls| runtime.block_on(timed(calls, || subject.unwrapped(&wrapped))));
    });
    for callers in CALLERS {
        group.throughput(Throughput::Elements(callers as u64));
        let id = BenchmarkId::new("unwrap at once", callers);
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|calls| {
                runtime.block_on(async {
                    let start = now();
                    let mut tasks = tokio::task::JoinSet::new();
                    for _ in 0..callers {
                        let (subject, wrapped) = (Arc::clone(&subject), Arc::clone(&wrapped));
                        tasks.spawn(
                            async move { timed(calls, || subject.unwrapped(&wrapped)).await },
                        );
                    }
                    tasks.join_all().await;
                    start.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// Compares `wrap` and `unwrap` of a candidate and a baseline, taking turns, prints both and
/// returns them in this order.
///
/// # Panics
///
/// As [`provider`].
pub fn versus(
    name: &str,
    candidate: Arc<dyn KeyProvider>,
    baseline_name: &str,
    baseline: Arc<dyn KeyProvider>,
) -> [Comparison; 2] {
    let runtime = runtime();
    let [candidate, baseline] = [candidate, baseline].map(Subject::new);
    let [ours, theirs] = [&candidate, &baseline].map(|subject| runtime.block_on(subject.wrapped()));
    let wrap = compare(
        || runtime.block_on(candidate.wrapped()),
        || runtime.block_on(baseline.wrapped()),
    );
    let unwrap = compare(
        || runtime.block_on(candidate.unwrapped(&ours)),
        || runtime.block_on(baseline.unwrapped(&theirs)),
    );
    for (operation, found) in [("wrap", &wrap), ("unwrap", &unwrap)] {
        println!("{name} beside {baseline_name}, {operation}: {found}");
    }
    [wrap, unwrap]
}
