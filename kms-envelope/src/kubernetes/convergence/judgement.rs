//! What follows from what was seen.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::time::SystemTime;

use kms_core::KeyId;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::metrics::{KeyUse, ServerMetrics, key_id_hash};
use crate::kubernetes::Transformer;

/// Which key a server writes with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// The one that was asked about.
    Target,
    /// Another one.
    Another,
    /// That cannot be told. It is to be taken for another one.
    Unknown,
}

impl Verdict {
    /// A stable lower-case name, for output and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Another => "another",
            Self::Unknown => "unknown",
        }
    }
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Role {
    /// That it writes with the key.
    #[default]
    Writer,
    /// That it has the KMS in its configuration, anywhere, and that the KMS named it the key: it
    /// can read what others write with it. Nothing needs to have been written.
    Reader,
}

/// What is forgiven.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tolerance {
    /// How old the last Status may be. Four minutes: a server asks once a minute, and writes on
    /// for three without an answer.
    pub status_age: Duration,
    /// How far the clocks of a server and of us may be apart. 30 s.
    pub clock_skew: Duration,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            status_age: Transformer::WRITE_STATE_TTL.saturating_add(Duration::from_secs(60)),
            clock_skew: Duration::from_secs(30),
        }
    }
}

impl Tolerance {
    /// Sets how old the last Status may be.
    #[must_use]
    pub const fn with_status_age(mut self, age: Duration) -> Self {
        self.status_age = age;
        self
    }

    /// Sets how far clocks may be apart.
    #[must_use]
    pub const fn with_clock_skew(mut self, skew: Duration) -> Self {
        self.clock_skew = skew;
        self
    }
}

/// What was found of one server or its plugin, and with it the [`Verdict`].
///
/// Prints as a sentence; serializes to an object with `verdict`, `reason` and `detail`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Judgement {
    /// Target: the KMS named it last, and the server wrote with it last.
    Wrote {
        /// How long ago Status named it.
        told: Duration,
        /// How long ago it was written with.
        written: Duration,
    },
    /// Target, of a [reader](Role::Reader): the KMS named it last.
    Told {
        /// How long ago.
        told: Duration,
    },
    /// Target, by the plugin's word: its server follows within
    /// [three minutes](Transformer::WRITE_STATE_TTL), or does not write at all. That the server's
    /// configuration writes through this KMS, a plugin cannot tell.
    PluginTells,
    /// Another: the KMS named it last.
    ToldAnother {
        /// What stands for it in the metrics.
        key_id_hash: String,
        /// How long ago.
        told: Duration,
    },
    /// Another: the KMS named the target, and the server still wrote with another key.
    WroteAnother {
        /// What stands for it in the metrics.
        key_id_hash: String,
        /// How long ago.
        written: Duration,
    },
    /// Another, by the plugin's word.
    PluginTellsAnother {
        /// What it tells.
        key_id: KeyId,
    },
    /// Unknown: the server has never asked a KMS v2 of this name.
    NoSuchKms {
        /// Those that it has asked.
        known: Vec<String>,
    },
    /// Unknown: the last Status is too old.
    ToldLongAgo {
        /// How long ago.
        told: Duration,
    },
    /// Unknown: what the server tells of lies ahead of our time.
    AheadOfUs {
        /// By how much.
        ahead: Duration,
    },
    /// Unknown: two keys share the latest time.
    TwoAtOnce,
    /// Unknown: the KMS named the target, and nothing has been written since the server started.
    NothingWritten,
    /// Unknown: the KMS named the target, and the last write is older than any state could be
    /// that it was made with.
    NothingWrittenSince {
        /// How long ago the last write was.
        written: Duration,
    },
    /// Unknown: the configuration was changed after the last write, so that another provider may
    /// write now.
    ReloadedSince {
        /// How long ago.
        reloaded: Duration,
    },
    /// Unknown: it could not be asked, or its answer could not be read.
    NotRead {
        /// Why.
        reason: String,
    },
}

