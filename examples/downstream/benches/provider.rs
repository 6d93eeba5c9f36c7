//! A whole benchmark suite for a provider of one's own: `cargo bench`.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use downstream::MapProvider;
use kms_core::OsRandom;
use kms_testkit::{StaticProvider, bench};

fn suite(criterion: &mut Criterion) {
    let map = Arc::new(MapProvider::new(Arc::new(OsRandom)).unwrap());
    bench::provider(criterion, "map", map.clone());
    bench::stampede(criterion, "map", map.clone());
    bench::envelope(criterion, "map", map.clone());
    let baseline = Arc::new(StaticProvider::generate().unwrap());
    bench::versus("map", map, "static", baseline);
}

criterion_group!(benches, suite);
criterion_main!(benches);
