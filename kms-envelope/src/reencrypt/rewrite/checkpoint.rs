//! Where an interrupted migration goes on.

use serde::{Deserialize, Serialize};

use super::report::MAX_NAMED;
use super::{ApiMigrationCounts, ApiMigrationOptions, ApiMigrationReport, LeftObject, UnreadPlace};
use crate::reencrypt::migrate::checkpoint::to_json;
use crate::{Error, ErrorKind};

/// The longest checkpoint, in bytes.
const MAX_LEN: usize = 1024 * 1024;
const VERSION: u32 = 1;

/// What makes a migration the one it is: another of these must not go on from its checkpoint.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    cluster: String,
    scopes: Vec<String>,
}

/// Where a migration stands.
///
/// The place within a unit is a hint: it holds as long as the server lists in the order of keys,
/// as Kubernetes does. A migration that went on from it goes through everything once more.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    version: u32,
    api_migration: Definition,
    pub(super) pass: u32,
    /// How many units of this pass are done with.
    pub(super) unit: usize,
    /// What of the next unit is done with: everything up to this path. In the first pass alone.
    pub(super) after: Option<String>,
    /// Of all passes before this one.
    pub(super) counts: ApiMigrationCounts,
    /// Of this pass.
    pub(super) pass_counts: ApiMigrationCounts,
    pub(super) left: Vec<LeftObject>,
    pub(super) unread: Vec<UnreadPlace>,
    pub(super) unread_count: u64,
}

impl Place {
    /// The beginning.
    pub(super) fn new(options: &ApiMigrationOptions) -> Self {
        Self {
            version: VERSION,
            api_migration: definition(options),
            pass: 1,
            unit: 0,
            after: None,
            counts: ApiMigrationCounts::default(),
            pass_counts: ApiMigrationCounts::default(),
            left: Vec::new(),
            unread: Vec::new(),
            unread_count: 0,
        }
    }

    /// Where what was kept says, whichever migration it is of.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |fault: &str| Error::new(ErrorKind::Checkpoint, fault);
        if bytes.len() > MAX_LEN {
            return Err(refuse("it is over 1048576 bytes"));
        }
        let read: Self = serde_json::from_slice(bytes).map_err(|error| {
            refuse(&format!(
                "it is no checkpoint of a migration through the API: {error}"
            ))
        })?;
        if read.version != VERSION {
            return Err(refuse("it is of a version that is not known"));
        }
        Ok(read)
    }

    /// Where what was kept says; refused if that is of another migration.
    pub(super) fn parse(bytes: &[u8], options: &ApiMigrationOptions) -> Result<Self, Error> {
        let refuse = |fault: &str| Error::new(ErrorKind::Checkpoint, fault);
        let read = Self::read(bytes)?;
        let ours = definition(options);
        if read.api_migration.cluster != ours.cluster {
            let theirs = &read.api_migration.cluster;
            return Err(refuse(&format!(
                "the checkpoint is of another cluster: {theirs}, and not {}",
                ours.cluster
            )));
        }
        if read.api_migration != ours {
            let theirs = read.api_migration.scopes.join("; ");
            return Err(refuse(&format!(
                "the checkpoint is of other resources: {theirs}, and not {}",
                ours.scopes.join("; ")
            )));
        }
        Ok(read)
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, Error> {
        to_json(self, MAX_LEN)
    }

    /// The next pass.
    pub(super) fn begin_pass(&mut self) {
        if self.pass == 1 {
            self.counts = self.pass_counts;
        } else {
            self.counts.add_later(self.pass_counts);
        }
        self.pass = self.pass.saturating_add(1);
        self.unit = 0;
        self.after = None;
        self.pass_counts = ApiMigrationCounts::default();
        self.left.clear();
        self.unread.clear();
        self.unread_count = 0;
    }

    /// Of all passes, this one included.
    pub(super) fn all_counts(&self) -> ApiMigrationCounts {
        if self.pass == 1 {
            return self.pass_counts;
        }
        let mut counts = self.counts;
        counts.add_later(self.pass_counts);
        counts.left = self.pass_counts.left;
        counts
    }

    pub(super) fn leave(&mut self, object: LeftObject) {
        self.pass_counts.left = self.pass_counts.left.saturating_add(1);
        if self.left.len() < MAX_NAMED {
            self.left.push(object);
        }
    }

    pub(super) fn pass_by(&mut self, place: UnreadPlace) {
        self.unread_count = self.unread_count.saturating_add(1);
        if self.unread.len() < MAX_NAMED {
            self.unread.push(place);
        }
    }
}

fn definition(options: &ApiMigrationOptions) -> Definition {
    Definition {
        cluster: options.cluster.clone(),
        scopes: ApiMigrationReport::names(&options.scopes),
    }
}

#[cfg(test)]
mod tests {
    use kms_core::object::ApiResource;
    use proptest::prelude::*;

    use super::super::{ApiScope, LeftReason};
    use super::*;

    fn options(cluster: &str, plural: &str) -> ApiMigrationOptions {
        let resource = ApiResource::new("", "v1", plural).unwrap();
        ApiMigrationOptions::new(cluster, [ApiScope::new(resource, true)])
    }

    #[test]
    fn only_a_checkpoint_of_this_migration_is_taken() {
        let ours = options("a", "secrets");
        let mut place = Place::new(&ours);
        place.after = Some("default/token".to_owned());
        let bytes = place.to_json().unwrap();
        assert_eq!(Place::parse(&bytes, &ours).unwrap(), place);
        for other in [options("b", "secrets"), options("a", "configmaps")] {
            let error = Place::parse(&bytes, &other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Checkpoint);
        }
        // The last byte is a line feed, which is not needed.
        for cut in 0..bytes.len() - 2 {
            let error = Place::parse(&bytes[..cut], &ours).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Checkpoint, "cut at {cut}");
        }
        let text = String::from_utf8(bytes).unwrap();
        for bad in [
            text.replace("\"version\": 1", "\"version\": 2"),
            text.replacen('{', "{\"more\": 1,", 1),
            " ".repeat(MAX_LEN) + &text,
        ] {
            assert!(Place::parse(bad.as_bytes(), &ours).is_err());
        }
    }

    #[test]
    fn the_longest_checkpoint_can_be_kept() {
        let ours = options("a", "secrets");
        let mut place = Place::new(&ours);
        let name = "n".repeat(253);
        let object = kms_core::object::ApiObject::new(
            ApiResource::new("g".repeat(253), "v1", "p".repeat(253)).unwrap(),
            Some(name.clone()),
            name,
            "1",
        )
        .unwrap();
        for _ in 0..10 * MAX_NAMED {
            let reason = LeftReason::Refused("\"".repeat(1024));
            place.leave(LeftObject::new(&object, reason));
        }
        assert_eq!(place.pass_counts.left, 10 * MAX_NAMED as u64);
        assert!(place.to_json().is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Place::parse(&bytes, &options("a", "secrets"));
        }
    }
}
