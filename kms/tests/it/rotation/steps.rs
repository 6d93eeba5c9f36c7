//! From a new version to an old key that may go.

use core::time::Duration;

use kms::rotation::Outcome;
use kms_core::KeyId;
use kms_envelope::rotation::Stage;

use super::world::World;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

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
