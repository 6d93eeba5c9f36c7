//! What may be stored, by class.

use std::collections::{BTreeMap, BTreeSet};

use super::class::{Class, Lists, class_of_census};
use super::objection::{Objection, Unchecked};
use super::reader::{lacking, prefixes};
use super::stored::StoredObjects;

/// What values begin with, and how many there are; `None` if that is not known.
pub(super) type Counts = BTreeMap<String, Option<u64>>;

/// What may be stored.
#[derive(Debug)]
pub(super) struct Inventory {
    pub(super) by_class: BTreeMap<Class, Counts>,
    pub(super) is_counted: bool,
    damaged: BTreeMap<(Class, String), u64>,
    unknown: BTreeMap<String, u64>,
}

impl Inventory {
    /// By a census; without one, everything that is read may be there.
    pub(super) fn new(stored: Option<&StoredObjects>, from: &Lists<'_>) -> Self {
        let mut inventory = Self {
            by_class: BTreeMap::new(),
            is_counted: stored.is_some(),
            damaged: BTreeMap::new(),
            unknown: BTreeMap::new(),
        };
        match stored {
            Some(stored) => inventory.count(stored, from),
            None => {
                for (class, readers) in from {
                    let all = prefixes(readers).into_iter().map(|prefix| (prefix, None));
                    inventory.by_class.insert(class.clone(), all.collect());
                }
            }
        }
        inventory
    }

    fn count(&mut self, stored: &StoredObjects, from: &Lists<'_>) {
        let known: BTreeSet<_> = from.keys().cloned().collect();
        for row in &stored.rows {
            // Keys outside the prefix are no objects.
            if row.resource.is_empty() || row.objects == 0 {
                continue;
            }
            let class = class_of_census(&row.resource, &known).unwrap_or_else(|| {
                let count = self.unknown.entry(row.resource.clone()).or_default();
                *count = count.saturating_add(row.objects);
                guess(&row.resource, &row.prefix, from)
            });
            if row.is_damaged {
                let count = self.damaged.entry((class, row.prefix.clone())).or_default();
                *count = count.saturating_add(row.objects);
                continue;
            }
            let counts = self.by_class.entry(class).or_default();
            let count = counts.entry(row.prefix.clone()).or_insert(Some(0));
            *count = count.map(|count| count.saturating_add(row.objects));
        }
    }

    /// What may be stored of a class.
    pub(super) fn of(&self, class: &Class) -> impl Iterator<Item = (&str, Option<u64>)> {
        let counts = self.by_class.get(class).into_iter().flatten();
        counts.map(|(prefix, count)| (prefix.as_str(), *count))
    }

    /// What stands in the way whatever the steps are.
    pub(super) fn objections(&self, from: &Lists<'_>, to: &Lists<'_>) -> Vec<Objection> {
        let mut objections = Vec::new();
        for (class, counts) in &self.by_class {
            let read =
                |lists: &Lists<'_>| lists.get(class).map(|it| prefixes(it)).unwrap_or_default();
            let (now, later) = (read(from), read(to));
            for (prefix, count) in counts {
                if !now.contains(prefix) && !later.contains(prefix) {
                    objections.push(Objection::NotReadableNow {
                        resource: class.to_string(),
                        prefix: prefix.clone(),
                        objects: count.unwrap_or_default(),
                    });
                }
            }
        }
        for ((class, prefix), objects) in &self.damaged {
            let (Some(old), Some(new)) = (from.get(class), to.get(class)) else {
                continue;
            };
            let goes = lacking(old, new);
            if goes.iter().any(|reader| reader.prefix() == *prefix) {
                objections.push(Objection::Damaged {
                    resource: class.to_string(),
                    prefix: prefix.clone(),
                    objects: *objects,
                });
            }
        }
        objections
    }

    pub(super) fn unchecked(&self) -> Vec<Unchecked> {
        let mut unchecked = Vec::new();
        if !self.is_counted {
            unchecked.push(Unchecked::Census);
        }
        for (resource, objects) in &self.unknown {
            unchecked.push(Unchecked::Resource {
                resource: resource.clone(),
                objects: *objects,
            });
        }
        let objects = self.damaged.values().sum();
        if objects > 0 {
            unchecked.push(Unchecked::Damage { objects });
        }
        unchecked
    }
}

/// Where a resource belongs that no table has: to a class of its name, else to one that reads what
/// it is under.
fn guess(resource: &str, prefix: &str, from: &Lists<'_>) -> Class {
    let named = from
        .keys()
        .find(|class| matches!(class, Class::One(_, name) if name == resource));
    let reads = |class: &Class| {
        let readers = from.get(class).into_iter().flatten();
        readers.into_iter().any(|reader| reader.prefix() == prefix)
    };
    let wildcards = || {
        let is_one = |class: &&Class| !matches!(class, Class::One(..));
        // The rest comes first: it is the likeliest.
        from.keys().rev().filter(is_one).find(|class| reads(class))
    };
    named.or_else(wildcards).cloned().unwrap_or(Class::Rest)
}
