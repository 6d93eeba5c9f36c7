//! From what reads each class to a file that says so.
//!
//! Two rules of kube-apiserver stand in the way: the name of a KMS v2 provider may stand in one
//! entry only, and a wildcard hides every name that it covers and that comes later.

use std::collections::{BTreeMap, BTreeSet};

use kms_core::SecretBytes;

use super::class::{Class, Lists, lists};
use super::objection::Objection;
use super::reader::{Readers, append, providers_of};
use super::step::Purpose;
use crate::kubernetes::EncryptionConfiguration;
use crate::kubernetes::config::{EntryRef, write};

/// Brings classes that share a KMS v2 provider into one entry, by giving each what the others
/// read, too. That is only possible where they are written with the same.
pub(super) fn unite<'a>(lists: &mut Lists<'a>, purpose: Purpose) -> Result<(), Objection> {
    loop {
        let mut owners = BTreeMap::<&str, Class>::new();
        let mut found = None;
        for (class, readers) in lists.iter() {
            for name in readers.iter().filter_map(|reader| reader.unique_name()) {
                let owner = owners.entry(name).or_insert_with(|| class.clone());
                if lists.get(owner) != Some(readers) {
                    found = Some((name.to_owned(), owner.clone(), class.clone()));
                }
            }
        }
        let Some((name, one, other)) = found else {
            return Ok(());
        };
        let (Some(first), Some(second)) = (lists.get(&one), lists.get(&other)) else {
            return Ok(());
        };
        if first.first() != second.first() {
            return Err(Objection::NameInTwoEntries {
                name,
                resources: vec![one.to_string(), other.to_string()],
                purpose,
            });
        }
        // In one order for both, or this would never end.
        let mut united = first.clone();
        append(&mut united, second);
        lists.insert(one, united.clone());
        lists.insert(other, united);
    }
}

/// Writes a file that reads each class with just these, and makes sure of it by reading the file.
pub(super) fn arrange(
    wanted: &Lists<'_>,
    comments: &[&str],
    purpose: Purpose,
) -> Result<SecretBytes, Objection> {
    let refuse = |reason: String| Objection::CannotBeWritten { purpose, reason };
    let entries = entries(wanted).map_err(refuse)?;
    let text = write(comments, &entries);
    let text_of_file = core::str::from_utf8(text.expose())
        .map_err(|_| refuse("it would not be text".to_owned()))?;
    let read = EncryptionConfiguration::parse(text_of_file)
        .map_err(|error| refuse(error.message().to_owned()))?;
    let known: BTreeSet<_> = wanted.keys().cloned().collect();
    if lists(&known, &read) != *wanted {
        return Err(refuse("it would not mean what it should".to_owned()));
    }
    Ok(text)
}

fn entries<'a>(wanted: &Lists<'a>) -> Result<Vec<EntryRef<'a>>, String> {
    let known: BTreeSet<_> = wanted.keys().cloned().collect();
    let plain = Readers::from([super::reader::Reader::Identity]);
    // What the fallback says anyhow is left out.
    let said: Vec<_> = wanted
        .iter()
        .filter(|(class, readers)| {
            let fallback = class.fallback(&known);
            let otherwise = fallback.and_then(|class| wanted.get(&class));
            *readers != otherwise.unwrap_or(&plain)
        })
        .collect();
    let mut groups = Vec::<(Vec<&Class>, &Readers<'_>)>::new();
    for (class, readers) in said {
        let must_share = readers.iter().any(|it| it.unique_name().is_some());
        let place = groups.iter_mut().find(|(classes, others)| {
            let is_alike = classes.first().is_some_and(|it| is_of_a_kind(it, class));
            *others == readers && (must_share || is_alike)
        });
        match place {
            Some((classes, _)) => classes.push(class),
            None => groups.push((vec![class], readers)),
        }
    }
    if groups.is_empty() {
        // A configuration has at least one entry.
        return Ok(vec![EntryRef {
            resources: vec![Class::Rest.to_string()],
            providers: providers_of(&plain),
        }]);
    }
    let ordered = in_order(groups)?;
    let entry = |(classes, readers): (Vec<&Class>, &Readers<'a>)| EntryRef {
        resources: classes.iter().map(ToString::to_string).collect(),
        providers: providers_of(readers),
    };
    Ok(ordered.into_iter().map(entry).collect())
}

const fn is_of_a_kind(one: &Class, other: &Class) -> bool {
    matches!(
        (one, other),
        (Class::One(..), Class::One(..)) | (Class::Group(_), Class::Group(_))
    )
}

/// Wildcards behind what they cover.
fn in_order<'l, 'a>(
    mut groups: Vec<(Vec<&'l Class>, &'l Readers<'a>)>,
) -> Result<Vec<(Vec<&'l Class>, &'l Readers<'a>)>, String> {
    let mut ordered = Vec::new();
    while !groups.is_empty() {
        let is_free = |index: &usize| {
            let Some((classes, _)) = groups.get(*index) else {
                return false;
            };
            let mut others = groups
                .iter()
                .enumerate()
                .filter(|(other, _)| other != index);
            !others.any(|(_, (others, _))| {
                others
                    .iter()
                    .any(|other| classes.iter().any(|class| covers(class, other)))
            })
        };
        let Some(next) = (0..groups.len()).find(is_free) else {
            return Err(
                "wildcards would have to stand in front of what they cover, for want of a second name of the KMS"
                    .to_owned(),
            );
        };
        ordered.push(groups.remove(next));
    }
    Ok(ordered)
}

fn covers(wildcard: &Class, other: &Class) -> bool {
    match (wildcard, other) {
        (Class::Group(group), Class::One(of, _)) => group == of,
        (Class::Rest, Class::One(..) | Class::Group(_)) => true,
        _ => false,
    }
}
