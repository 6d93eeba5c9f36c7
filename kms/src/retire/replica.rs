//! What API servers and plugins write with by now.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use kms_core::{CallOptions, Clock, KeyId, KeyProvider as _};
use kms_envelope::reencrypt::{KnownKey, ReplicaState};
use kms_plugin::client::{ClientOptions, V2Client};
use kms_plugin::socket::SocketAddress;

use super::request::read_long_text;
use crate::Failure;
use crate::provider::parse_address;

/// Whom to ask which key it writes with.
///
/// | argument | who is asked |
/// |---|---|
/// | `unix:PATH` | a KMS v2 plugin, for its Status. Its API server follows within a minute; one that cannot get a new seed wrapped writes with the old one for three minutes more |
/// | `metrics:FILE` | an API server, by what `kubectl get --raw /metrics` printed of it: the key of its last write, and the one that its plugin named last |
///
/// ```
/// use kms::retire::ReplicaArgument;
///
/// let plugin: ReplicaArgument = "unix:/run/kms/kms.sock".parse()?;
/// assert_eq!(plugin.to_string(), "unix:/run/kms/kms.sock");
/// assert!("https://api:6443/metrics".parse::<ReplicaArgument>().is_err());
/// # Ok::<(), kms::Failure>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReplicaArgument(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Plugin(String, SocketAddress),
    Metrics(PathBuf),
}

impl FromStr for ReplicaArgument {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text
            .strip_prefix("metrics:")
            .filter(|path| !path.is_empty())
        {
            return Ok(Self(Kind::Metrics(path.into())));
        }
        if !text.starts_with("unix:") {
            return Err(Failure::usage(
                "a replica is of no known kind",
                "give unix:PATH of a plugin, or metrics:FILE of an API server",
            ));
        }
        let address = parse_address(text)?;
        Ok(Self(Kind::Plugin(text.to_owned(), address)))
    }
}

impl fmt::Display for ReplicaArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Plugin(text, _) => f.write_str(text),
            Kind::Metrics(path) => write!(f, "metrics:{}", path.display()),
        }
    }
}

impl ReplicaArgument {
    /// Whether it is asked itself, and not a file that was saved.
    pub(super) const fn is_asked_itself(&self) -> bool {
        matches!(self.0, Kind::Plugin(..))
    }

    /// Keys that an API server has had to do with, by what was saved of its metrics: read or
    /// written, whenever that was. A plugin tells its current key alone.
    pub(super) fn known(&self) -> Vec<KnownKey> {
        let Kind::Metrics(path) = &self.0 else {
            return Vec::new();
        };
        // One that cannot be read has no state either, and that is told.
        let text = read_long_text(path).unwrap_or_default();
        let name = self.to_string();
        let samples = text.lines().filter_map(Sample::parse);
        samples
            .filter(|sample| matches!(sample.name, WRITTEN | STATUS))
            .filter_map(|sample| Some(KnownKey::new(&name, &sample.hash()?)))
            .collect()
    }

    /// Asks.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: no answer, or a file that says nothing.
    pub(super) async fn ask(&self, clock: &Arc<dyn Clock>) -> Result<Vec<ReplicaState>, Failure> {
        let name = self.to_string();
        match &self.0 {
            Kind::Plugin(_, address) => {
                let options = ClientOptions::default().with_clock(Arc::clone(clock));
                let plugin = V2Client::new(address.clone(), options);
                let call = CallOptions::default().with_deadline(clock.now() + LIMIT);
                let key = plugin.current_key(&call).await?;
                Ok(vec![ReplicaState::new(name, &key.id, clock.wall_time())])
            }
            Kind::Metrics(path) => {
                let saved_at = saved_at(path)?.min(clock.wall_time());
                let hashes = written_with(&read_long_text(path)?);
                if hashes.is_empty() {
                    return Err(Failure::new(
                        "invalid_input",
                        format!("{} tells of no key of KMS v2", path.display()),
                        "save it with `kubectl get --raw /metrics`, of an API server that has written something",
                    ));
                }
                let state = |hash| ReplicaState::new(&name, &hash, saved_at);
                Ok(hashes.into_iter().map(state).collect())
            }
        }
    }
}

/// How long a plugin may take to say its key.
const LIMIT: Duration = Duration::from_secs(10);

