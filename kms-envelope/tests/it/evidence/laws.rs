//! What holds of all evidence.

use std::collections::BTreeMap;

use kms_envelope::reencrypt::{Evidence, Objection};
use proptest::prelude::*;

use super::{KMS_V1, Stored, Under, backup, cluster, key, now, waived};

const KEYS: [&str; 3] = ["kek-0", "kek-1", "kek-2"];

fn stored() -> impl Strategy<Value = Stored> {
    let under = prop_oneof![
        2 => Just(Under::Plain),
        1 => Just(Under::AesGcm),
        4 => prop::sample::select(&KEYS[..]).prop_map(Under::v2),
        1 => prop::sample::select(&KMS_V1[..]).prop_map(Under::KmsV1),
        1 => Just(Under::Damaged),
        1 => Just(Under::UnknownProvider),
    ];
    let resource = prop::sample::select(&["secrets", "configmaps", "a.example/gadgets"][..]);
    (under, resource, any::<bool>()).prop_map(|(under, resource, live)| Stored {
        resource,
        under,
        live,
    })
}

fn many() -> impl Strategy<Value = Vec<Stored>> {
    prop::collection::vec(stored(), 0..12)
}

/// What a source raises, without the counts; with the counts.
fn raised(evidence: &Evidence, key_id: &str) -> BTreeMap<String, (u64, u64)> {
    let objections = evidence.objections(&key(key_id));
    let counted = objections.into_iter().filter_map(|objection| {
        Some(match objection {
            Objection::LiveObjects {
                source,
                resource,
                objects,
            } => (format!("live {source} {resource}"), (objects, 0)),
            Objection::History {
                source, records, ..
            } => (format!("history {source}"), (0, records)),
            Objection::Backup {
                source,
                live,
                history,
            } => (format!("backup {source}"), (live, history)),
            Objection::UnknownKey {
                source,
                waive_as,
                live,
                history,
                ..
            } => (format!("unknown {source} {waive_as}"), (live, history)),
            _ => return None,
        })
    });
    counted.collect()
}

/// Whether everything in `less` is in `more`, with counts that are no smaller.
fn covers(more: &BTreeMap<String, (u64, u64)>, less: &BTreeMap<String, (u64, u64)>) -> bool {
    less.iter().all(|(name, (live, history))| {
        more.get(name)
            .is_some_and(|found| found.0 >= *live && found.1 >= *history)
    })
}

proptest! {
    /// The counts are those that are counted by hand.
    #[test]
    fn nothing_is_missed_and_nothing_is_made_up(stored in many()) {
        let evidence = waived().scanned(cluster(&stored)).finish().unwrap();
        for asked in KEYS {
            let count = |is_wanted: &dyn Fn(&Stored) -> bool| {
                stored.iter().filter(|it| is_wanted(it)).count() as u64
            };
            let is_of_key = |it: &Stored| it.under == Under::v2(asked);
            let is_unknown = |it: &Stored| {
                matches!(it.under, Under::KmsV1(_) | Under::Damaged | Under::UnknownProvider)
            };
            let sum = |what: &str| {
                let raised = raised(&evidence, asked);
                let counts = raised.iter().filter(|(name, _)| name.starts_with(what));
                counts.fold((0, 0), |sum, (_, it)| (sum.0 + it.0, sum.1 + it.1))
            };
            prop_assert_eq!(sum("live").0, count(&|it| is_of_key(it) && it.live));
            prop_assert_eq!(sum("history").1, count(&|it| is_of_key(it) && !it.live));
            prop_assert_eq!(
                sum("unknown"),
                (
                    count(&|it| is_unknown(it) && it.live),
                    count(&|it| is_unknown(it) && !it.live),
                )
            );
            let is_clear = count(&|it| is_of_key(it) || is_unknown(it)) == 0;
            prop_assert_eq!(evidence.objections(&key(asked)).is_empty(), is_clear);
        }
    }

    /// One value more takes no objection away and makes no count smaller.
    #[test]
    fn a_reference_more_is_never_a_reason_less(before in many(), more in stored(), in_backup: bool) {
        let mut after = before.clone();
        after.push(more);
        let taken = |stored: &[Stored]| {
            let source = match in_backup {
                true => backup("monday.db", stored),
                false => cluster(stored),
            };
            waived().scanned(source).finish().unwrap()
        };
        for asked in KEYS {
            let (before, after) = (taken(&before), taken(&after));
            prop_assert!(covers(&raised(&after, asked), &raised(&before, asked)));
            prop_assert!(after.objections(&key(asked)).len() >= before.objections(&key(asked)).len());
        }
    }

    /// Sources together raise what each of them does, whatever their order.
    #[test]
    fn sources_together_raise_what_each_does(a in many(), b in many(), c in many()) {
        let sources = [cluster(&a), backup("b.db", &b), backup("c.db", &c)];
        let all = |order: [usize; 3]| {
            let each = order.iter().map(|index| sources[*index].clone());
            each.fold(waived(), |builder, source| builder.scanned(source)).finish().unwrap()
        };
        let together = all([0, 1, 2]);
        for asked in KEYS {
            let raised_together = raised(&together, asked);
            for source in &sources {
                let alone = waived().scanned(source.clone()).finish().unwrap();
                prop_assert!(covers(&raised_together, &raised(&alone, asked)));
            }
            prop_assert_eq!(&raised(&all([2, 0, 1]), asked), &raised_together);
        }
    }

    /// A waiver takes away only what it names.
    #[test]
    fn a_waiver_takes_away_what_it_names(stored in many(), of_backup in many()) {
        let taken = |builder: kms_envelope::reencrypt::EvidenceBuilder| {
            builder
                .scanned(cluster(&stored))
                .scanned(backup("b.db", &of_backup))
                .finish()
                .unwrap()
        };
        let before = taken(Evidence::builder(now())).objections(&key("kek-1"));
        for objection in &before {
            let Some(name) = objection.waivable_as() else {
                continue;
            };
            let after = taken(Evidence::builder(now()).waive(name, "x"));
            let after = after.objections(&key("kek-1"));
            for it in &before {
                // A backup that is given up takes with it what cannot be known in it.
                let source = match it {
                    Objection::UnknownKey { source, .. } => Some(source.as_str()),
                    _ => None,
                };
                let is_named = it.waivable_as() == Some(name) || source == Some(name);
                prop_assert_eq!(after.contains(it), !is_named, "{:?} by {}", it, name);
            }
        }
    }

    #[test]
    fn json_says_the_same(stored in many(), of_backup in many()) {
        let evidence = waived()
            .scanned(cluster(&stored))
            .scanned(backup("b.db", &of_backup))
            .finish()
            .unwrap();
        let read = Evidence::from_json(&evidence.to_json().unwrap()).unwrap();
        prop_assert_eq!(&read, &evidence);
        for asked in KEYS {
            prop_assert_eq!(read.objections(&key(asked)), evidence.objections(&key(asked)));
        }
    }
}
