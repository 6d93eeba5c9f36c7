//! That no step makes an object unreadable: checked, whatever made the steps.

use std::collections::{BTreeMap, BTreeSet};

use super::class::{Class, Lists};
use super::inventory::Inventory;
use super::objection::Objection;
use super::reader::{Reader, prefixes};
use super::step::Purpose;

/// What changes in a step.
#[derive(Debug)]
pub(super) enum Move<'a> {
    Configure(Purpose, Lists<'a>),
    /// All objects of these are rewritten.
    Migrate(BTreeSet<Class>),
}

/// Whether servers go one after the other, so that for a while there are old ones and new ones.
pub(super) type IsRolling = bool;

/// Walks the steps with all that may be stored. At every moment of a step that goes from server
/// to server there are servers with the configuration of before and with that of after, both of
/// which write, and each must read what either wrote, and what is there.
pub(super) fn check(
    from: &Lists<'_>,
    moves: &[Move<'_>],
    inventory: &Inventory,
    is_rolling: IsRolling,
) -> Result<(), Objection> {
    let mut stored: BTreeMap<&Class, BTreeSet<String>> = from
        .keys()
        .map(|class| {
            let now = from.get(class).map(|it| prefixes(it)).unwrap_or_default();
            // What nobody can read now is not made unreadable.
            let prefixes = inventory
                .of(class)
                .map(|(prefix, _)| prefix.to_owned())
                .filter(|prefix| now.contains(prefix));
            (class, prefixes.collect())
        })
        .collect();
    let mut current = from;
    for step in moves {
        match step {
            Move::Configure(purpose, next) => {
                for (class, stored) in &mut stored {
                    let before = current.get(*class).map(Vec::as_slice).unwrap_or_default();
                    let after = next.get(*class).map(Vec::as_slice).unwrap_or_default();
                    stored.extend(writer(before));
                    if is_rolling {
                        stored.extend(writer(after));
                    }
                    let mut all_read = prefixes(after);
                    if is_rolling {
                        let read_before = prefixes(before);
                        all_read.retain(|prefix| read_before.contains(prefix));
                    }
                    if let Some(prefix) = stored.iter().find(|prefix| !all_read.contains(*prefix)) {
                        return Err(Objection::WouldBeUnreadable {
                            purpose: *purpose,
                            resource: class.to_string(),
                            prefix: prefix.clone(),
                        });
                    }
                }
                current = next;
            }
            Move::Migrate(classes) => {
                for (class, stored) in &mut stored {
                    if classes.contains(*class) {
                        let now = current.get(*class).map(Vec::as_slice).unwrap_or_default();
                        *stored = writer(now).into_iter().collect();
                    }
                }
            }
        }
    }
    Ok(())
}

fn writer(readers: &[Reader<'_>]) -> Option<String> {
    readers.first().map(Reader::prefix)
}
