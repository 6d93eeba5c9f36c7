//! What must never be.

use kms_envelope::rotation::{Stage, Writes};

use super::Scenario;
use super::machine::Facts;
use super::world::{Health, KEYS, Under, World};

/// What is wrong with a world.
pub(super) fn fault_of(world: &World, facts: &Facts, scenario: &Scenario) -> Option<&'static str> {
    let objects = || world.objects.iter().filter(|it| **it != Under::Nothing);
    for object in objects() {
        let is_lost = object
            .key()
            .is_some_and(|key| world.health[key] == Health::Gone);
        if is_lost {
            return Some("an object is under a key that was deleted with leave");
        }
        let is_unread = world
            .replicas
            .iter()
            .any(|replica| replica.up && !World::is_configured(replica, *object, scenario));
        if is_unread {
            return Some("an object cannot be read while its key exists");
        }
    }
    for writer in world.replicas.iter().filter(|replica| replica.up) {
        let is_unread = world
            .replicas
            .iter()
            .any(|reader| reader.up && !World::is_configured(reader, writer.server, scenario));
        if is_unread {
            return Some("a replica writes what another cannot read");
        }
    }
    for key in 0..KEYS {
        if facts.stage[key] == Some(Stage::Retired) && is_needed(world, key) {
            return Some("a retired key is needed");
        }
        let is_stolen = facts.compromised & (1 << key) != 0;
        let under = Under::Key(key as u8);
        if is_stolen && matches!(facts.writes, Writes::With(_)) && facts.target == under {
            return Some("a compromised key is written with");
        }
    }
    None
}

/// Whether something needs a key, or may: an object that does not say so needs every key.
fn is_needed(world: &World, key: usize) -> bool {
    let under = Under::Key(key as u8);
    world.objects.contains(&under)
        || world.objects.contains(&Under::Damaged)
        || world.objects.contains(&Under::KmsV1)
        || world.replicas.iter().any(|replica| replica.server == under)
}

/// What is wrong with a change from one world to the next.
pub(super) fn fault_between(
    after: &World,
    old: &Facts,
    new: &Facts,
    scenario: &Scenario,
) -> Option<&'static str> {
    for key in 0..KEYS {
        match (old.stage[key], new.stage[key]) {
            (Some(_), None) => return Some("a key was forgotten"),
            (Some(Stage::Retired), Some(stage)) if stage != Stage::Retired => {
                return Some("a retired key came back");
            }
            (Some(stage), Some(Stage::Active)) if stage > Stage::Active => {
                return Some("a key that was left became active again");
            }
            (was, Some(Stage::Retirable))
                if was != Some(Stage::Retirable) && is_needed(after, key) =>
            {
                return Some("a key that is needed became retirable");
            }
            (was, Some(Stage::Retired))
                if was != Some(Stage::Retired) && was != Some(Stage::Retirable) =>
            {
                return Some("a key was retired that was not retirable");
            }
            _ => {}
        }
    }
    if let (Some(from), Some(to)) = (old.target.key(), new.target.key())
        && scenario.provider_of(from) == scenario.provider_of(to)
        && to < from
    {
        return Some("an older version of the same key became active");
    }
    None
}

/// Whether all is well and nothing has to be done.
pub(super) fn is_good(world: &World, facts: &Facts, scenario: &Scenario) -> bool {
    let replicas_agree = world.replicas.iter().all(|replica| {
        replica.up
            && !replica.blind
            && replica.server == facts.target
            && world.meant(replica, scenario) == facts.target
    });
    let objects_agree = world
        .objects
        .iter()
        .all(|object| *object == Under::Nothing || *object == facts.target);
    let keys_are_free = facts.stage.iter().enumerate().all(|(key, stage)| {
        facts.target == Under::Key(key as u8)
            || matches!(
                stage,
                None | Some(Stage::Pending | Stage::Retirable | Stage::Retired)
            )
    });
    facts.is_settled && replicas_agree && objects_agree && keys_are_free
}
