//! Asking all of them at once.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kms_core::{CallOptions, Clock, KeyId, KeyProvider as _};
use kms_envelope::kubernetes::convergence::{
    Judgement, Role, ServerMetrics, Tolerance, judge_status,
};
use kms_plugin::client::{ClientOptions, V2Client};

use super::access::{MAX_METRICS, MetricsAccess};
use super::report::{Evidence, EvidenceKind, Replica, ReplicaReport};
use super::source::{Place, ReplicaSource};
use crate::Failure;
use crate::input::read_long_text;

/// The API servers of a cluster, or their plugins, as far as they can be asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replicas {
    /// What is asked.
    pub sources: Vec<ReplicaSource>,
    /// How many API servers there are, so that one that is not asked is missed.
    pub expected: Option<u32>,
    /// How to ask for metrics; needed for `https://`.
    pub access: Option<MetricsAccess>,
    /// What is asked of them: that they write with the key, or can read.
    pub role: Role,
    /// What is forgiven.
    pub tolerance: Tolerance,
    /// The longest that one of them may take to answer. 10 s.
    pub timeout: Duration,
}

impl Replicas {
    /// These, and nothing said of how many there should be.
    #[must_use]
    pub fn new(sources: Vec<ReplicaSource>) -> Self {
        Self {
            sources,
            expected: None,
            access: None,
            role: Role::Writer,
            tolerance: Tolerance::default(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Says how many API servers there are.
    #[must_use]
    pub fn with_expected(mut self, count: impl Into<Option<u32>>) -> Self {
        self.expected = count.into();
        self
    }

    /// Sets how to ask for metrics.
    #[must_use]
    pub fn with_access(mut self, access: impl Into<Option<MetricsAccess>>) -> Self {
        self.access = access.into();
        self
    }

    /// Sets what is asked of them.
    #[must_use]
    pub const fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets what is forgiven.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the longest that one of them may take to answer.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether there is nothing to ask.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Asks all of them whether they write with `target` through the KMS v2 of this name in the
    /// configuration, or whatever else the [role](Self::role) is. What cannot be asked is in the report, too.
    pub async fn check(&self, kms: &str, target: &KeyId, clock: &Arc<dyn Clock>) -> ReplicaReport {
        let question = Question {
            replicas: self,
            kms,
            target,
            clock,
        };
        let asked = self.sources.iter().map(|source| question.ask(source));
        let answers = futures_util::future::join_all(asked).await;
        let mut groups = BTreeMap::<Group, Replica>::new();
        for (index, (source, answers)) in self.sources.iter().zip(answers).enumerate() {
            let is_one = answers.len() == 1;
            for answer in answers {
                let group = Group::of(index, source, &answer, is_one);
                let replica = groups
                    .entry(group)
                    .or_insert_with_key(|group| Replica::new(group.name(source, &answer)));
                replica.is_named |= source.name.is_some();
                replica.add(Evidence {
                    kind: match source.place {
                        Place::Plugin(_) => EvidenceKind::Plugin,
                        _ => EvidenceKind::Metrics,
                    },
                    source: source.to_string(),
                    server: answer.server,
                    judgement: answer.judgement,
                    config_hash: answer.config_hash,
                    reload_failed: answer.reload_failed,
                });
            }
        }
        ReplicaReport::new(
            kms.to_owned(),
            target.clone(),
            self.role,
            self.expected,
            groups.into_values().collect(),
        )
    }
}

/// What is about one replica.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Group {
    /// By the name that was given, and what tells servers of one text apart.
    Named(String, String),
    /// By the server's own name.
    Server(String),
    /// By the argument.
    Source(usize, String),
}

impl Group {
    fn of(index: usize, source: &ReplicaSource, answer: &Answer, is_one: bool) -> Self {
        let within = if is_one {
            String::new()
        } else {
            answer.distinction()
        };
        match (&source.name, &answer.server) {
            (Some(name), _) => Self::Named(name.clone(), within),
            (None, Some(_)) => Self::Server(answer.distinction()),
            (None, None) => Self::Source(index, within),
        }
    }

    fn name(&self, source: &ReplicaSource, answer: &Answer) -> String {
        let (base, within) = match self {
            Self::Named(name, within) => (name.clone(), within.clone()),
            Self::Server(_) => (source.to_string(), answer.labels.clone()),
            Self::Source(_, within) => (source.to_string(), within.clone()),
        };
        match &*within {
            "" => base,
            within => format!("{base} ({within})"),
        }
    }
}

/// What one server, or one plugin, said.
struct Answer {
    server: Option<String>,
    labels: String,
    judgement: Judgement,
    config_hash: Option<String>,
    reload_failed: bool,
}

impl Answer {
    fn new(judgement: Judgement) -> Self {
        Self {
            server: None,
            labels: String::new(),
            judgement,
            config_hash: None,
            reload_failed: false,
        }
    }

    fn distinction(&self) -> String {
        let server = self.server.iter().map(String::as_str);
        let labels = Some(&*self.labels).filter(|labels| !labels.is_empty());
        let parts: Vec<_> = server.chain(labels).collect();
        parts.join(" ")
    }
}

struct Question<'a> {
    replicas: &'a Replicas,
    kms: &'a str,
    target: &'a KeyId,
    clock: &'a Arc<dyn Clock>,
}

impl Question<'_> {
    async fn ask(&self, source: &ReplicaSource) -> Vec<Answer> {
        let deadline = self.clock.now() + self.replicas.timeout;
        let answer = async {
            match &source.place {
                Place::Plugin(address) => {
                    let options = ClientOptions::default()
                        .with_clock(Arc::clone(self.clock))
                        .with_timeout(self.replicas.timeout);
                    let told = V2Client::new(address.clone(), options)
                        .current_key(&CallOptions::default().with_deadline(deadline))
                        .await?;
                    Ok(vec![Answer::new(judge_status(&told.id, self.target))])
                }
                Place::File(path) => self.judge(&read_file(path.clone()).await?),
                Place::Url(url) => {
                    let access = match &self.replicas.access {
                        Some(access) => access,
                        None => &MetricsAccess::new(None)?,
                    };
                    self.judge(&access.get(url).await?)
                }
            }
        };
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            () = self.clock.sleep_until(deadline) => Err(Failure::new(
                "deadline_exceeded",
                "it does not answer in time",
                "check that it runs, and the way to it",
            )),
        };
        answer.unwrap_or_else(|failure: Failure| {
            let reason = format!("{failure}. To do: {}", failure.remedy());
            vec![Answer::new(Judgement::NotRead { reason })]
        })
    }

    fn judge(&self, text: &str) -> Result<Vec<Answer>, Failure> {
        let now = self.clock.wall_time();
        let answer = |server: ServerMetrics| {
            let labels: Vec<_> = server
                .labels
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            Answer {
                judgement: server.judge(
                    self.kms,
                    self.target,
                    self.replicas.role,
                    now,
                    &self.replicas.tolerance,
                ),
                labels: labels.join(" "),
                reload_failed: server.reload_failed > server.reloaded,
                config_hash: server.config_hash,
                server: server.server,
            }
        };
        let servers = ServerMetrics::read(text).map_err(Failure::from)?;
        Ok(servers.into_iter().map(answer).collect())
    }
}

async fn read_file(path: PathBuf) -> Result<zeroize::Zeroizing<String>, Failure> {
    tokio::task::spawn_blocking(move || read_long_text(&path, MAX_METRICS))
        .await
        .map_err(|error| Failure::new("internal", error.to_string(), "report this as a defect"))?
}
