//! Benchmark suites for whoever wrote a provider, and comparisons measured in one run (feature
//! `criterion`).
//!
//! A whole suite, `benches/provider.rs` of a crate of yours, with `harness = false` in its
//! `[[bench]]`:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use criterion::{Criterion, criterion_group, criterion_main};
//! use kms_testkit::{StaticProvider, bench};
//!
//! fn suite(criterion: &mut Criterion) {
//!     let mine = Arc::new(StaticProvider::generate().unwrap()); // yours here
//!     let other = Arc::new(StaticProvider::generate().unwrap());
//!     bench::provider(criterion, "mine", mine.clone());
//!     bench::stampede(criterion, "mine", mine.clone());
//!     bench::envelope(criterion, "mine", mine.clone());
//!     bench::versus("mine", mine, "other", other);
//! }
//!
//! criterion_group!(benches, suite);
//! criterion_main!(benches);
//! ```
//!
//! `cargo bench` measures, `cargo bench -- --test` only shows that everything runs. The functions
//! panic with the provider's own error if a call fails: half a measurement is none. Providers run
//! on a tokio runtime with as many threads as there are cores, and may use its timers and sockets.
//!
//! Times of one run mean little on another day or machine. What is to be compared takes turns in
//! one run: [`versus`] for two providers, [`compare`] for any two ways to do one thing.

mod compare;
mod envelope;
mod provider;
mod stampede;

use core::fmt::Display;
use core::hint::black_box;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use kms_core::{
    ContextSupport, EncryptionContext, KeyProvider, SecretBytes, UnwrapOptions, WrapOptions,
};
use tokio::runtime::Runtime;

pub use compare::{Comparison, compare, compare_on_cpu, machine, percentile, smoke};
pub use envelope::envelope;
pub use provider::{provider, versus};
pub use stampede::stampede;

/// How many callers at once are measured.
const CALLERS: [usize; 3] = [1, 16, 256];

fn runtime() -> Runtime {
    good(
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build(),
        "a tokio runtime",
    )
}

#[track_caller]
#[expect(
    clippy::panic,
    reason = "a benchmark of something that fails must stop"
)]
fn good<T, E: Display>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the real time"
)]
fn now() -> Instant {
    Instant::now()
}

/// How long so many calls take, one after another.
async fn timed<T, F: Future<Output = T>>(calls: u64, mut call: impl FnMut() -> F) -> Duration {
    let start = now();
    for _ in 0..calls {
        black_box(call().await);
    }
    start.elapsed()
}

/// A DEK, and how it is wrapped and unwrapped: under a context if the provider can bind one.
struct Subject {
    provider: Arc<dyn KeyProvider>,
    dek: SecretBytes,
    wrap: WrapOptions,
    unwrap: UnwrapOptions,
}

impl Subject {
    fn new(provider: Arc<dyn KeyProvider>) -> Self {
        let context = match provider.capabilities().context {
            ContextSupport::Native => {
                good(EncryptionContext::new().with("tenant", "acme"), "a context")
            }
            _ => EncryptionContext::new(),
        };
        Self {
            provider,
            dek: SecretBytes::from_vec(vec![0x5a; 32]),
            wrap: WrapOptions::default().with_context(context.clone()),
            unwrap: UnwrapOptions::default().with_context(context),
        }
    }

    async fn wrapped(&self) -> kms_core::WrappedKey {
        good(self.provider.wrap(&self.dek, &self.wrap).await, "wrap")
    }

    async fn unwrapped(&self, wrapped: &kms_core::WrappedKey) -> SecretBytes {
        good(self.provider.unwrap(wrapped, &self.unwrap).await, "unwrap")
    }
}
