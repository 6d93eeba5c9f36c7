//! Why a plan is refused, and what is worth knowing beside one.

use core::fmt;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::step::Purpose;

/// Why a change cannot be planned: one of its steps would make objects unreadable, or could not
/// be shown not to.
///
/// Prints as a sentence; serializes to an object with `kind`, `reason` and `remedy`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Objection {
    /// A local key changes and its name does not: stored values say the name alone, so nobody can
    /// count what is still under the old key; and `aescbc` may read the one's values with the
    /// other, as garbage.
    SameNameOtherKey {
        /// The resource, as a configuration names it.
        resource: String,
        /// What the values of both begin with.
        prefix: String,
    },
    /// Two `aescbc` keys stand side by side, and the name of one begins with that of the other and
    /// a colon: its values may be read with the other, as garbage.
    ConfusableNames {
        /// The resource.
        resource: String,
        /// What the values of the one begin with.
        prefix: String,
        /// What the values of the other begin with.
        longer: String,
    },
    /// A KMS keeps its name and moves to another socket: API servers before and after the change
    /// would ask different plugins for one name.
    KmsMoved {
        /// Its name.
        name: String,
        /// Where it was.
        from: String,
        /// Where it is to be.
        to: String,
    },
    /// A KMS keeps its name and changes between v1 and v2; a configuration cannot hold both.
    KmsVersionChanged {
        /// Its name.
        name: String,
    },
    /// The name of a KMS v2 provider would have to stand in two entries, since these resources are
    /// written with different providers and both have objects of that one.
    NameInTwoEntries {
        /// Its name.
        name: String,
        /// Two of the resources.
        resources: Vec<String>,
        /// The step for which it would.
        purpose: Purpose,
    },
    /// Objects cannot be read even now: the first configuration lacks what they are under.
    NotReadableNow {
        /// The resource.
        resource: String,
        /// What they begin with.
        prefix: String,
        /// How many.
        objects: u64,
    },
    /// Objects are damaged under a provider that is to go. They cannot be rewritten.
    Damaged {
        /// The resource.
        resource: String,
        /// What they begin with.
        prefix: String,
        /// How many.
        objects: u64,
    },
    /// A KMS that API servers must load does not answer Status and Encrypt. A server that starts
    /// or reloads reads nothing through it, not even what it could decrypt.
    KmsDoesNotAnswer {
        /// Its name.
        name: String,
        /// What it failed with.
        reason: String,
    },
    /// What a step needs cannot be said in a configuration.
    CannotBeWritten {
        /// The step.
        purpose: Purpose,
        /// Why.
        reason: String,
    },
    /// A step would leave objects unreadable to a server that has taken it, or has not yet.
    WouldBeUnreadable {
        /// The step.
        purpose: Purpose,
        /// The resource.
        resource: String,
        /// What the objects begin with; empty for objects in clear.
        prefix: String,
    },
}

