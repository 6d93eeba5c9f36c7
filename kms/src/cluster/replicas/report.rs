//! What all of them say together.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use kms_core::KeyId;
use kms_envelope::kubernetes::convergence::{Judgement, Role, Verdict};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::cluster::text::write_table;

/// Whether the API servers write with one key.
///
/// Serializes with `agrees`, `missing`, `settles_in_seconds` and `unchecked` beside its fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplicaReport {
    /// The KMS's name in the configuration.
    pub kms: String,
    /// The key that was asked about.
    pub target: KeyId,
    /// What was asked of them.
    pub role: Role,
    /// How many API servers there should be, if that was said.
    pub expected: Option<u32>,
    /// How many different ones were asked, at least.
    pub seen: u32,
    /// Each of them.
    pub replicas: Vec<Replica>,
}

/// One API server, with or by its plugin.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Replica {
    /// The name that was given, or what was asked.
    pub name: String,
    /// The replica before it in the report that is the same API server or plugin, and that alone
    /// counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
    /// What is known of it.
    pub evidence: Vec<Evidence>,
    #[serde(skip)]
    pub(super) is_named: bool,
}

/// What one answer says of a replica.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Evidence {
    /// Who was asked.
    pub kind: EvidenceKind,
    /// Where: a socket, a file, a URL.
    pub source: String,
    /// The hash by which an API server names itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What follows from the answer.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// The hash of the configuration that it runs, if it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// Whether it has refused its newest configuration and runs the one before.
    pub reload_failed: bool,
}

/// Who was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EvidenceKind {
    /// A KMS plugin, of the key that it would give.
    Plugin,
    /// An API server, of what it was told and what it did.
    Metrics,
}

impl Replica {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            same_as: None,
            evidence: Vec::new(),
            is_named: false,
        }
    }

    pub(super) fn add(&mut self, evidence: Evidence) {
        self.evidence.push(evidence);
    }

    /// Which key it writes with: another if anything says so, unknown if anything is in doubt.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let any = |wanted| {
            let mut verdicts = self.evidence.iter().map(|it| it.judgement.verdict());
            verdicts.any(|verdict| verdict == wanted)
        };
        if any(Verdict::Another) {
            Verdict::Another
        } else if any(Verdict::Unknown) || self.evidence.is_empty() {
            Verdict::Unknown
        } else {
            Verdict::Target
        }
    }

    fn is_plugin_only(&self) -> bool {
        self.evidence.iter().all(Evidence::is_plugin)
    }

    /// What no other replica can have as well.
    fn identities(&self) -> impl Iterator<Item = &str> {
        self.evidence
            .iter()
            .filter_map(|evidence| match &evidence.server {
                Some(server) => Some(&**server),
                None if evidence.is_plugin() => Some(&*evidence.source),
                None => None,
            })
    }
}

impl Evidence {
    fn is_plugin(&self) -> bool {
        self.kind == EvidenceKind::Plugin
    }
}

impl ReplicaReport {
    pub(super) fn new(
        kms: String,
        target: KeyId,
        role: Role,
        expected: Option<u32>,
        mut replicas: Vec<Replica>,
    ) -> Self {
        let mut owners = BTreeMap::<String, String>::new();
        for replica in &mut replicas {
            let known = replica.identities().find_map(|id| owners.get(id)).cloned();
            let mine: Vec<_> = replica.identities().map(str::to_owned).collect();
            for id in mine {
                owners.entry(id).or_insert_with(|| replica.name.clone());
            }
            replica.same_as = known;
        }
        let seen = count_different(&replicas);
        Self {
            kms,
            target,
            role,
            expected,
            seen,
            replicas,
        }
    }

    /// Whether all that were asked write with the target, and none is missing of the number that
    /// was said. Without such a number one that nobody named is not missed.
    #[must_use]
    pub fn agrees(&self) -> bool {
        let is_target = |replica: &Replica| replica.verdict() == Verdict::Target;
        !self.replicas.is_empty() && self.replicas.iter().all(is_target) && self.missing() == 0
    }

    /// Those that write with another key.
    pub fn disagreeing(&self) -> impl Iterator<Item = &Replica> {
        let of = |replica: &&Replica| replica.verdict() == Verdict::Another;
        self.replicas.iter().filter(of)
    }

    /// Those of which it is not known: they cannot be asked, or what they say leaves it open.
    pub fn unknown(&self) -> impl Iterator<Item = &Replica> {
        let of = |replica: &&Replica| replica.verdict() == Verdict::Unknown;
        self.replicas.iter().filter(of)
    }

    /// How many API servers were not asked, of the number that was said.
    #[must_use]
    pub fn missing(&self) -> u32 {
        self.expected
            .map_or(0, |expected| expected.saturating_sub(self.seen))
    }

