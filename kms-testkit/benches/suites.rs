//! The suites over the static provider: what they cost at least, and that they run.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use kms_testkit::{StaticProvider, bench};

fn suite(criterion: &mut Criterion) {
    let [provider, same] = [(), ()].map(|()| Arc::new(StaticProvider::generate().unwrap()));
    bench::provider(criterion, "static", provider.clone());
    bench::stampede(criterion, "static", provider.clone());
    bench::envelope(criterion, "static", provider.clone());
    bench::versus("static", provider, "the same", same);
}

criterion_group!(benches, suite);
criterion_main!(benches);