fn saved_at(path: &Path) -> Result<SystemTime, Failure> {
    let metadata = std::fs::metadata(path);
    metadata
        .and_then(|metadata| metadata.modified())
        .map_err(|error| Failure::io(format!("reading {}", path.display()), error))
}

const WRITTEN: &str = "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds";
const STATUS: &str = "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds";

/// The hashes of the keys that an API server may write with: that of its last write, and the one
/// that the plugin it wrote through named last. If it has not written yet, what any plugin named.
fn written_with(metrics: &str) -> Vec<KeyId> {
    let (mut written, mut named) = (Vec::new(), Vec::new());
    for sample in metrics.lines().filter_map(Sample::parse) {
        match sample.name {
            WRITTEN if sample.label("transformation_type") == Some("to_storage") => {
                written.push(sample);
            }
            STATUS => named.push(sample),
            _ => {}
        }
    }
    let newest = |samples: &[Sample<'_>], provider: Option<&str>| {
        let of_provider = samples
            .iter()
            .filter(|it| provider.is_none() || it.label("provider_name") == provider);
        let newest = of_provider.max_by(|a, b| a.value.total_cmp(&b.value))?;
        let provider = newest.label("provider_name").map(str::to_owned);
        Some((newest.hash()?, provider))
    };
    let Some((hash, provider)) = newest(&written, None) else {
        let mut all: Vec<_> = named.iter().filter_map(Sample::hash).collect();
        all.sort();
        all.dedup();
        return all;
    };
    let mut hashes = vec![hash];
    if let Some((hash, _)) = newest(&named, provider.as_deref())
        && !hashes.contains(&hash)
    {
        hashes.push(hash);
    }
    hashes
}

/// One line of the text format of Prometheus.
struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, String>,
    value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, mut rest) = line.split_once('{')?;
        let mut labels = BTreeMap::new();
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                // A time may follow the value.
                let value = after.split_whitespace().next()?.parse().ok()?;
                return Some(Self {
                    name,
                    labels,
                    value,
                });
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = until_quote(after)?;
            labels.insert(label.trim(), value);
            rest = after;
        }
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    fn hash(&self) -> Option<KeyId> {
        KeyId::new(self.label("key_id_hash")?).ok()
    }
}

/// The text up to an unescaped quote, and what follows that.
fn until_quote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.chars();
    loop {
        match letters.next()? {
            '"' => return Some((value, letters.as_str())),
            '\\' => match letters.next()? {
                'n' => value.push('\n'),
                letter => value.push(letter),
            },
            letter => value.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METRICS: &str = r#"
# TYPE apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds gauge
apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds{apiserver_id_hash="sha256:a",key_id_hash="sha256:old",provider_name="kms",transformation_type="from_storage"} 1.9e+09
apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds{apiserver_id_hash="sha256:a",key_id_hash="sha256:old",provider_name="kms",transformation_type="to_storage"} 1.7e+09
apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds{apiserver_id_hash="sha256:a",key_id_hash="sha256:new",provider_name="kms",transformation_type="to_storage"} 1.8e+09
apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{apiserver_id_hash="sha256:a",key_id_hash="sha256:old",provider_name="kms"} 1.7e+09
apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{apiserver_id_hash="sha256:a",key_id_hash="sha256:newer",provider_name="kms"} 1.81e+09 1234
apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{apiserver_id_hash="sha256:a",key_id_hash="sha256:reader",provider_name="o\"{},="} 1.99e+09
"#;

    fn hashes(metrics: &str) -> Vec<String> {
        let hashes = written_with(metrics);
        hashes.iter().map(|hash| hash.as_str().to_owned()).collect()
    }

    /// A key that is only read counts for nothing, nor does a plugin that is only read through.
    #[test]
    fn an_api_server_writes_with_the_last_and_with_what_its_plugin_names() {
        assert_eq!(hashes(METRICS), ["sha256:new", "sha256:newer"]);
        let silent: String = METRICS
            .lines()
            .filter(|line| !line.contains("to_storage"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(
            hashes(&silent),
            ["sha256:newer", "sha256:old", "sha256:reader"]
        );
        assert!(hashes("").is_empty());
        assert!(hashes("go_goroutines 7\n").is_empty());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z{}=\",\\\\ 0-9.\n]{0,80}") {
            let _ = written_with(&text);
        }
    }
}
