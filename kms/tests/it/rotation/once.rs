//! A driver that does what can be done now, and does not wait; and the first state.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use kms::rotation::{News, Outcome, ProviderKeys, Until};
use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::state::{StateStore, StateSwap, StateVersion, VersionedState};
use kms_core::{CallOptions, Clock as _, Error, ErrorKind, KeyProvider};
use kms_testkit::{ManualClock, StaticProvider};

use super::world::World;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A store that is never there: its disk is not mounted.
#[derive(Debug)]
struct Away {
    /// Whether at least reading says that there is no state yet.
    is_readable: bool,
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("file:/mnt/state")
    }
}

#[async_trait]
impl StateStore for Away {
    async fn load(&self, _: &CallOptions) -> Result<Option<VersionedState>, Error> {
        match self.is_readable {
            true => Ok(None),
            false => Err(Error::new(ErrorKind::Io, "not mounted")),
        }
    }

    async fn swap(
        &self,
        _: Option<StateVersion>,
        _: &[u8],
        _: &CallOptions,
    ) -> Result<StateSwap, Error> {
        Err(Error::new(ErrorKind::Io, "not mounted"))
    }
}

#[test]
fn once_does_not_wait_for_a_store_that_is_away() {
    let world = World::new();
    for is_readable in [false, true] {
        let run = |until| {
            let options = World::options().with_until(until);
            let driver = world.driver_on(Arc::new(Away { is_readable }), options);
            let began = world.clock.now();
            let stop = world.clock.sleep_until(began + HOUR);
            let outcome = world.run(driver.run(stop, |_: &News| {}));
            (outcome, world.clock.now().since(began))
        };
        let (outcome, took) = run(Until::NothingToDo);
        let failure = outcome.unwrap_err();
        assert_eq!(failure.kind(), "io");
        assert!(failure.to_string().contains("file:/mnt/state"), "{failure}");
        assert!(took < MINUTE, "{took:?}");
        // Others wait until it is there again.
        for until in [Until::Asked, Until::Settled] {
            let (outcome, _) = run(until);
            assert_eq!(outcome.unwrap(), Outcome::Asked);
        }
    }
}

/// A keyring of which nobody has ever heard.
fn another_provider(clock: &ManualClock) -> (tempfile::TempDir, Arc<dyn KeyProvider>) {
    let directory = tempfile::tempdir().unwrap();
    let options = || LocalOptions::new(Arc::new(clock.clone()));
    let path = directory.path().join("keyring.json");
    let provider = LocalProvider::create(path, options()).unwrap();
    (directory, Arc::new(provider))
}

#[test]
fn a_provider_that_is_not_the_clusters_begins_nothing() {
    let clock = ManualClock::new();
    let keys = Arc::new(StaticProvider::generate().unwrap());
    let plugins = [(); 3].map(|()| Arc::clone(&keys) as Arc<dyn KeyProvider>);
    let (_directory, other) = another_provider(&clock);
    let source = ProviderKeys::new("static".parse().unwrap(), other);
    let world = World::with_plugins(clock, keys, plugins, Arc::new(source));
    let driver = world.driver(World::options());
    let stop = world.clock.sleep_until(world.clock.now() + HOUR);
    let failure = world.run(driver.run(stop, |_| {})).unwrap_err();
    assert_eq!(failure.kind(), "another_provider");
    assert!(failure.to_string().contains("static"), "{failure}");
    let failure = world.run(driver.plan()).unwrap_err();
    assert_eq!(failure.kind(), "another_provider");
    let call = CallOptions::default();
    let found = world.run(world.store().load(&call)).unwrap();
    assert!(found.is_none(), "no state was begun");
}
