//! What one API server tells of its KMS providers.

use core::time::Duration;
use std::collections::BTreeMap;
use std::time::SystemTime;

use kms_core::KeyId;

use super::exposition::{Sample, samples};
use crate::digest::sha256_hex;
use crate::{Error, ErrorKind};

const ENVELOPE: &str = "apiserver_envelope_encryption_key_id_hash_";
const STATUS: &str = "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds";
const LAST_USE: &str = "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds";
const USES: &str = "apiserver_envelope_encryption_key_id_hash_total";
const CONTROLLER: &str = "apiserver_encryption_config_controller_";
const RELOAD_TIME: &str =
    "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds";
const RELOADS: &str = "apiserver_encryption_config_controller_automatic_reloads_total";
const OLD_SUCCESSES: &str = "apiserver_encryption_config_controller_automatic_reload_success_total";
const OLD_FAILURES: &str = "apiserver_encryption_config_controller_automatic_reload_failures_total";
const CONFIG: &str = "apiserver_encryption_config_controller_last_config_info";

/// The label by which a server names itself, since 1.29.
const SERVER: &str = "apiserver_id_hash";
/// Labels that tell samples of one server apart. All others tell servers apart: a collector adds
/// `instance` and the like.
const OF_A_SAMPLE: [&str; 5] = [
    "key_id_hash",
    "provider_name",
    "transformation_type",
    "status",
    "hash",
];
/// The most servers that one text may tell of.
const MAX_SERVERS: usize = 1_000;
/// The year 9999; what is later is no time.
const MAX_SECONDS: f64 = 253_402_300_799.0;

/// What stands for a key id in an API server's metrics: `sha256:` and the digest of the id.
#[must_use]
pub fn key_id_hash(key_id: &KeyId) -> String {
    format!("sha256:{}", sha256_hex(key_id.as_str().as_bytes()))
}

/// What the metrics of one API server say of encryption.
///
/// The metrics are those of Kubernetes 1.27 and later, all of them alpha. A server keeps them in
/// memory, so they begin anew when it restarts; and only for KMS v2.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ServerMetrics {
    /// The hash of the server's own name, if it tells it: Kubernetes 1.29 and later.
    pub server: Option<String>,
    /// Labels that are not the server's own, such as `instance`.
    pub labels: BTreeMap<String, String>,
    /// By the KMS provider's name in the configuration.
    pub kms: BTreeMap<String, KmsMetrics>,
    /// When it last took a changed configuration by itself.
    pub reloaded: Option<SystemTime>,
    /// When it last refused one, and went on with the one before.
    pub reload_failed: Option<SystemTime>,
    /// How often it took a changed configuration, and how often it refused one.
    pub reloads: u64,
    /// How often it refused one.
    pub reload_failures: u64,
    /// The hash of the configuration that it runs, if it tells: Kubernetes 1.34 and later. It can
    /// be compared with that of other servers and of other times; it is no digest of a file.
    pub config_hash: Option<String>,
}

/// What a server tells of one KMS provider. Keys go by the [hash](key_id_hash) of their id.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct KmsMetrics {
    /// What Status named.
    pub status: BTreeMap<String, KeyUse>,
    /// What was written with.
    pub written: BTreeMap<String, KeyUse>,
}

/// When a key was last used or named.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KeyUse {
    /// When it last was.
    pub last: SystemTime,
    /// How often, if the server counts that.
    pub count: Option<u64>,
}

impl Default for KeyUse {
    fn default() -> Self {
        Self {
            last: SystemTime::UNIX_EPOCH,
            count: None,
        }
    }
}

impl ServerMetrics {
    /// Reads the answer of `/metrics`, or what a Prometheus has gathered of several servers.
    ///
    /// Samples whose other labels differ are of different servers. A text that says nothing of
    /// encryption gives one server without a KMS: that is what a server without KMS v2 tells.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] with the line that is not in Prometheus' text
    /// format, or tells of a time that is none. Bounds: 64 MiB, 20,000 samples about
    /// encryption, 1,000 servers.
    pub fn read(text: &str) -> Result<Vec<Self>, Error> {
        let is_wanted = |name: &str| name.starts_with(ENVELOPE) || name.starts_with(CONTROLLER);
        let mut servers: BTreeMap<BTreeMap<String, String>, Self> = BTreeMap::new();
        for sample in samples(text, is_wanted)? {
            let labels: BTreeMap<_, _> = sample
                .labels
                .iter()
                .filter(|(name, _)| !OF_A_SAMPLE.contains(name))
                .map(|(name, value)| ((*name).to_owned(), value.clone().into_owned()))
                .collect();
            if servers.len() >= MAX_SERVERS && !servers.contains_key(&labels) {
                return Err(malformed(format!(
                    "they are of more than {MAX_SERVERS} servers"
                )));
            }
            servers.entry(labels).or_default().take(&sample)?;
        }
        if servers.is_empty() {
            servers.insert(BTreeMap::new(), Self::default());
        }
        let named = servers.into_iter().map(|(mut labels, mut server)| {
            server.server = labels.remove(SERVER).filter(|name| !name.is_empty());
            server.labels = labels;
            server
        });
        Ok(named.collect())
    }

