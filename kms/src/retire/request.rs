//! What to look for, and what is said of what cannot be seen.

use std::path::Path;
use std::str::FromStr;

use kms_azure::key_url::{KeyUrl, VaultHosts};
use kms_core::KeyId;
use kms_envelope::reencrypt::{CensusOptions, KnownKey, UnscannedKind};

use super::{Places, ReplicaArgument};
use crate::Failure;
use crate::cluster::ClusterSource;

/// Which key may go, and where to look.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlanRequest {
    /// The key.
    pub key_id: KeyId,
    /// The cluster: its live etcd, or copies that are taken for it.
    pub cluster: Vec<ClusterSource>,
    /// Copies that somebody may want to restore.
    pub backups: Vec<ClusterSource>,
    /// How to count.
    pub census: CensusOptions,
    /// Whom to ask what they write with.
    pub replicas: Vec<ReplicaArgument>,
    /// What is not scanned.
    pub not_scanned: Vec<UnscannedArgument>,
    /// Which key a KMS v1 provider uses.
    pub kms_v1: Vec<KmsV1Argument>,
    /// Keys that somebody knows.
    pub known_keys: Vec<KnownKey>,
    /// Whether somebody answers for a key that nobody has seen.
    pub never_seen: bool,
    /// What somebody takes responsibility for: `NAME=REASON`.
    pub waivers: Vec<String>,
    /// What commands name.
    pub places: Places,
}

impl PlanRequest {
    /// A look for this key in a cluster.
    #[must_use]
    pub fn new(key_id: KeyId, cluster: Vec<ClusterSource>) -> Self {
        Self {
            key_id,
            cluster,
            backups: Vec::new(),
            census: CensusOptions::default(),
            replicas: Vec::new(),
            not_scanned: Vec::new(),
            kms_v1: Vec::new(),
            known_keys: Vec::new(),
            never_seen: false,
            waivers: Vec::new(),
            places: Places::default(),
        }
    }
}

const HASH: &str = "sha256:";

/// Takes a key id, as stored values, `kms key list`, a vault or the API server's metrics name it.
///
/// # Errors
///
/// A usage [`Failure`]: it is none; it is a key in a vault without its version, a hash that is not
/// whole, or the bare number of a version, which every keyring has.
pub fn parse_key_id(text: &str) -> Result<KeyId, Failure> {
    let usage = |fault: String| {
        Failure::usage(
            fault,
            "give the key id as `kms census` shows it, or the URL of a key's version in a vault",
        )
    };
    if text.trim() != text || text.is_empty() {
        return Err(usage(
            "the key id is empty, or has spaces around it".to_owned(),
        ));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::usage(
            format!("{text} is the number of a version, and no key id"),
            "give the whole key id, for example local/0123456789abcdef/2-0123456789abcdef as \
             `kms key list` shows it, or the provider whose version it is: --provider PROVIDER. If it \
             is a whole key id, give its hash, sha256:...",
        ));
    }
    if let Some(hash) = hash_of(text) {
        return hash.map_err(usage);
    }
    let key_id = KeyId::new(text).map_err(|error| usage(error.to_string()))?;
    match KeyUrl::parse(text, &VaultHosts::default()) {
        Ok(url) => match url.version() {
            Some(_) => Ok(url.key_id()?),
            None => Err(usage(format!("{text} is a key of many versions"))),
        },
        // A key id of another form, or a vault of an unknown domain.
        Err(_) => Ok(key_id),
    }
}

/// `sha256:` and 64 hexadecimal digits, in lower case; `None` if it does not begin like that.
fn hash_of(text: &str) -> Option<Result<KeyId, String>> {
    let (head, digits) = text.split_at_checked(HASH.len())?;
    if !head.eq_ignore_ascii_case(HASH) {
        return None;
    }
    let is_whole = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_whole {
        return Some(Err(format!(
            "the hash of a key id is {HASH} and 64 hexadecimal digits, and these are {}",
            digits.chars().count()
        )));
    }
    let text = text.to_ascii_lowercase();
    Some(KeyId::new(text).map_err(|error| error.to_string()))
}

/// `[KIND:]NAME`: something that is not scanned; `KIND` is `backup`, `cluster` or `replica`.
///
/// ```
/// use kms::retire::UnscannedArgument;
/// use kms_envelope::reencrypt::UnscannedKind;
///
/// let tapes: UnscannedArgument = "backup:tapes in the vault".parse()?;
/// assert_eq!((tapes.name.as_str(), tapes.kind), ("tapes in the vault", UnscannedKind::Backup));
/// # Ok::<(), kms::Failure>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnscannedArgument {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: UnscannedKind,
}

