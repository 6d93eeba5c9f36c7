//! Whatever happens, in whatever order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kms_core::ErrorKind;
use kms_core::object::ObjectKey;
use kms_envelope::reencrypt::MigrationEnd;
use proptest::prelude::*;

use super::{Call, Cluster, Hooked, Kept, Reaction, options};

/// What an object is under at first, or is written under by somebody else.
const UNDER: [&str; 5] = ["v2:new", "v2:old", "v1:legacy", "aesgcm:k", "identity"];

/// What happens at a call.
#[derive(Clone, Copy, Debug)]
enum Act {
    Nothing,
    /// Somebody writes an object under something.
    Write(u8, u8),
    Delete(u8),
    Fail,
    Lose,
    Die,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Nothing),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(object, under)| Act::Write(object, under)),
        1 => any::<u8>().prop_map(Act::Delete),
        1 => Just(Act::Fail),
        1 => Just(Act::Lose),
        1 => Just(Act::Die),
    ]
}

const OBJECTS: usize = 6;

fn name(object: u8) -> String {
    super::secret(usize::from(object) % OBJECTS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whoever writes, whatever fails, however often it dies: what is stored in the end is what was
    /// written last, everything opens, and once the others are quiet all is under the target.
    #[test]
    fn no_update_is_lost(
        under in proptest::collection::vec(0..UNDER.len(), OBJECTS),
        acts in proptest::collection::vec(act(), 0..60),
        concurrency in 1_usize..5,
        page_limit in 1_u32..5,
    ) {
        let cluster = Cluster::of_secrets(&["v2:new", "v2:old", "v1:legacy", "aesgcm:k", "identity"]);
        // What each object is to hold, as those who write it know.
        let truth = Arc::new(Mutex::new(BTreeMap::new()));
        for (number, under) in under.iter().enumerate() {
            let (key, content) = (super::secret(number), format!("first {number}"));
            cluster.put(UNDER[*under], &key, content.as_bytes());
            truth.lock().unwrap().insert(key, content);
        }
        // Sealing takes the cluster, which a hook cannot have: all is sealed beforehand.
        let mut script = Vec::new();
        for (number, act) in acts.iter().enumerate() {
            let sealed = match act {
                Act::Write(object, under) => {
                    let (key, content) = (name(*object), format!("update {number}"));
                    let under = UNDER[usize::from(*under) % UNDER.len()];
                    Some((cluster.seal(under, &key, content.as_bytes()), content))
                }
                _ => None,
            };
            script.push((*act, sealed));
        }
        let script = Arc::new(Mutex::new(script.into_iter()));
        let kept = Kept::default();
        let options = options()
            .with_concurrency(concurrency)
            .with_page_limit(page_limit)
            .with_resume(true);
        let mut lives = 0;
        loop {
            let (inner, script) = (Arc::clone(&cluster.store), Arc::clone(&script));
            let told = Arc::clone(&truth);
            let store = Hooked::new(&cluster, move |call| {
                let Some((act, sealed)) = script.lock().unwrap().next() else {
                    return Reaction::Pass;
                };
                match (act, sealed) {
                    (Act::Write(object, _), Some((value, content))) => {
                        let key = name(object);
                        inner.put(&ObjectKey::new(&key).unwrap(), value, None).unwrap();
                        told.lock().unwrap().insert(key, content);
                        Reaction::Pass
                    }
                    (Act::Delete(object), _) => {
                        let key = name(object);
                        inner.delete(&ObjectKey::new(&key).unwrap()).unwrap();
                        told.lock().unwrap().remove(&key);
                        Reaction::Pass
                    }
                    // Who is not connected to begin with gets an error and no report.
                    (Act::Fail | Act::Lose, _) if *call == Call::Identity => Reaction::Pass,
                    (Act::Fail, _) => Reaction::Fail(ErrorKind::Unavailable),
                    (Act::Lose, _) => Reaction::Lose(ErrorKind::Unavailable),
                    (Act::Die, _) => Reaction::Die,
                    _ => Reaction::Pass,
                }
            });
            let ended = cluster.try_migrate_in(&store, "current", &options, Some(&kept));
            for (key, content) in &*truth.lock().unwrap() {
                let found = cluster.open(key).expect("it is there");
                prop_assert_eq!(found.content, content.as_bytes());
            }
            match ended {
                Some(report) => {
                    let report = report.unwrap();
                    prop_assert!(!matches!(report.end, MigrationEnd::Stopped(_)), "{:?}", report);
                    break;
                }
                None => lives += 1,
            }
            prop_assert!(lives <= 60);
        }
        let quiet = cluster.migrate("current", &options);
        prop_assert!(matches!(quiet.end, MigrationEnd::Complete), "{:?}", quiet);
        let truth = truth.lock().unwrap();
        for number in 0..OBJECTS {
            let key = super::secret(number);
            let found = cluster.open(&key);
            prop_assert_eq!(found.is_some(), truth.contains_key(&key));
            if let Some(found) = found {
                prop_assert_eq!(found.content, truth[&key].as_bytes());
                prop_assert_eq!(found.name.as_deref(), Some("new"));
            }
        }
    }
}