    fn take(&mut self, sample: &Sample<'_>) -> Result<(), Error> {
        match sample.name {
            STATUS => {
                let last = time_of(sample)?;
                let kms = self.kms_of(sample);
                place(&mut kms.status, sample).last = last;
            }
            LAST_USE if is_write(sample) => {
                let last = time_of(sample)?;
                let kms = self.kms_of(sample);
                place(&mut kms.written, sample).last = last;
            }
            USES if is_write(sample) => {
                let count = count_of(sample)?;
                let kms = self.kms_of(sample);
                place(&mut kms.written, sample).count = Some(count);
            }
            RELOAD_TIME => match sample.label("status") {
                "failure" => self.reload_failed = Some(time_of(sample)?),
                _ => self.reloaded = Some(time_of(sample)?),
            },
            RELOADS => match sample.label("status") {
                "failure" => self.reload_failures = count_of(sample)?,
                _ => self.reloads = count_of(sample)?,
            },
            // Superseded by the one above; a server may still have both.
            OLD_SUCCESSES => self.reloads = self.reloads.max(count_of(sample)?),
            OLD_FAILURES => self.reload_failures = self.reload_failures.max(count_of(sample)?),
            CONFIG if sample.value == 1.0 => {
                self.config_hash = Some(sample.label("hash").to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    fn kms_of(&mut self, sample: &Sample<'_>) -> &mut KmsMetrics {
        let name = sample.label("provider_name").to_owned();
        self.kms.entry(name).or_default()
    }
}

fn is_write(sample: &Sample<'_>) -> bool {
    sample.label("transformation_type") == "to_storage"
}

/// The entry of the sample's key. A count may come before its time.
fn place<'a>(uses: &'a mut BTreeMap<String, KeyUse>, sample: &Sample<'_>) -> &'a mut KeyUse {
    let hash = sample.label("key_id_hash");
    uses.entry(hash.to_owned()).or_default()
}

fn time_of(sample: &Sample<'_>) -> Result<SystemTime, Error> {
    let seconds = sample.value;
    let time = (0.0..=MAX_SECONDS)
        .contains(&seconds)
        .then(|| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds)));
    time.flatten()
        .ok_or_else(|| malformed(format!("{}: {seconds} is no time", sample.name)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within the range in which all whole numbers are exact"
)]
fn count_of(sample: &Sample<'_>) -> Result<u64, Error> {
    const MOST: f64 = 9_007_199_254_740_992.0;
    if (0.0..=MOST).contains(&sample.value) {
        Ok(sample.value as u64)
    } else {
        Err(malformed(format!(
            "{}: {} is no count",
            sample.name, sample.value
        )))
    }
}

fn malformed(what: String) -> Error {
    Error::new(ErrorKind::Malformed, format!("metrics: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn servers_are_told_apart_by_the_labels_that_are_not_their_samples() {
        let text = [("a", "1"), ("a", "2"), ("b", "1")]
            .map(|(server, instance)| {
                format!(
                    "{STATUS}{{apiserver_id_hash=\"{server}\",instance=\"{instance}\",\
                     key_id_hash=\"k\",provider_name=\"p\"}} 5\n"
                )
            })
            .concat();
        let servers = ServerMetrics::read(&text).unwrap();
        assert_eq!(servers.len(), 3);
        assert_eq!(servers[2].server.as_deref(), Some("b"));
        assert_eq!(servers[2].labels["instance"], "1");
    }

    #[test]
    fn a_server_without_kms_is_one_that_tells_nothing() {
        let servers = ServerMetrics::read("go_goroutines 7\n").unwrap();
        assert_eq!(servers, [ServerMetrics::default()]);
    }

    #[test]
    fn counts_and_times_of_a_key_come_together_in_any_order() {
        let labels = "key_id_hash=\"k\",provider_name=\"p\",transformation_type=\"to_storage\"";
        let mut lines = [
            format!("{USES}{{{labels}}} 3"),
            format!("{LAST_USE}{{{labels}}} 1.5"),
            format!("{USES}{{{}}} 9", labels.replace("to_", "from_")),
        ];
        for _ in 0..lines.len() {
            let servers = ServerMetrics::read(&lines.join("\n")).unwrap();
            let written = &servers[0].kms["p"].written;
            assert_eq!(written.len(), 1);
            let used = &written["k"];
            assert_eq!(used.count, Some(3));
            let since = used.last.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(since, Duration::from_millis(1500));
            lines.rotate_left(1);
        }
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        for value in ["-1", "NaN", "+Inf", "1e300"] {
            let text = format!("{STATUS}{{key_id_hash=\"k\"}} {value}");
            let error = ServerMetrics::read(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed);
        }
        let error = ServerMetrics::read(&format!("{RELOADS}{{status=\"success\"}} -1"));
        assert!(error.unwrap_err().message().contains("no count"));
    }

    #[test]
    fn servers_are_bounded() {
        let text: String = (0..=MAX_SERVERS)
            .map(|n| format!("{RELOADS}{{instance=\"{n}\",status=\"success\"}} 1\n"))
            .collect();
        let error = ServerMetrics::read(&text).unwrap_err();
        assert!(error.message().contains("servers"), "{error}");
    }

    #[test]
    fn the_hash_is_what_a_server_makes_of_the_id() {
        // echo -n 1 | sha256sum
        assert_eq!(
            key_id_hash(&KeyId::new("1").unwrap()),
            "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
        );
    }

    proptest! {
        #[test]
        fn no_sample_panics(
            name in prop::sample::select(vec![STATUS, LAST_USE, USES, RELOAD_TIME, RELOADS, OLD_FAILURES, CONFIG]),
            labels in proptest::collection::vec((prop::sample::select(OF_A_SAMPLE.to_vec()), "[a-z_]{0,10}|to_storage|failure"), 0..4),
            value in any::<f64>(),
        ) {
            let labels: String = labels.iter().map(|(name, value)| format!("{name}=\"{value}\",")).collect();
            let _ = ServerMetrics::read(&format!("{name}{{{labels}}} {value}"));
        }
    }
}
