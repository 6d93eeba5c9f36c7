//! Where an interrupted migration goes on.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use core::fmt;
use kms_core::object::{ObjectKey, Revision, StoreIdentity};
use serde::{Deserialize, Serialize};

use super::{MigrationCounts, MigrationScope, Protection};
use crate::{Error, ErrorKind};

/// What makes a migration the one it is: another of these must not go on from its checkpoint.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    /// The cluster's own id, or else the kind and name of the store.
    pub(super) cluster: String,
    pub(super) scope: MigrationScope,
    pub(super) selector: String,
    pub(super) targets: Vec<Protection>,
    pub(super) renew: bool,
}

impl Definition {
    pub(super) fn cluster_of(identity: &StoreIdentity) -> String {
        match &identity.cluster_id {
            Some(id) => format!("{} {id}", identity.kind),
            None => format!("{} {}", identity.kind, identity.name),
        }
    }

    /// What tells the other one apart, in words.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let list = |targets: &[Protection]| {
            let texts: Vec<_> = targets.iter().map(ToString::to_string).collect();
            texts.join("; ")
        };
        let differs = |what: &str, theirs: &dyn fmt::Display, ours: &dyn fmt::Display| {
            Some(format!("of another {what}: {theirs}, and not {ours}"))
        };
        if self.cluster != other.cluster {
            differs("cluster", &other.cluster, &self.cluster)
        } else if self.scope != other.scope {
            differs("scope", &other.scope, &self.scope)
        } else if self.selector != other.selector {
            differs("target", &other.selector, &self.selector)
        } else if self.targets != other.targets {
            differs("target", &list(&other.targets), &list(&self.targets))
        } else if self.renew != other.renew {
            Some(
                "of a migration that rewrites other objects: --renew was given to one of the two"
                    .to_owned(),
            )
        } else {
            None
        }
    }
}

/// Where an interrupted migration goes on: what it is about, and how far it has come.
///
/// The cursor is a hint and no more: everything up to it was gone through, and what comes after it
/// may have been, too. Whoever goes on from it opens and judges every object anew.
///
/// A JSON object of at most 1 MiB. Holds no secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    version: u32,
    #[serde(rename = "migration")]
    pub(super) definition: Definition,
    /// When the migration began.
    pub(super) began_at_revision: u64,
    pub(super) cursor: Option<Cursor>,
    pub(super) pass: u32,
    pub(super) counts: MigrationCounts,
}

const VERSION: u32 = 1;

impl Checkpoint {
    /// The longest checkpoint, in bytes.
    pub const MAX_LEN: usize = 1024 * 1024;

    pub(super) fn new(definition: Definition, began_at: Revision) -> Self {
        Self {
            version: VERSION,
            definition,
            began_at_revision: began_at.get(),
            cursor: None,
            pass: 1,
            counts: MigrationCounts::default(),
        }
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Checkpoint`] if it is none, is torn, or is of a version that is not known.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |fault: String| Error::new(ErrorKind::Checkpoint, fault);
        if bytes.len() > Self::MAX_LEN {
            return Err(refuse("it is over 1048576 bytes".to_owned()));
        }
        let read: Self = serde_json::from_slice(bytes)
            .map_err(|error| refuse(format!("it is no checkpoint: {error}")))?;
        if read.version != VERSION {
            return Err(refuse(format!(
                "it is of version {}, and not {VERSION}",
                read.version
            )));
        }
        Ok(read)
    }

    /// As JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Checkpoint`] if it would be too long.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        to_json(self, Self::MAX_LEN)
    }

    /// How many objects were met, and what became of them.
    #[must_use]
    pub const fn counts(&self) -> &MigrationCounts {
        &self.counts
    }

    /// Refuses the checkpoint of another migration.
    pub(super) fn check(&self, definition: &Definition) -> Result<(), Error> {
        match definition.difference(&self.definition) {
            None => Ok(()),
            Some(difference) => Err(Error::new(
                ErrorKind::Checkpoint,
                format!("the checkpoint is {difference}"),
            )),
        }
    }
}

pub(in crate::reencrypt) fn to_json(value: &impl Serialize, most: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    bytes.push(b'\n');
    if bytes.len() > most {
        return Err(Error::new(
            ErrorKind::Checkpoint,
            format!("it would be over {most} bytes"),
        ));
    }
    Ok(bytes)
}

