//! What it takes when all want one cold DEK at once.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use kms_core::{KeyProvider, TokioClock};
use kms_envelope::cache::{Partition, UnwrapCache, UnwrapCacheOptions};

use super::{CALLERS, Subject, good, runtime, timed};

/// Measures 1, 16 and 256 callers that ask an empty [`UnwrapCache`] over this provider for one DEK:
/// `NAME/stampede/N` is the time until all have it. What should show is one provider call,
/// whatever N is; a stampede that makes a second one panics.
///
/// # Panics
///
/// If a call fails, or one DEK costs more than one call.
pub fn stampede(criterion: &mut Criterion, name: &str, provider: Arc<dyn KeyProvider>) {
    let runtime = runtime();
    let subject = Arc::new(Subject::new(Arc::clone(&provider)));
    let wrapped = Arc::new(runtime.block_on(subject.wrapped()));
    let mut group = criterion.benchmark_group(name);
    for callers in CALLERS {
        group.throughput(Throughput::Elements(callers as u64));
        group.bench_function(BenchmarkId::new("stampede", callers), |bencher| {
            bencher.iter_custom(|calls| {
                runtime.block_on(timed(calls, || async {
                    let cache = Arc::new(UnwrapCache::new(
                        Arc::clone(&provider),
                        Arc::new(TokioClock::new()),
                        UnwrapCacheOptions::default(),
                    ));
                    let mut tasks = tokio::task::JoinSet::new();
                    for _ in 0..callers {
                        let (cache, subject, wrapped) = (
                            Arc::clone(&cache),
                            Arc::clone(&subject),
                            Arc::clone(&wrapped),
                        );
                        tasks.spawn(async move {
                            let opened = cache
                                .unwrap(&Partition::default(), &wrapped, &subject.unwrap)
                                .await;
                            good(opened, "unwrap")
                        });
                    }
                    tasks.join_all().await;
                    assert_eq!(cache.stats().provider_calls, 1, "calls for one DEK");
                }))
            });
        });
    }
    group.finish();
}
