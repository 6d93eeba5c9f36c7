//! What must be true of any state.

use std::collections::BTreeSet;

use super::super::{KeyRecord, Stage, Target};
use super::{Changing, State, Task, Work, Writer};
use crate::{Error, ErrorKind};

/// What is wrong with a state.
pub(super) struct Fault {
    pub(super) field: &'static str,
    pub(super) what: String,
}

impl Fault {
    pub(super) fn new(field: &'static str, what: impl Into<String>) -> Self {
        Self {
            field,
            what: what.into(),
        }
    }

    pub(super) fn into_error(self, kind: ErrorKind) -> Error {
        Error::new(
            kind,
            format!(
                "the rotation state is refused: `{}`: {}",
                self.field, self.what
            ),
        )
    }
}

type Checked = Result<(), Fault>;

fn require(holds: bool, field: &'static str, what: &str) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(Fault::new(field, what))
    }
}

impl State {
    /// Says what is wrong with it, if it is not one that a step could have left.
    pub(super) fn check(&self) -> Checked {
        let id = &self.cluster_id;
        let is_bounded = (1..=Self::MAX_CLUSTER_ID_LEN).contains(&id.len());
        require(
            is_bounded && !id.chars().any(char::is_control),
            "cluster_id",
            "it is empty, over 256 bytes or holds a control character",
        )?;
        let policy = self.policy.check();
        policy.map_err(|error| Fault::new("policy", error.message()))?;
        self.check_providers()?;
        self.check_keys()?;
        self.check_writer()?;
        self.check_change()?;
        self.check_work()?;
        self.check_tasks()
    }

    fn check_providers(&self) -> Checked {
        let names: BTreeSet<_> = self.providers().collect();
        require(
            self.providers.len() <= Self::MAX_PROVIDERS && names.len() == self.providers.len(),
            "providers",
            "there are over 8, or one is there twice",
        )?;
        let is_listed = self
            .writer_provider()
            .is_none_or(|writer| names.contains(writer));
        require(is_listed, "providers", "the one in use is missing")
    }

    fn check_keys(&self) -> Checked {
        let ids: BTreeSet<_> = self.keys.iter().map(KeyRecord::id).collect();
        require(
            self.keys.len() <= Self::MAX_KEYS && ids.len() == self.keys.len(),
            "keys",
            "there are over 128, or one is there twice",
        )?;
        let epochs: Vec<_> = self.keys.iter().filter_map(|key| key.epoch).collect();
        let distinct: BTreeSet<_> = epochs.iter().copied().collect();
        require(
            distinct.len() == epochs.len()
                && distinct
                    .iter()
                    .all(|epoch| (1..=self.epoch).contains(epoch)),
            "epoch",
            "one is there twice, is zero or lies ahead",
        )?;
        self.keys.iter().try_for_each(check_key)
    }

    fn check_writer(&self) -> Checked {
        let active: Vec<_> = self
            .keys
            .iter()
            .filter(|key| key.stage == Stage::Active)
            .collect();
        let fits = match (&self.writer, active.as_slice()) {
            (Writer::Plain | Writer::Unnamed(_), []) => true,
            (Writer::Key(id), [active]) => active.id == *id && active.epoch == Some(self.epoch),
            _ => false,
        };
        require(fits, "writer", "it is not the one key that is active")?;
        let Writer::Unnamed(name) = &self.writer else {
            return Ok(());
        };
        let mut providers = self.providers.iter();
        require(
            providers.any(|provider| provider.name == *name && !provider.names_keys),
            "writer",
            "the objects of its provider name their key",
        )
    }

    fn check_change(&self) -> Checked {
        match &self.changing {
            Some(Changing::Reader {
                target: Target::Key { provider, id },
                ..
            }) => {
                let key = self.key(id);
                let fits =
                    key.is_some_and(|key| key.stage == Stage::Pending && key.provider == *provider);
                let is_other = self.writer_provider() != Some(provider);
                require(
                    fits && is_other && self.providers().any(|name| name == provider),
                    "change",
                    "its key is not pending, or of the provider in use",
                )
            }
            Some(Changing::Reader {
                target: Target::Plain,
                ..
            }) => require(
                self.writer != Writer::Plain,
                "change",
                "it is plain already",
            ),
            Some(Changing::Version { provider, .. }) => require(
                matches!(self.writer, Writer::Key(_)) && self.writer_provider() == Some(provider),
                "change",
                "its provider is not the one in use",
            ),
            None => Ok(()),
        }
    }

    fn check_work(&self) -> Checked {
        let is_resting = matches!(self.work, Work::Resting { .. });
        require(
            is_resting || self.target().is_some(),
            "work",
            "writers use a provider whose objects name no key",
        )
    }

    fn check_tasks(&self) -> Checked {
        let releases = self.providers.iter().filter_map(|of| of.release.as_ref());
        let tasks: Vec<&Task> = self
            .work
            .task()
            .into_iter()
            .chain(self.changing.as_ref().map(Changing::task))
            .chain(releases)
            .collect();
        let ids: BTreeSet<_> = tasks.iter().map(|task| task.id.get()).collect();
        require(
            ids.len() == tasks.len() && ids.iter().all(|id| (1..self.next_task).contains(id)),
            "next_task",
            "a task is there twice or lies ahead",
        )
    }
}

fn check_key(key: &KeyRecord) -> Checked {
    let is_proven = key.drained.is_some();
    require(
        !matches!(key.stage, Stage::Retirable | Stage::Retired) || is_proven,
        "drained",
        "a key is retirable without evidence",
    )?;
    require(
        key.stage != Stage::Retirable || key.objections == Some(0),
        "objections",
        "a key is retirable against them",
    )?;
    require(
        key.permit.is_none() || key.stage == Stage::Retired,
        "permit",
        "it is for a key that is not retired",
    )?;
    require(
        key.material.as_ref() != Some(&key.id),
        "material",
        "it is the key itself",
    )
}