    /// How long to wait before an agreement is true of the API servers as well: where only a
    /// plugin was asked, its server follows within three minutes or does not write.
    #[must_use]
    pub fn settles_in(&self) -> Duration {
        let evidence = self.replicas.iter().flat_map(|replica| &replica.evidence);
        let times = evidence.map(|evidence| evidence.judgement.settles_in());
        times.max().unwrap_or_default()
    }

    /// What could not be checked, in sentences; empty if everything could.
    #[must_use]
    pub fn unchecked(&self) -> Vec<String> {
        let mut unchecked = Vec::new();
        if self.replicas.is_empty() {
            unchecked.push(format!(
                "no API server and no plugin was named: whether all of them {} with {} is not known",
                self.verb(),
                self.target
            ));
        }
        for replica in &self.replicas {
            let name = &replica.name;
            if let Some(same) = &replica.same_as {
                unchecked.push(format!(
                    "{name} is the same as {same}: another API server may not have been asked"
                ));
            }
            for evidence in &replica.evidence {
                if evidence.judgement.verdict() == Verdict::Unknown {
                    unchecked.push(format!("{name}: {}", evidence.judgement));
                }
                if evidence.reload_failed {
                    unchecked.push(format!(
                        "{name} has refused its newest configuration and runs the one before"
                    ));
                }
            }
            if replica.is_plugin_only() && replica.verdict() == Verdict::Target {
                unchecked.push(format!(
                    "{name}: whether its API server {}s through `{}` at all; a plugin cannot tell",
                    self.verb(),
                    self.kms
                ));
            }
        }
        match self.expected {
            None => unchecked.push("how many API servers there are was not said".to_owned()),
            Some(expected) if expected != self.seen => unchecked.push(format!(
                "{} API servers were asked, and there are {expected}",
                self.seen
            )),
            Some(_) => {}
        }
        if self.config_hashes().len() > 1 {
            unchecked.push("the API servers run different configurations".to_owned());
        }
        unchecked
    }

    const fn verb(&self) -> &'static str {
        match self.role {
            Role::Reader => "read",
            _ => "write",
        }
    }

    fn config_hashes(&self) -> BTreeSet<&str> {
        let evidence = self.replicas.iter().flat_map(|replica| &replica.evidence);
        evidence
            .filter_map(|evidence| evidence.config_hash.as_deref())
            .collect()
    }
}

/// Named ones are different. Of the rest a plugin and a server may be one, and nobody can tell.
fn count_different(replicas: &[Replica]) -> u32 {
    let count = |of: &dyn Fn(&Replica) -> bool| {
        let found = replicas
            .iter()
            .filter(|replica| replica.same_as.is_none() && of(replica));
        u32::try_from(found.count()).unwrap_or(u32::MAX)
    };
    let named = count(&|replica| replica.is_named);
    let plugins = count(&|replica| !replica.is_named && replica.is_plugin_only());
    let servers = count(&|replica| !replica.is_named && !replica.is_plugin_only());
    named.saturating_add(plugins.max(servers))
}

/// A table for people, and what could not be checked.
impl fmt::Display for ReplicaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = match self.role {
            Role::Reader => "READS WITH",
            _ => "WRITES WITH",
        };
        let mut table = vec![["REPLICA", heading, "WHY"].map(String::from)];
        for replica in &self.replicas {
            let mut name = replica.name.clone();
            for evidence in &replica.evidence {
                let verdict = match evidence.judgement.verdict() {
                    Verdict::Target => "this key",
                    Verdict::Another => "ANOTHER",
                    Verdict::Unknown => "not known",
                };
                table.push([
                    core::mem::take(&mut name),
                    verdict.to_owned(),
                    evidence.judgement.to_string(),
                ]);
            }
        }
        let mut text = String::new();
        write_table(&mut text, &table)?;
        writeln!(f, "Key {} of KMS `{}`\n\n{}", self.target, self.kms, text)?;
        let unchecked = self.unchecked();
        if !unchecked.is_empty() {
            writeln!(f, "Not checked:")?;
            for what in unchecked {
                writeln!(f, "  {what}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for ReplicaReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("ReplicaReport", 10)?;
        out.serialize_field("kms", &self.kms)?;
        out.serialize_field("target_key_id", self.target.as_str())?;
        out.serialize_field("role", self.verb())?;
        out.serialize_field("agrees", &self.agrees())?;
        out.serialize_field("expected", &self.expected)?;
        out.serialize_field("seen", &self.seen)?;
        out.serialize_field("missing", &self.missing())?;
        out.serialize_field("settles_in_seconds", &self.settles_in().as_secs())?;
        out.serialize_field("replicas", &self.replicas)?;
        out.serialize_field("unchecked", &self.unchecked())?;
        out.end()
    }
}
