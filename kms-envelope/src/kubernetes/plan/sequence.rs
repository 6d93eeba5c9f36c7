//! The steps.

use std::collections::{BTreeMap, BTreeSet};

use kms_core::SecretBytes;

use super::arrange::{arrange, unite};
use super::caution;
use super::class::{Class, Lists, classes, lists};
use super::inventory::Inventory;
use super::objection::{Objection, Unchecked};
use super::reader::{Reader, Readers, joined, lacking};
use super::request::{KmsAnswer, PlanRequest, Rollout};
use super::safety::{Move, check};
use super::step::{Action, Check, ConfigFile, Migration, Plan, Purpose, Step, Under, WayBack};
use super::survey::resources;
use crate::kubernetes::{EncryptionConfiguration, KmsApiVersion, ProviderKind};

/// Plans a change.
///
/// What stands in the way is in the [`Plan`], which has no steps then.
#[must_use]
pub fn plan(request: &PlanRequest<'_>) -> Plan {
    let nothing = EncryptionConfiguration {
        resources: Vec::new(),
    };
    let before = request.from.unwrap_or(&nothing);
    let classes = classes(&[before, request.to]);
    let to = lists(&classes, request.to);
    let mut from = lists(&classes, before);
    move_plugins(&mut from, &to, &request.same_keys);
    let change = Change {
        request,
        inventory: Inventory::new(request.stored, &from),
        from,
        to,
        is_same_text: before.to_yaml() == request.to.to_yaml(),
    };
    change.plan()
}

/// Where both plugins of a name have the same keys, the new one stands for the old one.
fn move_plugins<'a>(from: &mut Lists<'a>, to: &Lists<'a>, names: &BTreeSet<String>) {
    let new: Vec<_> = to.values().flatten().filter_map(Reader::kms).collect();
    for kms in from.values_mut().flatten() {
        let Reader::Kms(old) = kms else { continue };
        if !names.contains(&old.name) {
            continue;
        }
        let same = |kms: &&&_| {
            let kms: &crate::kubernetes::KmsConfiguration = kms;
            kms.name == old.name && kms.api_version == old.api_version
        };
        if let Some(new) = new.iter().find(same) {
            *kms = Reader::Kms(new);
        }
    }
}

struct Change<'a> {
    request: &'a PlanRequest<'a>,
    from: Lists<'a>,
    to: Lists<'a>,
    inventory: Inventory,
    is_same_text: bool,
}

impl<'a> Change<'a> {
    fn plan(self) -> Plan {
        let mut plan = Plan {
            steps: Vec::new(),
            objections: self.objections(),
            cautions: caution::of_change(&self.from, &self.to),
            unchecked: self.inventory.unchecked(),
        };
        if !plan.objections.is_empty() {
            return plan;
        }
        let moves = match self.moves() {
            Ok(moves) => moves,
            Err(objection) => {
                plan.objections.push(objection);
                return plan;
            }
        };
        if moves.is_empty() {
            plan.cautions = caution::of_no_change(&self.to);
            return plan;
        }
        for step in &moves {
            if let Move::Configure(_, lists) = step {
                let clash = self.clashes(lists);
                let is_new = |clash: &Objection| !plan.objections.contains(clash);
                plan.objections.extend(clash.filter(is_new));
                for caution in caution::of_file(lists) {
                    if !plan.cautions.contains(&caution) {
                        plan.cautions.push(caution);
                    }
                }
            }
        }
        plan.objections.extend(self.silent_kms(&moves));
        plan.unchecked.extend(self.unasked_kms(&moves));
        let is_rolling = self.request.rollout == Rollout::Rolling;
        if let Err(objection) = check(&self.from, &moves, &self.inventory, is_rolling) {
            plan.objections.push(objection);
        }
        if !plan.objections.is_empty() {
            return plan;
        }
        match self.steps(&moves) {
            Ok(steps) => plan.steps = steps,
            Err(objection) => plan.objections.push(objection),
        }
        plan
    }

    /// What stands in the way whatever the steps are.
    fn objections(&self) -> Vec<Objection> {
        let mut objections = renamed_keys(&self.from, &self.to);
        objections.extend(changed_kms(&self.from, &self.to));
        objections.extend(self.inventory.objections(&self.from, &self.to));
        objections
    }

