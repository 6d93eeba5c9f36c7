//! One driver at a time, and none where it is not known what is right.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kms::rotation::{Doubt, News, Outcome};
use kms_core::state::{StateStore, StateSwap, StateVersion, VersionedState};
use kms_core::{CallOptions, Clock as _, Error};

use super::world::World;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A store that somebody else can put back.
#[derive(Debug, Default)]
struct Shelf(Mutex<Option<(u64, Vec<u8>)>>);

impl Shelf {
    fn take(&self) -> Option<(u64, Vec<u8>)> {
        self.0.lock().unwrap().clone()
    }

    fn put(&self, state: Option<(u64, Vec<u8>)>) {
        *self.0.lock().unwrap() = state;
    }
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shelf")
    }
}

#[async_trait]
impl StateStore for Shelf {
    async fn load(&self, _: &CallOptions) -> Result<Option<VersionedState>, Error> {
        let found = self.take();
        Ok(found.map(|(version, bytes)| VersionedState::new(StateVersion::new(version), bytes)))
    }

    async fn swap(
        &self,
        expected: Option<StateVersion>,
        bytes: &[u8],
        _: &CallOptions,
    ) -> Result<StateSwap, Error> {
        let mut state = self.0.lock().unwrap();
        let version = state
            .as_ref()
            .map(|(version, _)| StateVersion::new(*version));
        if version != expected {
            return Ok(StateSwap::Changed { current: version });
        }
        let next = version.map_or(1, |version| version.get() + 1);
        *state = Some((next, bytes.to_vec()));
        Ok(StateSwap::Swapped {
            version: StateVersion::new(next),
        })
    }
}

/// Drives for an hour over this store, beside somebody.
fn drive_on(world: &World, shelf: &Arc<Shelf>, beside: impl Future<Output = ()>) -> Outcome {
    let driver = world.driver_on(shelf.clone(), World::options());
    world.run_driver(&driver, HOUR, beside, |_| {})
}

/// R25: what a restored copy of the state says may be long untrue.
#[test]
fn a_state_that_went_back_or_is_gone_stops_the_driver() {
    for is_gone in [false, true] {
        let world = World::new();
        let shelf = Arc::new(Shelf::default());
        let outcome = drive_on(&world, &shelf, core::future::pending());
        assert_eq!(outcome, Outcome::Asked);
        let copy = shelf.take();
        world.keys.rotate().unwrap();
        let somebody = async {
            world
                .clock
                .sleep_until(world.clock.now() + 20 * MINUTE)
                .await;
            shelf.put(copy.clone().filter(|_| !is_gone));
            core::future::pending::<()>().await;
        };
        let outcome = drive_on(&world, &shelf, somebody);
        match outcome {
            Outcome::Doubt(Doubt::StateGone) => assert!(is_gone),
            Outcome::Doubt(Doubt::StateWentBack { before, now }) => {
                assert!(!is_gone && now < before, "{before} {now}");
            }
            other => panic!("{other:?}"),
        }
        // It leaves what it found.
        assert_eq!(shelf.take(), copy.filter(|_| !is_gone));
    }
}

/// R25: end points of one cluster and the state of another.
#[test]
fn objects_of_another_cluster_are_not_touched() {
    let (world, other) = (World::new(), World::of_cluster("c2"));
    let shelf = Arc::new(Shelf::default());
    assert_eq!(
        drive_on(&world, &shelf, core::future::pending()),
        Outcome::Asked
    );
    other.keys.rotate().unwrap();
    let (before, stored) = (other.cluster.revision(), shelf.take());
    let Outcome::Doubt(doubt) = drive_on(&other, &shelf, core::future::pending()) else {
        panic!("it goes on");
    };
    assert_eq!(doubt.code(), "other_cluster");
    assert!(doubt.to_string().contains("\"c1\"") && doubt.to_string().contains("\"c2\""));
    assert_eq!(other.cluster.revision(), before, "nothing was written");
    assert_eq!(shelf.take(), stored, "nor was anything noted");
}

/// Two are started; the one that drives is killed; the other waits for its signs of life to end.
#[test]
fn a_second_driver_waits_and_takes_over() {
    let world = World::new();
    let options = |name: &str| World::options().with_name(name);
    let (first, second) = (
        world.driver(options("first")),
        world.driver(options("second")),
    );
    let told = Mutex::new(Vec::new());
    let news = |who: &'static str| {
        let told = &told;
        let clock = world.clock.clone();
        move |news: &News| match news {
            News::Driving { after, .. } => {
                let after = after.as_ref().map(|note| note.name.clone());
                told.lock()
                    .unwrap()
                    .push((who, "drives", after, clock.now()));
            }
            News::Waiting { driver } => {
                let of = Some(driver.name.clone());
                told.lock().unwrap().push((who, "waits", of, clock.now()));
            }
            _ => {}
        }
    };
    let start = world.clock.now();
    let (killed, end) = (start + 30 * MINUTE, start + HOUR);
    let doomed = async {
        tokio::select! {
            outcome = first.run(core::future::pending(), news("first")) => panic!("{outcome:?}"),
            () = world.clock.sleep_until(killed) => {}
        }
    };
    let heir = async {
        world.clock.sleep_until(start + MINUTE).await;
        second
            .run(world.clock.sleep_until(end), news("second"))
            .await
    };
    let ((), outcome) = world.run(async { tokio::join!(doomed, heir) });
    assert_eq!(outcome.unwrap(), Outcome::Asked);
    let told = told.into_inner().unwrap();
    let words = told
        .iter()
        .map(|(who, does, whom, _)| (*who, *does, whom.as_deref()));
    let expected = [
        ("first", "drives", None),
        ("second", "waits", Some("first")),
        ("second", "drives", Some("first")),
    ];
    assert_eq!(words.collect::<Vec<_>>(), expected);
    // Not before the signs of life are over, and not much later.
    let after = told[2].3.since(killed);
    let takeover = World::options().takeover;
    assert!(
        (takeover / 3..=takeover * 4 / 3).contains(&after),
        "{after:?}"
    );
    assert_eq!(world.record().driver, None, "the second one left in order");
}
