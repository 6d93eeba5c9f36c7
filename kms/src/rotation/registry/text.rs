//! A registry for people.

use core::fmt;

use super::{Deletion, Registry, RegistryKey, shown};
use crate::cluster::write_table;
use crate::figures::{printable, thousands};

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cluster) = &self.cluster_id {
            writeln!(
                f,
                "Cluster {}, {}",
                printable(cluster),
                shown(self.taken_at)
            )?;
        }
        if let Some(rotation) = &self.rotation {
            match &rotation.driver {
                Some(driver) => writeln!(f, "Driven by {}", printable(&driver.to_string()))?,
                None => writeln!(f, "Nobody drives the rotation")?,
            }
        }
        let heads = [
            "KEY",
            "ROLE",
            "STATE",
            "SINCE",
            "OBJECTS",
            "HISTORY",
            "BACKUPS",
            "REPLICAS",
            "MAY BE DELETED",
        ];
        let mut table = vec![heads.map(String::from)];
        table.extend(self.keys.iter().map(row));
        let mut text = String::new();
        write_table(&mut text, &table)?;
        writeln!(f, "\n{text}")?;
        for key in &self.keys {
            let id = printable(&key.key_id);
            for reason in &key.reasons {
                writeln!(f, "  {id}: {}", printable(reason))?;
            }
        }
        if let Some(rotation) = &self.rotation {
            match rotation.waiting_for.as_slice() {
                [] => writeln!(f, "\nWaiting for nothing but a new version")?,
                waiting => {
                    writeln!(f, "\nWaiting for:")?;
                    for what in waiting {
                        writeln!(f, "  {}", printable(what))?;
                    }
                }
            }
        }
        if !self.notes.is_empty() {
            writeln!(f, "\nNot known:")?;
            for note in &self.notes {
                writeln!(f, "  {}", printable(note))?;
            }
        }
        Ok(())
    }
}

fn row(key: &RegistryKey) -> [String; 9] {
    let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), thousands);
    let phase = key.phase.map(kms_envelope::rotation::KeyPhase::as_str);
    let state = match (phase, key.state) {
        (Some(phase), Some(state)) if state != "enabled" => format!("{phase}, {state}"),
        (Some(phase), _) => phase.to_owned(),
        (None, Some(state)) => state.to_owned(),
        (None, None) => "?".to_owned(),
    };
    let safe = match (key.deletion, key.safe_until) {
        (Deletion::Yes, Some(until)) => format!("yes, until {}", shown(until)),
        (Deletion::Yes, None) => "yes".to_owned(),
        (Deletion::NotCounted, _) => "not counted now".to_owned(),
        (Deletion::LookAgain, _) => "look again".to_owned(),
        (Deletion::No, _) => "no".to_owned(),
    };
    [
        printable(&key.key_id),
        key.role.as_str().to_owned(),
        state,
        key.since.map_or_else(|| "?".to_owned(), shown),
        count(key.live_objects),
        count(key.history),
        count(key.backups),
        count(key.replicas),
        safe,
    ]
}
