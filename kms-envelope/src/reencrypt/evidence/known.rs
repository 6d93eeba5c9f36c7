//! Keys that somebody knows, whether or not anything needs them.

use std::collections::BTreeSet;

use kms_core::KeyId;
use serde::{Deserialize, Serialize};

use super::Objection;
use super::document::Content;
use super::judge::references;
use super::names::Names;

/// A key that somebody who has it, or has had to do with it, knows: its provider, a rotation, or
/// evidence of before.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KnownKey {
    pub(super) key_id: String,
    pub(super) source: String,
    pub(super) current: bool,
}

impl KnownKey {
    /// A key that a source knows.
    #[must_use]
    pub fn new(source: impl Into<String>, key_id: &KeyId) -> Self {
        Self {
            key_id: key_id.as_str().to_owned(),
            source: source.into(),
            current: false,
        }
    }

    /// Says that the source wraps with it. It may then never go.
    #[must_use]
    pub const fn with_current(mut self, current: bool) -> Self {
        self.current = current;
        self
    }

    /// Its id, or the hash of that.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Who knows it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the source wraps with it.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        self.current
    }
}

/// What the name of a waiver begins with that answers for a key nobody has seen.
const NEVER_SEEN: &str = "never-seen:";
/// Keys that are named instead.
const MAX_NAMED: usize = 8;

/// Why a key is none that anybody knows; `None` if it is known, or somebody answers for it.
pub(super) fn never_seen(content: &Content, key_id: &KeyId) -> Option<Objection> {
    let asked = Names::of(key_id.as_str());
    let is_asked = |name: &str| asked.is_same(&Names::of(name));
    let all = all_keys(content);
    let is_needed =
        references(content, Names::of(key_id.as_str())).any(|found| found.unknown.is_none());
    let answered = content.waivers.iter();
    let mut answered = answered.filter_map(|waiver| waiver.name.strip_prefix(NEVER_SEEN));
    if is_needed || all.iter().any(|name| is_asked(name)) || answered.any(is_asked) {
        return None;
    }
    let mut known: Vec<_> = all
        .into_iter()
        .map(|name| (difference(key_id.as_str(), name), name))
        .collect();
    known.sort_unstable();
    Some(Objection::NeverSeen {
        known: known
            .into_iter()
            .take(MAX_NAMED)
            .map(|(_, name)| name.to_owned())
            .collect(),
        waive_as: format!("{NEVER_SEEN}{key_id}"),
    })
}

/// Every key that anything names.
fn all_keys(content: &Content) -> BTreeSet<&str> {
    let sources = content.sources.iter();
    let stored = sources
        .flat_map(|source| &source.references)
        .filter_map(|reference| reference.key_id.as_deref());
    let written = content.replicas.iter().map(|it| it.writes_with.as_str());
    let known = content.known_keys.iter().map(|it| it.key_id.as_str());
    stored.chain(written).chain(known).collect()
}

/// How much of two names is left when what they begin and end with alike is taken away: a letter
/// that was lost or mistaken leaves one.
fn difference(one: &str, other: &str) -> usize {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    let alike = |(a, b): &(char, char)| a == b;
    let begin = one.chars().zip(other.chars()).take_while(alike).count();
    let end = one
        .chars()
        .rev()
        .zip(other.chars().rev())
        .take_while(alike)
        .count();
    let (one, other) = (one.chars().count(), other.chars().count());
    // A letter of the shorter name counts once.
    let end = end.min(one.min(other).saturating_sub(begin));
    one.max(other).saturating_sub(begin.saturating_add(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_that_with_the_fewest_letters_changed() {
        assert_eq!(difference("kek-1", "kek-1"), 0);
        assert_eq!(difference("KEK-1", "kek-1"), 0);
        assert_eq!(difference("kek-", "kek-1"), 1);
        assert_eq!(difference("kek-1", "kxk-1"), 1);
        assert_eq!(difference("aaa", "aa"), 1);
        assert_eq!(difference("", "kek-1"), 5);
    }
}