impl Judgement {
    /// Which key the server writes with.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Wrote { .. } | Self::Told { .. } | Self::PluginTells => Verdict::Target,
            Self::ToldAnother { .. }
            | Self::WroteAnother { .. }
            | Self::PluginTellsAnother { .. } => Verdict::Another,
            _ => Verdict::Unknown,
        }
    }

    /// A stable lower-case name of what was found, for JSON.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Wrote { .. } => "wrote_with_target",
            Self::Told { .. } => "told_target",
            Self::PluginTells => "plugin_tells_target",
            Self::ToldAnother { .. } => "told_another",
            Self::WroteAnother { .. } => "wrote_with_another",
            Self::PluginTellsAnother { .. } => "plugin_tells_another",
            Self::NoSuchKms { .. } => "no_such_kms",
            Self::ToldLongAgo { .. } => "told_long_ago",
            Self::AheadOfUs { .. } => "ahead_of_us",
            Self::TwoAtOnce => "two_at_once",
            Self::NothingWritten => "nothing_written",
            Self::NothingWrittenSince { .. } => "nothing_written_since",
            Self::ReloadedSince { .. } => "reloaded_since",
            Self::NotRead { .. } => "not_read",
        }
    }

    /// How long to wait until what was found is true of the server as well: what a plugin tells
    /// reaches its server within three minutes. Zero for what the server told itself.
    #[must_use]
    pub const fn settles_in(&self) -> Duration {
        match self {
            Self::PluginTells => Transformer::WRITE_STATE_TTL,
            _ => Duration::ZERO,
        }
    }
}

/// What follows from a plugin's Status.
#[must_use]
pub fn judge_status(told: &KeyId, target: &KeyId) -> Judgement {
    if told == target {
        Judgement::PluginTells
    } else {
        Judgement::PluginTellsAnother {
            key_id: told.clone(),
        }
    }
}

impl ServerMetrics {
    /// Says whether this server writes with `target` through the KMS of this name, or reads; `now`
    /// is the time at which the metrics were taken, or later.
    #[must_use]
    pub fn judge(
        &self,
        kms: &str,
        target: &KeyId,
        role: Role,
        now: SystemTime,
        tolerance: &Tolerance,
    ) -> Judgement {
        self.examine(kms, &key_id_hash(target), role, now, tolerance)
            .unwrap_or_else(|doubt| doubt)
    }

    /// An error ends the examination early.
    fn examine(
        &self,
        kms: &str,
        target: &str,
        role: Role,
        now: SystemTime,
        tolerance: &Tolerance,
    ) -> Result<Judgement, Judgement> {
        let age = |time| age_of(time, now, tolerance.clock_skew);
        let no_such_kms = || Judgement::NoSuchKms {
            known: self.kms.keys().cloned().collect(),
        };
        let metrics = self.kms.get(kms).ok_or_else(no_such_kms)?;
        let (named, named_at) = latest(&metrics.status)?.ok_or_else(no_such_kms)?;
        let told = age(named_at)?;
        if told > tolerance.status_age {
            return Err(Judgement::ToldLongAgo { told });
        }
        if named != target {
            let key_id_hash = named.to_owned();
            return Ok(Judgement::ToldAnother { key_id_hash, told });
        }
        if role == Role::Reader {
            return Ok(Judgement::Told { told });
        }
        let (used, used_at) = latest(&metrics.written)?.ok_or(Judgement::NothingWritten)?;
        let written = age(used_at)?;
        if used != target {
            let key_id_hash = used.to_owned();
            let longest = Transformer::WRITE_STATE_TTL.saturating_add(tolerance.clock_skew);
            return Ok(if written > longest {
                Judgement::NothingWrittenSince { written }
            } else {
                Judgement::WroteAnother {
                    key_id_hash,
                    written,
                }
            });
        }
        match self.reloaded {
            Some(reloaded) if reloaded > used_at => Err(Judgement::ReloadedSince {
                reloaded: age(reloaded)?,
            }),
            _ => Ok(Judgement::Wrote { told, written }),
        }
    }
}