impl Objection {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SameNameOtherKey { .. } => "same_name_other_key",
            Self::ConfusableNames { .. } => "confusable_names",
            Self::KmsMoved { .. } => "kms_moved",
            Self::KmsVersionChanged { .. } => "kms_version_changed",
            Self::NameInTwoEntries { .. } => "name_in_two_entries",
            Self::NotReadableNow { .. } => "not_readable_now",
            Self::Damaged { .. } => "damaged",
            Self::KmsDoesNotAnswer { .. } => "kms_does_not_answer",
            Self::CannotBeWritten { .. } => "cannot_be_written",
            Self::WouldBeUnreadable { .. } => "would_be_unreadable",
        }
    }

    /// What to do instead.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::SameNameOtherKey { .. } => "give the new key a name of its own",
            Self::ConfusableNames { .. } => "give the new key a name without a colon",
            Self::KmsMoved { .. } => {
                "give the KMS at the new socket a name of its own; or, if both plugins hold the same keys, say so"
            }
            Self::KmsVersionChanged { .. } => {
                "give the KMS v2 provider a name of its own; it may have the same socket"
            }
            Self::NameInTwoEntries { .. } => {
                "give each of these resources an entry with a KMS name of its own, which may have the same socket; where they share one name now, plan to a local key (secretbox or aesgcm) first, and from there to two names; or stop all API servers for the change and plan for that"
            }
            Self::NotReadableNow { .. } => {
                "add the provider that they are under to the first configuration, or delete them"
            }
            Self::Damaged { .. } => {
                "restore them from a backup or delete them, and take a new census"
            }
            Self::KmsDoesNotAnswer { .. } => {
                "make it answer again, with a key that may encrypt; if no object is under it, plan to a configuration without it first"
            }
            Self::CannotBeWritten { .. } => "write the resources of the configurations more simply",
            Self::WouldBeUnreadable { .. } => "report this as a defect",
        }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameNameOtherKey { resource, prefix } => write!(
                f,
                "{resource}: the key behind `{prefix}` changes and its name does not, so that nobody can tell what is still under the old one"
            ),
            Self::ConfusableNames {
                resource,
                prefix,
                longer,
            } => write!(
                f,
                "{resource}: values that begin with `{longer}` begin with `{prefix}`, too, and aescbc may read them with that key, as garbage"
            ),
            Self::KmsMoved { name, from, to } => write!(
                f,
                "the KMS `{name}` moves from {from} to {to}: during the change some API servers would ask the one plugin and some the other"
            ),
            Self::KmsVersionChanged { name } => write!(
                f,
                "the KMS `{name}` changes between v1 and v2, and one name cannot be both in one configuration"
            ),
            Self::NameInTwoEntries {
                name,
                resources,
                purpose,
            } => write!(
                f,
                "for the step \"{purpose}\" the KMS v2 `{name}` would have to stand in two entries, of {}, which kube-apiserver refuses",
                resources.join(" and of ")
            ),
            Self::NotReadableNow {
                resource,
                prefix,
                objects,
            } => write!(
                f,
                "{objects} objects of {resource} are under `{prefix}`, which the first configuration does not read: they are unreadable now"
            ),
            Self::Damaged {
                resource,
                prefix,
                objects,
            } => write!(
                f,
                "{objects} objects of {resource} under `{prefix}` are damaged and cannot be rewritten, and that provider is to go"
            ),
            Self::KmsDoesNotAnswer { name, reason } => write!(
                f,
                "the KMS `{name}` does not answer Status and Encrypt, so an API server that starts reads nothing through it: {reason}"
            ),
            Self::CannotBeWritten { purpose, reason } => {
                write!(f, "no configuration for the step \"{purpose}\": {reason}")
            }
            Self::WouldBeUnreadable {
                purpose,
                resource,
                prefix,
            } => write!(
                f,
                "the step \"{purpose}\" would leave objects of {resource} unreadable that are {}",
                Under(prefix)
            ),
        }
    }
}

/// "under this prefix", or "in clear".
struct Under<'a>(&'a str);

impl fmt::Display for Under<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("in clear"),
            prefix => write!(f, "under `{prefix}`"),
        }
    }
}

impl Serialize for Objection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("kind", self.kind())?;
        map.serialize_entry("reason", &self.to_string())?;
        map.serialize_entry("remedy", self.remedy())?;
        map.end()
    }
}

/// What a plan could not check.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unchecked {
    /// There was no census: anything that the first configuration reads may be stored.
    Census,
    /// Nobody asked these KMS for Status and Encrypt.
    Kms {
        /// Their names.
        names: Vec<String>,
    },
    /// The census has a resource that Kubernetes is not known to store. It was counted where the
    /// configuration would put what it does not name.
    Resource {
        /// As in the etcd key.
        resource: String,
        /// How many objects.
        objects: u64,
    },
    /// Damaged objects in the census: what they are under may not be what they say.
    Damage {
        /// How many.
        objects: u64,
    },
}

impl Unchecked {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Census => "census",
            Self::Kms { .. } => "kms",
            Self::Resource { .. } => "resource",
            Self::Damage { .. } => "damage",
        }
    }
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Census => f.write_str(
                "what is stored: there was no census, so anything that the first configuration reads may be there",
            ),
            Self::Kms { names } => write!(
                f,
                "that these KMS answer Status and Encrypt on every server: {}",
                names.join(", ")
            ),
            Self::Resource { resource, objects } => write!(
                f,
                "where the {objects} objects under {resource} belong: no such resource of Kubernetes is known"
            ),
            Self::Damage { objects } => write!(f, "{objects} objects that are damaged"),
        }
    }
}

impl Serialize for Unchecked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("kind", self.kind())?;
        map.serialize_entry("detail", &self.to_string())?;
        map.end()
    }
}
