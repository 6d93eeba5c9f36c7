//! From a new version to an old key that may go.

use core::time::Duration;

use kms::rotation::{News, Outcome, RecordedRetirement, Until};
use kms_core::{Clock as _, KeyId};
use kms_envelope::rotation::Stage;

use super::world::World;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

fn id(text: &str) -> KeyId {
    text.parse().unwrap()
}

fn stage(world: &World, key: &str) -> Stage {
    world.rotation().key(&id(key)).unwrap().stage()
}

/// R23, R25, R57 to R59: nobody does anything but make a new version.
#[test]
fn a_rotation_runs_to_the_old_key_that_may_go() {
    let world = World::new();
    let (outcome, told) = world.drive(World::options(), HOUR);
    assert_eq!(outcome, Outcome::Asked);
    assert_eq!(stage(&world, "static-1"), Stage::Active, "{told:#?}");
    assert!(world.rotation().is_settled(), "{told:#?}");
    assert_eq!(world.record().driver, None, "it leaves in order");

    world.keys.rotate().unwrap();
    let (_, told) = world.drive(World::options(), DAY);
    assert_eq!(world.under(&id("static-1")), 0, "{told:#?}");
    assert_eq!(world.under(&id("static-2")), 30, "{told:#?}");
    assert_eq!(stage(&world, "static-2"), Stage::Active, "{told:#?}");
    assert_eq!(stage(&world, "static-1"), Stage::Retirable, "{told:#?}");
}

/// Killed at any moment: the next driver goes on, and nothing is done that was not asked for.
#[test]
fn a_driver_that_ends_at_any_moment_is_gone_on_from() {
    let world = World::new();
    let _ = world.drive(World::options(), HOUR);
    world.keys.rotate().unwrap();
    for _ in 0..150 {
        let _ = world.drive(World::options(), Duration::from_secs(397));
    }
    assert_eq!(world.under(&id("static-1")), 0);
    assert_eq!(stage(&world, "static-1"), Stage::Retirable);
}

/// An operator retires a key while a driver is at work: that sees it, goes on and keeps it.
#[test]
fn a_retirement_is_recorded_under_the_hands_of_a_driver() {
    let world = World::new();
    let _ = world.drive(World::options(), HOUR);
    world.keys.rotate().unwrap();
    let _ = world.drive(World::options(), DAY);
    let evidence = world.evidence();
    let retired = std::sync::atomic::AtomicBool::new(false);
    let operator = async {
        world
            .clock
            .sleep_until(world.clock.now() + 5 * MINUTE)
            .await;
        let store = world.store();
        let (old, new) = (id("static-1"), id("static-2"));
        let active = RecordedRetirement::new(&store, &new, &evidence);
        assert_eq!(
            active.record(&world.clock).await.unwrap_err().kind(),
            "is_active"
        );
        let freed = RecordedRetirement::new(&store, &old, &evidence);
        freed.check(&world.clock).await.unwrap();
        assert_eq!(stage(&world, "static-1"), Stage::Retirable, "only asked");
        freed.record(&world.clock).await.unwrap();
        retired.store(true, std::sync::atomic::Ordering::Relaxed);
        core::future::pending::<()>().await;
    };
    let told = std::sync::Mutex::new(Vec::new());
    let note = |news: &News| {
        told.lock()
            .unwrap()
            .push(format!("{}: {news}", news.code()));
    };
    let outcome = world.drive_beside(World::options(), HOUR, operator, note);
    assert_eq!(outcome, Outcome::Asked);
    assert!(retired.into_inner());
    let told = told.into_inner().unwrap();
    assert!(
        told.contains(&"key: key static-1: retired, was retirable".to_owned()),
        "{told:#?}"
    );
    assert!(
        !told.iter().any(|it| it.starts_with("yielded")),
        "{told:#?}"
    );
    assert_eq!(stage(&world, "static-1"), Stage::Retired);
    assert_eq!(world.record().driver, None);
}

/// What a timer runs, every few minutes; and a run that ends when all is done.
#[test]
fn a_driver_that_ends_by_itself_gets_as_far() {
    let world = World::new();
    let once = || World::options().with_until(Until::NothingToDo);
    for _ in 0..30 {
        let before = world.clock.now();
        let (outcome, told) = world.drive(once(), HOUR);
        assert!(
            matches!(outcome, Outcome::Done { .. }),
            "{outcome:?}: {told:#?}"
        );
        assert!(
            world.clock.now().since(before) < MINUTE,
            "it waits for nothing"
        );
        world.pass(5 * MINUTE);
    }
    assert!(world.rotation().is_settled());
    world.keys.rotate().unwrap();
    let (outcome, told) = world.drive(World::options().with_until(Until::Settled), DAY);
    let Outcome::Done { state } = outcome else {
        panic!("{outcome:?}: {told:#?}");
    };
    assert!(state.is_settled());
    assert_eq!(world.under(&id("static-2")), 30);
}