impl FromStr for UnscannedArgument {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let kinds = [
            UnscannedKind::Backup,
            UnscannedKind::Cluster,
            UnscannedKind::Replica,
        ];
        let of_kind = |kind: UnscannedKind| {
            let name = text.strip_prefix(kind.as_str())?.strip_prefix(':')?;
            Some((name, kind))
        };
        let (name, kind) = kinds
            .into_iter()
            .find_map(of_kind)
            .unwrap_or((text, UnscannedKind::Other));
        if name.is_empty() {
            return Err(Failure::usage(
                "--not-scanned names nothing",
                "give for example backup:tapes",
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
        })
    }
}

/// `PROVIDER=KEY_ID`: the key that a KMS v1 provider uses and has always used.
///
/// ```
/// use kms::retire::KmsV1Argument;
///
/// let said: KmsV1Argument = "old-plugin=kek-1".parse()?;
/// assert_eq!((said.provider.as_str(), said.key_id.as_str()), ("old-plugin", "kek-1"));
/// # Ok::<(), kms::Failure>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KmsV1Argument {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The key.
    pub key_id: KeyId,
}

impl FromStr for KmsV1Argument {
    type Err = Failure;

    /// A name may hold a colon, but none holds an equals sign here.
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text.split_once('=') {
            Some((provider, key_id)) if !provider.is_empty() => Ok(Self {
                provider: provider.to_owned(),
                key_id: parse_key_id(key_id)?,
            }),
            _ => Err(Failure::usage(
                "--kms-v1 is not PROVIDER=KEY_ID",
                "give for example old-plugin=kek-1",
            )),
        }
    }
}

/// Takes `NAME=REASON` apart. A name may hold an equals sign: the longest that is `known` counts,
/// and else what comes before the first.
pub(super) fn split_waiver<'a>(
    text: &'a str,
    known: &dyn Fn(&str) -> bool,
) -> Result<(&'a str, &'a str), Failure> {
    let splits = text.match_indices('=').filter_map(|(at, _)| {
        let (name, rest) = text.split_at_checked(at)?;
        Some((name, rest.strip_prefix('=')?))
    });
    let longest_known = splits.clone().filter(|(name, _)| known(name)).last();
    match longest_known.or_else(|| splits.clone().next()) {
        Some((name, reason)) if !name.is_empty() && !reason.trim().is_empty() => Ok((name, reason)),
        _ => Err(Failure::usage(
            "--waive is not NAME=REASON",
            "give for example 'backups=all of them were destroyed'",
        )),
    }
}

/// The longest evidence, or metrics of a replica, that are read.
const MAX_TEXT_LEN: usize = 64 * 1024 * 1024;

/// Reads a text that is longer than a configuration.
pub(super) fn read_long_text(path: &Path) -> Result<String, Failure> {
    let mut text = crate::input::read_long_text(path, MAX_TEXT_LEN)?;
    Ok(core::mem::take(&mut *text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_is_taken_apart_at_a_name_that_is_known() {
        let known = |name: &str| matches!(name, "backups" | "/a=b/c.db");
        let split = |text| split_waiver(text, &known).ok();
        assert_eq!(
            split("backups=none = none"),
            Some(("backups", "none = none"))
        );
        assert_eq!(split("/a=b/c.db=gone"), Some(("/a=b/c.db", "gone")));
        assert_eq!(split("other=x=y"), Some(("other", "x=y")));
        for bad in ["", "backups", "backups=", "backups= ", "=x"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_in_a_vault_is_one_version() {
        let url = "https://kv1.vault.azure.net/keys/etcd/0123456789abcdef0123456789abcdef";
        assert_eq!(parse_key_id(url).unwrap().as_str(), url);
        let upper = url.replace("kv1", "KV1");
        assert_eq!(parse_key_id(&upper).unwrap().as_str(), url);
        let versionless = "https://kv1.vault.azure.net/keys/etcd";
        assert!(parse_key_id(versionless).unwrap_err().is_usage());
        for id in ["kek-1", "local/x/1-y", "https://other.example/keys/a/b"] {
            assert_eq!(parse_key_id(id).unwrap().as_str(), id);
        }
        assert!(parse_key_id("").unwrap_err().is_usage());
        assert!(parse_key_id("a\nb").unwrap_err().is_usage());
    }

    #[test]
    fn what_is_not_scanned_has_a_kind() {
        let parse = |text: &str| text.parse::<UnscannedArgument>().unwrap();
        assert_eq!(parse("cluster:staging").kind, UnscannedKind::Cluster);
        assert_eq!(parse("replica:cp-3").name, "cp-3");
        assert_eq!(parse("https://x").kind, UnscannedKind::Other);
        assert_eq!(parse("https://x").name, "https://x");
        assert!("backup:".parse::<UnscannedArgument>().is_err());
    }
}
