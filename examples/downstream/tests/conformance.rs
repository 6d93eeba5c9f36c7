//! The rules that every provider keeps.

use std::sync::Arc;

use async_trait::async_trait;
use downstream::MapProvider;
use kms_core::{Error, KeyProvider, OsRandom};
use kms_testkit::conformance::{Harness, HookOutcome, run_all};

struct MapHarness(Arc<MapProvider>);

#[async_trait]
impl Harness for MapHarness {
    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.0.clone()
    }

    async fn rotate(&self) -> Result<HookOutcome, Error> {
        self.0.rotate()?;
        Ok(HookOutcome::Done)
    }
}

#[tokio::test]
async fn it_conforms() {
    let provider = MapProvider::new(Arc::new(OsRandom)).unwrap();
    // Panics if a rule is violated. Look once at what was skipped, and why.
    println!("{}", run_all(&MapHarness(Arc::new(provider))).await);
}
