//! What stands in the way of retiring a key.

use core::fmt;
use core::time::Duration;

use kms_core::object::Revision;
use serde::Serialize;

use super::shown::Shown;
use super::{UnknownKey, UnscannedKind};

/// One reason why a key may not go. `Display` says it to a person; [`Objection::remedy`] says what
/// to do.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Objection {
    /// Live objects are under the key.
    LiveObjects {
        /// Where.
        source: String,
        /// Of this resource.
        resource: String,
        /// How many.
        objects: u64,
    },
    /// History that is not compacted yet holds values under the key.
    History {
        /// Where.
        source: String,
        /// How many values.
        records: u64,
        /// Compacting up to here clears them.
        compact_to: u64,
    },
    /// A backup needs the key.
    Backup {
        /// Which one.
        source: String,
        /// Live objects in it.
        live: u64,
        /// Values in its history.
        history: u64,
    },
    /// Values may be under the key: it cannot be known which one they need.
    UnknownKey {
        /// Where.
        source: String,
        /// Why it cannot be known.
        reason: UnknownKey,
        /// What the values begin with.
        prefix: String,
        /// Live objects.
        live: u64,
        /// Values in history.
        history: u64,
        /// The name by which this can be waived.
        waive_as: String,
    },
    /// Somebody who has the key wraps with it.
    CurrentKey {
        /// Who.
        source: String,
    },
    /// Nothing that was looked at has ever had to do with a key of this name.
    NeverSeen {
        /// Some of the keys that are known, those with the most similar names first.
        known: Vec<String>,
        /// The name by which this can be waived.
        waive_as: String,
    },
    /// A replica writes with the key.
    ReplicaWrites {
        /// Which one.
        replica: String,
    },
    /// Something was not scanned.
    NotScanned {
        /// The name by which it can be waived.
        name: String,
        /// What it is.
        kind: UnscannedKind,
    },
    /// Only some keys of a source were scanned.
    PartlyScanned {
        /// Which one.
        source: String,
        /// What the keys that were scanned begin with.
        key_prefix: String,
    },
    /// Only copies were scanned: they do not say what the cluster holds by now.
    NoLiveSource,
    /// A live source does not say which cluster it is.
    NoClusterId {
        /// Which one.
        source: String,
    },
    /// The live sources are of different clusters.
    SeveralClusters {
        /// One cluster.
        first: String,
        /// The other.
        second: String,
    },
    /// The evidence is older than it may be.
    TooOld {
        /// How old it is, in seconds.
        age_seconds: u64,
        /// How old it may be, in seconds.
        max_age_seconds: u64,
    },
    /// The evidence is of a time that has not come: a clock is wrong.
    NotYet,
    /// The evidence is of another cluster than the one that is scanned now.
    OtherCluster {
        /// The cluster of the evidence, if it names one.
        planned: Option<String>,
        /// The cluster that is scanned now, if it says so.
        found: Option<String>,
    },
    /// The cluster is at an older revision than the evidence: it was restored, or another member
    /// lags behind.
    WentBack {
        /// The revision of the evidence.
        planned: u64,
        /// The revision now.
        found: u64,
    },
    /// There are more values of an unknown key than when they were waived.
    MoreUnknown {
        /// The name by which they were waived.
        name: String,
        /// How many there were.
        planned: u64,
        /// How many there are.
        found: u64,
    },
}

impl Objection {
    /// A stable lower-case name, as it stands in JSON.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LiveObjects { .. } => "live_objects",
            Self::History { .. } => "history",
            Self::Backup { .. } => "backup",
            Self::UnknownKey { .. } => "unknown_key",
            Self::CurrentKey { .. } => "current_key",
            Self::NeverSeen { .. } => "never_seen",
            Self::ReplicaWrites { .. } => "replica_writes",
            Self::NotScanned { .. } => "not_scanned",
            Self::PartlyScanned { .. } => "partly_scanned",
            Self::NoLiveSource => "no_live_source",
            Self::NoClusterId { .. } => "no_cluster_id",
            Self::SeveralClusters { .. } => "several_clusters",
            Self::TooOld { .. } => "too_old",
            Self::NotYet => "not_yet",
            Self::OtherCluster { .. } => "other_cluster",
            Self::WentBack { .. } => "went_back",
            Self::MoreUnknown { .. } => "more_unknown",
        }
    }

    /// The name by which somebody may waive it; `None` if nobody may.
    #[must_use]
    pub fn waivable_as(&self) -> Option<&str> {
        match self {
            Self::Backup { source, .. } => Some(source),
            Self::UnknownKey { waive_as, .. } | Self::NeverSeen { waive_as, .. } => Some(waive_as),
            Self::NotScanned { name, .. } => Some(name),
            _ => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::LiveObjects { .. } => "re-encrypt these objects under the current key",
            Self::History { .. } => "compact etcd up to the revision named, then defragment it",
            Self::Backup { .. } => {
                "keep the key for as long as this backup may be restored; else destroy the backup and waive it"
            }
            // Of objects that were rewritten or deleted since.
            Self::UnknownKey { live: 0, .. } => {
                "compact the history that holds them, and take backups of it anew; nothing has to be restored or deleted"
            }
            Self::UnknownKey { reason, .. } => match reason {
                UnknownKey::KmsV1 => {
                    "re-encrypt them under KMS v2, or say which key this provider uses and has always used"
                }
                UnknownKey::Damaged => "restore or delete these objects",
                UnknownKey::UnknownProvider => {
                    "find out what wrote these objects, and restore or delete them"
                }
            },
            Self::CurrentKey { .. } => {
                "rotate first, and move everything to the new key; see whether the key id is right"
            }
            Self::NeverSeen { .. } => {
                "see whether the key id is right and whole, and let somebody be asked who knows the key: its provider, a rotation, or earlier evidence"
            }
            Self::ReplicaWrites { .. } => "wait until this replica writes with the current key",
            Self::NotScanned { .. } => "scan it, or waive it by name and with a reason",
            Self::PartlyScanned { .. } => "scan all keys of this source",
            Self::NoLiveSource => "scan the cluster's live etcd",
            Self::NoClusterId { .. } => "scan a source that names its cluster, such as a live etcd",
            Self::SeveralClusters { .. } => "take evidence of one cluster at a time",
            Self::TooOld { .. } => "take the evidence again",
            Self::NotYet => "set the clocks right and take the evidence again",
            Self::OtherCluster { .. } => "give the evidence and the end points of the same cluster",
            Self::WentBack { .. } => {
                "find out whether the cluster was restored, and take the evidence again"
            }
            Self::MoreUnknown { .. } => "find out who writes them, and take the evidence again",
        }
    }

    pub(super) fn history(source: &str, records: u64, compact_to: Revision) -> Self {
        Self::History {
            source: source.to_owned(),
            records,
            compact_to: compact_to.get(),
        }
    }

    pub(super) const fn too_old(age: Duration, max_age: Duration) -> Self {
        Self::TooOld {
            age_seconds: age.as_secs(),
            max_age_seconds: max_age.as_secs(),
        }
    }
}