/// A key in JSON, whatever bytes it has.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Cursor(pub(super) ObjectKey);

impl From<Cursor> for String {
    fn from(Cursor(key): Cursor) -> Self {
        match core::str::from_utf8(key.as_bytes()) {
            Ok(text) => format!("text:{text}"),
            Err(_) => format!("base64:{}", STANDARD_NO_PAD.encode(key.as_bytes())),
        }
    }
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let bytes = match text.split_once(':') {
            Some(("text", text)) => text.as_bytes().to_vec(),
            Some(("base64", text)) => STANDARD_NO_PAD
                .decode(text)
                .map_err(|_| "a key is not base64")?,
            _ => return Err("a key is neither text nor base64"),
        };
        ObjectKey::new(bytes)
            .map(Self)
            .map_err(|_| "a key is empty or too long")
    }
}

/// Where a checkpoint is kept: one place, for one migration at a time.
#[async_trait]
pub trait CheckpointStore: fmt::Debug + Send + Sync {
    /// What is kept; `None` if there is nothing.
    ///
    /// # Errors
    ///
    /// Any kind.
    async fn load(&self) -> Result<Option<Vec<u8>>, Error>;

    /// Puts these bytes in the place of what is kept, wholly or not at all: whoever loads after a
    /// crash gets the old ones or the new ones.
    ///
    /// # Errors
    ///
    /// Any kind. An error that is [retryable](Error::is_retryable) is tried again.
    async fn save(&self, bytes: &[u8]) -> Result<(), Error>;

    /// Removes what is kept.
    ///
    /// # Errors
    ///
    /// Any kind.
    async fn clear(&self) -> Result<(), Error>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checkpoint() -> Checkpoint {
        let definition = Definition {
            cluster: "etcd 0102030405060708".to_owned(),
            scope: MigrationScope::new("/registry"),
            selector: "current".to_owned(),
            targets: Vec::new(),
            renew: false,
        };
        Checkpoint::new(definition, Revision::new(7))
    }

    #[test]
    fn only_a_whole_checkpoint_is_one() {
        let bytes = checkpoint().to_json().unwrap();
        assert_eq!(Checkpoint::parse(&bytes).unwrap(), checkpoint());
        // The last byte is a line feed, which is not needed.
        for cut in 0..bytes.len() - 2 {
            let error = Checkpoint::parse(&bytes[..cut]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Checkpoint, "cut at {cut}");
        }
        let text = String::from_utf8(bytes).unwrap();
        let bad = [
            text.replace("\"version\": 1", "\"version\": 2"),
            text.replacen('{', "{\"more\": 1,", 1),
            text.replacen('{', "{\"version\": 1,", 1),
            text.clone() + "{}",
            " ".repeat(Checkpoint::MAX_LEN) + &text,
        ];
        for bad in bad {
            assert!(Checkpoint::parse(bad.as_bytes()).is_err());
        }
    }

    #[test]
    fn another_migrations_checkpoint_is_refused_and_said_to_be() {
        let ours = checkpoint().definition;
        let mut others = [(); 4].map(|()| ours.clone());
        others[0].cluster = "etcd 01".to_owned();
        others[1].scope = MigrationScope::new("/registry")
            .with_resources(["secrets"])
            .unwrap();
        others[2].selector = "plain".to_owned();
        others[3].renew = true;
        for (other, word) in others
            .into_iter()
            .zip(["cluster", "scope", "target", "renew"])
        {
            let theirs = Checkpoint::new(other, Revision::new(1));
            let error = theirs.check(&ours).unwrap_err();
            assert!(error.message().contains(word), "{error}");
        }
        assert!(checkpoint().check(&ours).is_ok());
    }

    proptest! {
        #[test]
        fn a_cursor_keeps_every_byte(bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
            let mut read = checkpoint();
            read.cursor = Some(Cursor(ObjectKey::new(&bytes).unwrap()));
            let back = Checkpoint::parse(&read.to_json().unwrap()).unwrap();
            let Cursor(key) = back.cursor.unwrap();
            prop_assert_eq!(key.as_bytes(), &bytes[..]);
        }

        #[test]
        fn no_bytes_upset_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Checkpoint::parse(&bytes).is_err());
        }
    }
}
