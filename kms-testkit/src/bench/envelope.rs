//! What sealing and opening take over a provider.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use kms_core::{EncryptionContext, KeyProvider, TokioClock};
use kms_envelope::cache::DekLimits;
use kms_envelope::{Envelope, Purpose};

use super::{good, runtime, timed};

/// In bytes.
const SIZES: [usize; 5] = [64, 1024, 16 * 1024, 64 * 1024, 1024 * 1024];

/// Measures an [`Envelope`] over this provider, from 64 bytes to 1 MiB: `NAME/seal/BYTES` and
/// `NAME/open/BYTES`, with a live DEK, as most calls find one, and `NAME/seal the first` with
/// a new one, which costs a wrap.
///
/// # Panics
///
/// If a call fails, or the provider cannot wrap a DEK of 32 bytes.
pub fn envelope(criterion: &mut Criterion, name: &str, provider: Arc<dyn KeyProvider>) {
    let runtime = runtime();
    let build = || {
        let clock = Arc::new(TokioClock::new());
        let limits = DekLimits::default()
            .with_max_messages(u64::MAX)
            .with_max_bytes(u64::MAX);
        let builder = Envelope::builder(clock).dek_limits(limits);
        good(
            builder.recipient("bench", Arc::clone(&provider)).build(),
            "an envelope",
        )
    };
    let context = EncryptionContext::new().with("table", "users");
    let purpose = Purpose::new(good(context, "a context"));
    let mut group = criterion.benchmark_group(name);
    group.bench_function("seal the first", |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(timed(calls, || async {
                good(build().seal(&purpose, b"row 7", &[0x5a; 64]).await, "seal")
            }))
        });
    });
    let envelope = build();
    for size in SIZES {
        let plaintext = vec![0x5a; size];
        let seal = || async { good(envelope.seal(&purpose, b"row 7", &plaintext).await, "seal") };
        let message = runtime.block_on(seal());
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("seal", size), |bencher| {
            bencher.iter_custom(|calls| runtime.block_on(timed(calls, seal)));
        });
        let open = || async { good(envelope.open(&purpose, b"row 7", &message).await, "open") };
        group.bench_function(BenchmarkId::new("open", size), |bencher| {
            bencher.iter_custom(|calls| runtime.block_on(timed(calls, open)));
        });
    }
    group.finish();
}
