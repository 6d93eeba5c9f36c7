//! Evidence as JSON: strict, bounded, with its version and digest.

use std::time::SystemTime;

use serde::{Deserialize, Serialize, Serializer};

use super::shown::Shown;
use super::unscanned::Attribution;
use super::{
    Evidence, EvidenceDigest, KnownKey, ReplicaState, ScannedSource, SourceRole, UnscannedKind,
    UnscannedSource, Waiver, moment,
};
use crate::{Error, ErrorKind};

const FORMAT: &str = "kms-evidence";
const VERSION: u32 = 1;

/// The longest document, in bytes.
pub(super) const MAX_LEN: usize = 64 * 1024 * 1024;
/// The most entries of any one list, but references.
const MAX_ENTRIES: usize = 10_000;
/// The most references of all sources together.
const MAX_REFERENCES: usize = 200_000;

/// All that the digest is over.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    #[serde(with = "moment")]
    pub(super) taken_at: SystemTime,
    pub(super) sources: Vec<ScannedSource>,
    pub(super) replicas: Vec<ReplicaState>,
    pub(super) not_scanned: Vec<UnscannedSource>,
    pub(super) kms_v1_keys: Vec<Attribution>,
    // Left out if there is none, as evidence of before had it not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) known_keys: Vec<KnownKey>,
    pub(super) waivers: Vec<Waiver>,
}

impl Content {
    /// The live cluster.
    pub(super) fn live_source(&self) -> Option<&ScannedSource> {
        self.sources.iter().find(|source| source.is_live_cluster())
    }

    /// What was not scanned though nobody said so.
    pub(super) fn standing(&self) -> Vec<UnscannedSource> {
        let has_backup = self
            .sources
            .iter()
            .any(|source| source.role == SourceRole::Backup);
        let all = [
            (Evidence::BACKUPS, UnscannedKind::Backup, has_backup),
            (
                Evidence::REPLICAS,
                UnscannedKind::Replica,
                !self.replicas.is_empty(),
            ),
            (Evidence::OTHER_CLUSTERS, UnscannedKind::Cluster, false),
        ];
        let is_named = |kind| self.not_scanned.iter().any(|named| named.kind == kind);
        all.into_iter()
            .filter(|(_, kind, is_scanned)| !is_scanned && !is_named(*kind))
            .map(|(name, kind, _)| UnscannedSource {
                name: name.to_owned(),
                kind,
            })
            .collect()
    }

    /// The order that lists have, whatever they were made in.
    pub(super) fn sort(&mut self) {
        self.replicas.sort_by(|a, b| {
            let key = |it: &ReplicaState| (it.name.clone(), it.checked_at, it.writes_with.clone());
            key(a).cmp(&key(b))
        });
        self.not_scanned.sort();
        self.not_scanned.dedup();
        self.kms_v1_keys.sort();
        self.kms_v1_keys.dedup();
        self.known_keys.sort();
        self.known_keys.dedup();
        self.waivers.sort();
        self.waivers.dedup();
    }
}

/// Just enough to know whether the rest is for us.
#[derive(Deserialize)]
struct Probe {
    format: String,
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u32,
    content: Content,
    digest: String,
}

#[derive(Serialize)]
struct DocumentRef<'a> {
    format: &'a str,
    version: u32,
    content: &'a Content,
    digest: EvidenceDigest,
}

pub(super) fn digest(content: &Content) -> Result<EvidenceDigest, Error> {
    let canonical = serde_json::to_vec(content).map_err(|_| cannot_be_written())?;
    Ok(EvidenceDigest::of(&canonical))
}

/// As [`Evidence::to_json`] writes it, but for white space.
impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = DocumentRef {
            format: FORMAT,
            version: VERSION,
            content: &self.content,
            digest: self.digest,
        };
        document.serialize(serializer)
    }
}

pub(super) fn write(evidence: &Evidence) -> Result<String, Error> {
    let mut json = serde_json::to_string_pretty(evidence).map_err(|_| cannot_be_written())?;
    json.push('\n');
    if json.len() > MAX_LEN {
        return Err(unsupported("it would be over 64 MiB"));
    }
    Ok(json)
}

pub(super) fn read(json: &str) -> Result<(Content, EvidenceDigest), Error> {
    if json.len() > MAX_LEN {
        return Err(malformed("it is over 64 MiB"));
    }
    let syntax = |error: serde_json::Error| {
        let error = error.to_string();
        malformed(&format!(
            "it is cut off, damaged or edited: {}",
            Shown(&error)
        ))
    };
    let probe: Probe = serde_json::from_str(json).map_err(syntax)?;
    if probe.format != FORMAT {
        return Err(malformed("`format` is not that of evidence"));
    }
    if probe.version > u64::from(VERSION) {
        return Err(unsupported(
            "it was written by a newer version of this software",
        ));
    }
    let document: Document = serde_json::from_str(json).map_err(syntax)?;
    if document.version != VERSION || document.format != FORMAT {
        return Err(malformed("`version` is not 1"));
    }
    let content = document.content;
    check(&content)?;
    let mut sorted = content.clone();
    sorted.sort();
    if sorted != content {
        return Err(malformed("its lists are not in their order"));
    }
    if !content.standing().is_empty() {
        return Err(malformed("`not_scanned` leaves out what was not scanned"));
    }
    let digest = digest(&content)?;
    if digest.to_string() != document.digest {
        return Err(malformed("its digest is wrong: it was damaged or edited"));
    }
    Ok((content, digest))
}

/// Bounds, and what goes together.
pub(super) fn check(content: &Content) -> Result<(), Error> {
    let lists = [
        ("sources", content.sources.len()),
        ("replicas", content.replicas.len()),
        ("not_scanned", content.not_scanned.len()),
        ("kms_v1_keys", content.kms_v1_keys.len()),
        ("known_keys", content.known_keys.len()),
        ("waivers", content.waivers.len()),
    ];
    for (name, length) in lists {
        if length > MAX_ENTRIES {
            return Err(unsupported(&format!(
                "`{name}` holds over {MAX_ENTRIES} entries"
            )));
        }
    }
    let counts = content.sources.iter().map(|source| source.references.len());
    if counts.fold(0, usize::saturating_add) > MAX_REFERENCES {
        return Err(unsupported(&format!(
            "`references` hold over {MAX_REFERENCES} entries"
        )));
    }
    let mut references = content.sources.iter().flat_map(|source| &source.references);
    if references.any(|it| it.key_id.is_some() == it.unknown.is_some()) {
        return Err(malformed(
            "`references`: one has no key, or names one that is unknown",
        ));
    }
    let has_reason = |waiver: &Waiver| !waiver.name.is_empty() && !waiver.reason.trim().is_empty();
    if !content.waivers.iter().all(has_reason) {
        return Err(malformed("`waivers`: one has no name or no reason"));
    }
    Ok(())
}

fn cannot_be_written() -> Error {
    Error::new(
        ErrorKind::Internal,
        "the evidence cannot be written as JSON",
    )
}

fn malformed(what: &str) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("the evidence is refused: {what}"),
    )
}

fn unsupported(what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("the evidence is refused: {what}"),
    )
}