/// How many of something there are.
struct Count(u64, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        write!(f, "{count} {what}{}", if *count == 1 { "" } else { "s" })
    }
}

/// Live objects and values of history.
struct Counts(u64, u64);

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (live, history) = (Count(self.0, "object"), Count(self.1, "value"));
        match self {
            Self(_, 0) => write!(f, "{live}"),
            Self(0, _) => write!(f, "{history} of history"),
            Self(..) => write!(f, "{live} and {history} of history"),
        }
    }
}

/// The resource of objects, which is not known of keys outside the API server's prefix.
struct OfResource<'a>(&'a str);

impl fmt::Display for OfResource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str(" under an unknown prefix"),
            resource => write!(f, " of {}", Shown(resource)),
        }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LiveObjects {
                source,
                resource,
                objects,
            } => write!(
                f,
                "{}{} in {} under it",
                Count(*objects, "live object"),
                OfResource(resource),
                Shown(source)
            ),
            Self::History {
                source,
                records,
                compact_to,
            } => write!(
                f,
                "{} in the history of {} under it, up to revision {compact_to}",
                Count(*records, "value"),
                Shown(source)
            ),
            Self::Backup {
                source,
                live,
                history,
            } => write!(
                f,
                "the backup {} needs it for {}",
                Shown(source),
                Counts(*live, *history)
            ),
            Self::UnknownKey {
                source,
                reason,
                prefix,
                live,
                history,
                ..
            } => write!(
                f,
                "{} in {} under {} may need it: {}",
                Counts(*live, *history),
                Shown(source),
                Shown(prefix.trim_end_matches(':')),
                match reason {
                    UnknownKey::KmsV1 => "KMS v1 values name no key",
                    UnknownKey::Damaged => "they are damaged",
                    UnknownKey::UnknownProvider => "the provider is not known",
                }
            ),
            Self::CurrentKey { source } => {
                write!(f, "it is the key that {} wraps with now", Shown(source))
            }
            Self::NeverSeen { known, .. } => {
                f.write_str("it occurs nowhere that was looked at, and so may be misspelt; ")?;
                let mut known = known.iter();
                let Some(first) = known.next() else {
                    return f.write_str("no key was found at all");
                };
                write!(f, "keys that are known: {}", Shown(first))?;
                known.try_for_each(|name| write!(f, ", {}", Shown(name)))
            }
            Self::ReplicaWrites { replica } => {
                write!(f, "the replica {} writes with it", Shown(replica))
            }
            Self::NotScanned { name, kind } => {
                write!(f, "not scanned: {} ({})", Shown(name), kind.as_str())
            }
            Self::PartlyScanned { source, key_prefix } => write!(
                f,
                "of {} only keys that begin with {} were scanned",
                Shown(source),
                Shown(key_prefix)
            ),
            Self::NoLiveSource => {
                f.write_str("only copies were scanned, which do not say what the cluster holds now")
            }
            Self::NoClusterId { source } => {
                write!(f, "{} does not say which cluster it is", Shown(source))
            }
            Self::SeveralClusters { first, second } => write!(
                f,
                "the clusters {} and {} were scanned as one",
                Shown(first),
                Shown(second)
            ),
            Self::TooOld {
                age_seconds,
                max_age_seconds,
            } => write!(
                f,
                "the evidence is {age_seconds} s old, and may be {max_age_seconds} s"
            ),
            Self::NotYet => f.write_str("the evidence is of a time that has not come"),
            Self::OtherCluster { planned, found } => write!(
                f,
                "the evidence is of the cluster {}, and this is {}",
                Shown(planned.as_deref().unwrap_or("(unknown)")),
                Shown(found.as_deref().unwrap_or("(unknown)"))
            ),
            Self::WentBack { planned, found } => write!(
                f,
                "the cluster is at revision {found}, and was at {planned} when the evidence was taken"
            ),
            Self::MoreUnknown {
                name,
                planned,
                found,
            } => write!(
                f,
                "{} of {}, and there were {planned} when they were waived",
                Count(*found, "value"),
                Shown(name)
            ),
        }
    }
}