/// The key that was used last, unless two were.
fn latest(uses: &BTreeMap<String, KeyUse>) -> Result<Option<(&str, SystemTime)>, Judgement> {
    let Some((hash, newest)) = uses.iter().max_by_key(|(_, used)| used.last) else {
        return Ok(None);
    };
    let same = uses.values().filter(|used| used.last == newest.last);
    if same.count() > 1 {
        return Err(Judgement::TwoAtOnce);
    }
    Ok(Some((hash, newest.last)))
}

/// How long ago; what lies ahead by no more than clocks may differ is now.
fn age_of(time: SystemTime, now: SystemTime, skew: Duration) -> Result<Duration, Judgement> {
    match now.duration_since(time) {
        Ok(age) => Ok(age),
        Err(ahead) if ahead.duration() <= skew => Ok(Duration::ZERO),
        Err(ahead) => Err(Judgement::AheadOfUs {
            ahead: ahead.duration(),
        }),
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrote { told, written } => write!(
                f,
                "its KMS named the key {} ago, and it wrote with it {} ago",
                Ago(*told),
                Ago(*written)
            ),
            Self::Told { told } => write!(f, "its KMS named the key {} ago", Ago(*told)),
            Self::PluginTells => {
                f.write_str("the plugin names the key; its server follows within 3 min")
            }
            Self::ToldAnother { key_id_hash, told } => write!(
                f,
                "its KMS named another key {} ago: {key_id_hash}",
                Ago(*told)
            ),
            Self::WroteAnother {
                key_id_hash,
                written,
            } => write!(
                f,
                "it wrote with another key {} ago, {key_id_hash}, although its KMS names this one",
                Ago(*written)
            ),
            Self::PluginTellsAnother { key_id } => {
                write!(f, "the plugin names another key: {key_id}")
            }
            Self::NoSuchKms { known } if known.is_empty() => {
                f.write_str("it tells of no KMS v2 at all")
            }
            Self::NoSuchKms { known } => write!(
                f,
                "it tells of no KMS v2 of this name, but of {}",
                known.join(", ")
            ),
            Self::ToldLongAgo { told } => write!(
                f,
                "its last answer of the KMS is {} old, or these metrics are",
                Ago(*told)
            ),
            Self::AheadOfUs { ahead } => write!(
                f,
                "its clock, or ours, is wrong: what it tells of is {} ahead",
                Ago(*ahead)
            ),
            Self::TwoAtOnce => f.write_str("it tells of two keys at the same moment"),
            Self::NothingWritten => f.write_str(
                "its KMS names the key, but it has written nothing through it since it started",
            ),
            Self::NothingWrittenSince { written } => write!(
                f,
                "its KMS names the key, but its last write was {} ago and with another",
                Ago(*written)
            ),
            Self::ReloadedSince { reloaded } => write!(
                f,
                "it took a changed configuration {} ago and has written nothing since",
                Ago(*reloaded)
            ),
            Self::NotRead { reason } => f.write_str(reason),
        }
    }
}

/// A time span for people.
struct Ago(Duration);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..=119 => write!(f, "{seconds} s"),
            120..=7199 => write!(f, "{} min", seconds / 60),
            7200..=172_799 => write!(f, "{} h", seconds / 3600),
            _ => write!(f, "{} days", seconds / 86400),
        }
    }
}

impl Serialize for Judgement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("verdict", self.verdict().as_str())?;
        map.serialize_entry("reason", self.reason())?;
        map.serialize_entry("detail", &self.to_string())?;
        match self {
            Self::ToldAnother { key_id_hash, .. } | Self::WroteAnother { key_id_hash, .. } => {
                map.serialize_entry("key_id_hash", key_id_hash)?;
            }
            Self::PluginTellsAnother { key_id } => {
                map.serialize_entry("key_id", key_id.as_str())?;
            }
            _ => {}
        }
        map.end()
    }
}