    fn each<T>(&self, of: impl Fn(&[Reader<'a>], &[Reader<'a>]) -> T) -> BTreeMap<Class, T> {
        let both = self.from.iter().filter_map(|(class, old)| {
            let new = self.to.get(class)?;
            Some((class.clone(), of(old, new)))
        });
        both.collect()
    }

    fn any(&self, of: impl Fn(&[Reader<'a>], &[Reader<'a>]) -> bool) -> bool {
        self.each(of).into_values().any(|is_so| is_so)
    }

    fn moves(&self) -> Result<Vec<Move<'a>>, Objection> {
        let lacks_new_writer =
            |old: &[_], new: &[_]| new.first().is_some_and(|it| !old.contains(it));
        let has_new_writer = |old: &[_], new: &[_]| old.first() != new.first();
        let drops = |old: &[_], new: &[_]| !lacking(old, new).is_empty();

        let mut moves = Vec::new();
        if self.any(lacks_new_writer) {
            let mut readers: Lists<'a> = self.each(joined);
            match unite(&mut readers, Purpose::AddReaders) {
                Ok(()) => moves.push(Move::Configure(Purpose::AddReaders, readers)),
                // There is no moment at which it would be needed; only the way back is lost.
                Err(_) if self.request.rollout == Rollout::AllAtOnce => {}
                Err(objection) => return Err(objection),
            }
        }
        if self.any(has_new_writer) {
            let mut readers: Lists<'a> = self.each(|old, new| joined(new, old));
            unite(&mut readers, Purpose::SwitchWriter)?;
            moves.push(Move::Configure(Purpose::SwitchWriter, readers));
        }
        let changes = self.each(|old, new| has_new_writer(old, new) || drops(old, new));
        let changed: BTreeSet<_> = changes
            .into_iter()
            .filter_map(|(class, is_so)| is_so.then_some(class))
            .collect();
        if !changed.is_empty() {
            moves.push(Move::Migrate(changed));
        }
        let last = moves.iter().rev().find_map(|step| match step {
            Move::Configure(_, lists) => Some(lists),
            Move::Migrate(_) => None,
        });
        let is_there = *last.unwrap_or(&self.from) == self.to;
        if self.any(drops) {
            moves.push(Move::Configure(Purpose::DropReaders, self.to.clone()));
        } else if !is_there || (moves.is_empty() && !self.is_same_text) {
            moves.push(Move::Configure(Purpose::Tidy, self.to.clone()));
        }
        Ok(moves)
    }

    fn steps(&self, moves: &[Move<'a>]) -> Result<Vec<Step>, Objection> {
        let mut steps = Vec::new();
        let mut current = &self.from;
        for step in moves {
            match step {
                Move::Configure(purpose, next) => {
                    steps.push(self.configure(*purpose, current, next)?);
                    current = next;
                }
                Move::Migrate(classes) => steps.push(self.migrate(classes)),
            }
        }
        Ok(steps)
    }

    fn configure(
        &self,
        purpose: Purpose,
        current: &Lists<'a>,
        next: &Lists<'a>,
    ) -> Result<Step, Objection> {
        let is_target = *next == self.to;
        let text: SecretBytes = if is_target {
            self.request.to.to_yaml()
        } else {
            let comment = format!("Step {purpose}: for the time of the change only.");
            arrange(next, &[&comment], purpose)?
        };
        let new_kms: BTreeSet<_> = next
            .iter()
            .flat_map(|(class, readers)| {
                let before = current.get(class).map(Vec::as_slice).unwrap_or_default();
                lacking(readers, before)
            })
            .filter_map(|reader| reader.kms().map(|kms| kms.name.clone()))
            .collect();
        let mut checks = vec![Check::ConfigurationTaken];
        if !new_kms.is_empty() {
            checks.push(Check::KmsHealthy {
                names: new_kms.into_iter().collect(),
            });
        }
        if purpose == Purpose::SwitchWriter {
            checks.push(self.writes_with());
        }
        // What the file of before cannot read, it must not meet again.
        let is_readable = next.iter().all(|(class, readers)| {
            let before = current.get(class).map(Vec::as_slice).unwrap_or_default();
            readers
                .first()
                .is_some_and(|writer| before.contains(writer))
        });
        Ok(Step {
            purpose,
            action: Action::Configure(ConfigFile {
                text,
                is_target,
                resources: resources(next, |class| self.is_of_interest(class)),
            }),
            checks,
            way_back: if is_readable {
                WayBack::PreviousFile
            } else {
                WayBack::OnlyForward
            },
        })
    }

    /// Whether a class is encrypted at any time.
    fn is_of_interest(&self, class: &Class) -> bool {
        let is_plain = |lists: &Lists<'_>| {
            let plain: Readers<'_> = vec![Reader::Identity];
            lists.get(class).is_none_or(|readers| *readers == plain)
        };
        !is_plain(&self.from) || !is_plain(&self.to)
    }

    fn writes_with(&self) -> Check {
        let (mut kms, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
        for (old, new) in self
            .each(|old, new| (old.first().copied(), new.first().copied()))
            .into_values()
        {
            let Some(writer) = new.filter(|_| old != new) else {
                continue;
            };
            match writer.unique_name() {
                Some(name) => kms.insert(name.to_owned()),
                None => prefixes.insert(writer.prefix()),
            };
        }
        Check::WritesWith {
            kms: kms.into_iter().collect(),
            prefixes: prefixes.into_iter().collect(),
        }
    }

    fn migrate(&self, classes: &BTreeSet<Class>) -> Step {
        let mut under = Vec::new();
        let mut objects = 0_u64;
        for class in classes {
            let (Some(old), Some(new)) = (self.from.get(class), self.to.get(class)) else {
                continue;
            };
            for reader in lacking(old, new) {
                under.push(Under {
                    resource: class.to_string(),
                    prefix: reader.prefix(),
                });
            }
            let writer = new.first().map(Reader::prefix);
            for (prefix, count) in self.inventory.of(class) {
                if writer.as_deref() != Some(prefix) {
                    objects = objects.saturating_add(count.unwrap_or_default());
                }
            }
        }
        let is_required = !under.is_empty();
        let mut checks = Vec::new();
        if is_required {
            checks.push(Check::NoObjectsUnder { under });
            checks.push(Check::HistoryCompacted);
        }
        Step {
            purpose: Purpose::Migrate,
            action: Action::Migrate(Migration {
                resources: classes.iter().map(ToString::to_string).collect(),
                objects: self.inventory.is_counted.then_some(objects),
                is_required,
            }),
            checks,
            way_back: WayBack::SwitchBackAndMigrate,
        }
    }

    /// Keys whose values are confused, and that stand side by side only on the way.
    fn clashes(&self, lists: &Lists<'a>) -> Option<Objection> {
        lists.iter().find_map(|(class, readers)| {
            let own = |lists: &Lists<'a>, reader: &Reader<'a>| {
                lists.get(class).is_some_and(|own| own.contains(reader))
            };
            let (one, other) = readers.iter().enumerate().find_map(|(place, one)| {
                let later = readers.iter().skip(place.saturating_add(1));
                let mut same = later.filter(|other| are_confused(one, other));
                let other = same.find(|other| {
                    let in_one = |lists| own(lists, one) && own(lists, other);
                    !in_one(&self.from) && !in_one(&self.to)
                })?;
                Some((one.prefix(), other.prefix()))
            })?;
            let resource = class.to_string();
            Some(if one == other {
                Objection::SameNameOtherKey {
                    resource,
                    prefix: one,
                }
            } else {
                // Of two prefixes of which one begins with the other, that is the first in order.
                Objection::ConfusableNames {
                    resource,
                    prefix: one.clone().min(other.clone()),
                    longer: one.max(other),
                }
            })
        })
    }

    fn kms_in_files(moves: &[Move<'a>]) -> BTreeSet<&'a str> {
        let lists = moves.iter().filter_map(|step| match step {
            Move::Configure(_, lists) => Some(lists),
            Move::Migrate(_) => None,
        });
        let readers = lists.flat_map(|lists| lists.values().flatten());
        let kms = readers.filter_map(Reader::kms);
        kms.map(|kms| kms.name.as_str()).collect()
    }

    fn silent_kms(&self, moves: &[Move<'a>]) -> Vec<Objection> {
        let silent = Self::kms_in_files(moves).into_iter().filter_map(|name| {
            match self.request.kms.get(name)? {
                KmsAnswer::Silent(reason) => Some(Objection::KmsDoesNotAnswer {
                    name: name.to_owned(),
                    reason: reason.clone(),
                }),
                KmsAnswer::Answers => None,
            }
        });
        silent.collect()
    }

    fn unasked_kms(&self, moves: &[Move<'a>]) -> Option<Unchecked> {
        let names: Vec<_> = Self::kms_in_files(moves)
            .into_iter()
            .filter(|name| !self.request.kms.contains_key(*name))
            .map(str::to_owned)
            .collect();
        (!names.is_empty()).then_some(Unchecked::Kms { names })
    }
}

/// Whether values of the one may be tried with the other, and nobody can tell. Of `aescbc` that is
/// also so where the one's name begins with the other's and a colon.
fn are_confused(one: &Reader<'_>, other: &Reader<'_>) -> bool {
    let (first, second) = (one.prefix(), other.prefix());
    if one.kind() == ProviderKind::AesCbc && other.kind() == ProviderKind::AesCbc {
        return first.starts_with(&second) || second.starts_with(&first);
    }
    first == second
}

/// Local keys that change behind their names.
fn renamed_keys(from: &Lists<'_>, to: &Lists<'_>) -> Vec<Objection> {
    let mut objections = Vec::new();
    for (class, old) in from {
        let Some(new) = to.get(class) else { continue };
        let with = |list: &[Reader<'_>], prefix: &str| -> Vec<usize> {
            // By place in `all`, as sets.
            let all = joined(old, new);
            let places = all.iter().enumerate();
            places
                .filter(|(_, reader)| list.contains(reader) && reader.prefix() == prefix)
                .map(|(place, _)| place)
                .collect()
        };
        let is_local = |reader: &&Reader<'_>| matches!(reader, Reader::Local(..));
        let prefixes: BTreeSet<_> = old.iter().filter(is_local).map(Reader::prefix).collect();
        for prefix in prefixes {
            let (before, after) = (with(old, &prefix), with(new, &prefix));
            if !after.is_empty() && before != after {
                objections.push(Objection::SameNameOtherKey {
                    resource: class.to_string(),
                    prefix,
                });
            }
        }
    }
    objections
}

/// KMS that change behind their names.
fn changed_kms(from: &Lists<'_>, to: &Lists<'_>) -> Vec<Objection> {
    type Meanings<'a> = BTreeMap<&'a str, BTreeSet<(bool, &'a str)>>;
    fn meanings<'a>(lists: &Lists<'a>) -> Meanings<'a> {
        let mut meanings = Meanings::new();
        for kms in lists.values().flatten().filter_map(Reader::kms) {
            let is_v2 = kms.api_version == KmsApiVersion::V2;
            meanings
                .entry(&kms.name)
                .or_default()
                .insert((is_v2, &kms.endpoint));
        }
        meanings
    }
    let (old, new) = (meanings(from), meanings(to));
    let mut objections = Vec::new();
    for (name, before) in old {
        let Some(after) = new.get(name).filter(|after| **after != before) else {
            continue;
        };
        let is_v2 = |meanings: &BTreeSet<(bool, &str)>| meanings.iter().any(|(is_v2, _)| *is_v2);
        let endpoint = |meanings: &BTreeSet<(bool, &str)>| {
            let first = meanings.first().map(|(_, endpoint)| *endpoint);
            first.unwrap_or_default().to_owned()
        };
        objections.push(if is_v2(&before) == is_v2(after) {
            Objection::KmsMoved {
                name: name.to_owned(),
                from: endpoint(&before),
                to: endpoint(after),
            }
        } else {
            Objection::KmsVersionChanged {
                name: name.to_owned(),
            }
        });
    }
    objections
}
