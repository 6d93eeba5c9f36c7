//! Key ids of Key Vault: parsed and checked before anything is asked of a vault.
//!
//! `https://VAULT/keys/NAME/VERSION` names one version for ever and stands beside wrapped data;
//! `https://VAULT/keys/NAME` is followed to whatever version is newest.

mod host;

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use kms_core::{Error, ErrorKind, KeyId};

pub use host::{Cloud, Service, VaultHost, VaultHosts};

/// The id of a key in a vault, with or without a version.
///
/// Everything in it is checked by what it is made of, so that no part can lead a request to
/// another path, host or query.
///
/// ```
/// use kms_azure::key_url::KeyUrl;
///
/// let url: KeyUrl = "https://MyVault.vault.azure.cn/keys/etcd".parse()?;
/// assert_eq!(url.to_string(), "https://myvault.vault.azure.cn/keys/etcd");
/// assert!(url.version().is_none());
/// assert!("https://myvault.vault.azure.net/keys/../secrets/x".parse::<KeyUrl>().is_err());
/// # Ok::<(), kms_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeyUrl {
    host: VaultHost,
    name: KeyName,
    version: Option<KeyVersion>,
}

impl FromStr for KeyUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        Self::parse(url, &VaultHosts::default())
    }
}

impl KeyUrl {
    /// Parses a key id whose host is one of `hosts`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`], which names the field that is wrong.
    pub fn parse(url: &str, hosts: &VaultHosts) -> Result<Self, Error> {
        if url.len() > KeyId::MAX_LEN {
            return Err(invalid("it", "is over 1024 bytes"));
        }
        let rest = url
            .strip_prefix("https://")
            .ok_or_else(|| invalid("the scheme", "is not https://"))?;
        let (authority, path) = rest
            .split_once('/')
            .ok_or_else(|| invalid("the path", "is missing: /keys/NAME or /keys/NAME/VERSION"))?;
        let host = VaultHost::parse(authority, hosts)?;
        let mut segments = path.split('/');
        if segments.next() != Some("keys") {
            return Err(invalid("the path", "does not begin with /keys/"));
        }
        let name = segments.next().unwrap_or_default().parse()?;
        let version = match segments.next() {
            Some("") => {
                return Err(invalid(
                    "the version",
                    "is empty: without one the last slash has to go",
                ));
            }
            Some(version) => Some(version.parse()?),
            None => None,
        };
        if segments.next().is_some() {
            return Err(invalid("the path", "goes on behind the version"));
        }
        Ok(Self {
            host,
            name,
            version,
        })
    }

    /// The vault.
    #[must_use]
    pub const fn host(&self) -> &VaultHost {
        &self.host
    }

    /// The key's name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The version, if the id has one.
    #[must_use]
    pub const fn version(&self) -> Option<&KeyVersion> {
        self.version.as_ref()
    }

    /// The id of this version of the same key.
    #[must_use]
    pub fn with_version(&self, version: KeyVersion) -> Self {
        Self {
            version: Some(version),
            ..self.clone()
        }
    }

    /// The id without its version.
    #[must_use]
    pub fn without_version(&self) -> Self {
        Self {
            version: None,
            ..self.clone()
        }
    }

    /// Whether both name one key, in whatever version. Vaults do not tell upper from lower case in
    /// a key's name.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.host == other.host && self.name.is_same(&other.name)
    }

    /// Whether a key id is that of a version of this key, whatever this id's own version.
    #[must_use]
    pub fn claims(&self, id: &KeyId) -> bool {
        self.without_version().of_answer(id.as_str()).is_some()
    }

    /// The id that a vault's answer names, if it is a version of this key; and of this version, if
    /// this id has one.
    pub(crate) fn of_answer(&self, kid: &str) -> Option<Self> {
        let prefix = format!("{}/keys/", self.host.url());
        let (start, rest) = kid.split_at_checked(prefix.len())?;
        let (name, version) = rest.split_once('/')?;
        let version: KeyVersion = version.parse().ok()?;
        let is_ours = start.eq_ignore_ascii_case(&prefix)
            && name.eq_ignore_ascii_case(self.name.as_str())
            && self.version.as_ref().is_none_or(|ours| *ours == version);
        is_ours.then(|| self.with_version(version))
    }

    /// The id as it stands beside wrapped data.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it has no version: such an id names no one key.
    pub fn key_id(&self) -> Result<KeyId, Error> {
        if self.version.is_none() {
            return Err(invalid("the version", "is missing"));
        }
        KeyId::new(self.to_string())
    }
}

/// The canonical form: host in lower case, name as it was given.
impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}/keys/{}", self.host, self.name)?;
        match &self.version {
            Some(version) => write!(f, "/{version}"),
            None => Ok(()),
        }
    }
}

/// The name of a key: 1 to 127 ASCII letters, digits and hyphens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeyName(Arc<str>);

impl KeyName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both name one key; case does not count.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl FromStr for KeyName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let fits = (1..=127).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(invalid(
                "the key's name",
                "is not 1 to 127 letters, digits and hyphens",
            ))
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of a key: 32 lower-case hexadecimal digits.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyVersion(Arc<str>);

impl KeyVersion {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyVersion {
    type Err = Error;

    fn from_str(version: &str) -> Result<Self, Error> {
        let fits = version.len() == 32
            && version
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if fits {
            Ok(Self(version.into()))
        } else {
            Err(invalid(
                "the version",
                "is not 32 lower-case hexadecimal digits",
            ))
        }
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value itself is not repeated: it may have come from hostile storage.
fn invalid(field: &str, fault: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("vault key id: {field} {fault}"),
    )
    .with_remedy("give https://VAULT/keys/NAME or https://VAULT/keys/NAME/VERSION, as `az keyvault key show --query key.kid` prints it")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERSION: &str = "0123456789abcdef0123456789abcdef";

    fn parse(url: &str) -> Result<KeyUrl, Error> {
        url.parse()
    }

    /// R16: the versioned id; R52: the versionless one; R54: China.
    #[test]
    fn ids_of_every_cloud_are_read() {
        for (host, service, cloud) in [
            ("kv-1.vault.azure.net", Service::KeyVault, Cloud::Public),
            ("kv1.vault.azure.cn", Service::KeyVault, Cloud::China),
            (
                "kv1.vault.usgovcloudapi.net",
                Service::KeyVault,
                Cloud::UsGovernment,
            ),
            (
                "kv1.vault.microsoftazure.de",
                Service::KeyVault,
                Cloud::Germany,
            ),
            (
                "hsm.managedhsm.azure.net",
                Service::ManagedHsm,
                Cloud::Public,
            ),
        ] {
            let versionless = parse(&format!("https://{host}/keys/etcd")).unwrap();
            assert_eq!(versionless.host().service(), service);
            assert_eq!(versionless.host().cloud(), cloud);
            assert_eq!(versionless.version(), None);
            assert_eq!(
                versionless.key_id().unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            let text = format!("https://{host}/keys/etcd/{VERSION}");
            let versioned = parse(&text).unwrap();
            assert_eq!(versioned.key_id().unwrap().as_str(), text);
            assert_eq!(versioned.without_version(), versionless);
            assert!(versioned.is_same_key(&versionless));
        }
    }

    #[test]
    fn case_counts_in_neither_host_nor_name() {
        let one = parse("https://KV1.Vault.Azure.NET/keys/Etcd").unwrap();
        let two = parse("https://kv1.vault.azure.net/keys/etcd").unwrap();
        assert_eq!(one.host(), two.host());
        assert!(one.is_same_key(&two));
        assert_eq!(one.to_string(), "https://kv1.vault.azure.net/keys/Etcd");
        assert_eq!(one.host().vault_name(), "kv1");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long_name = format!("https://kv1.vault.azure.net/keys/{}", "n".repeat(128));
        let long = format!("https://kv1.vault.azure.net/keys/{}", "n".repeat(1024));
        for (url, field) in [
            ("", "scheme"),
            ("http://kv1.vault.azure.net/keys/etcd", "scheme"),
            ("https://kv1.vault.azure.net", "path"),
            ("https:///keys/etcd", "host"),
            ("https://vault.azure.net/keys/etcd", "host"),
            ("https://kv.vault.azure.net/keys/etcd", "host"),
            ("https://a.b.vault.azure.net/keys/etcd", "host"),
            ("https://kv1.vault.azure.net.evil.example/keys/etcd", "host"),
            ("https://kv1-vault.azure.net/keys/etcd", "host"),
            ("https://user@kv1.vault.azure.net/keys/etcd", "host"),
            ("https://kv1.vault.azure.net#/keys/etcd", "host"),
            ("https://127.0.0.1/keys/etcd", "host"),
            ("https://[::1]/keys/etcd", "port"),
            ("https://kv1.vault.azure.net:443/keys/etcd", "port"),
            ("https://kv1.vault.azure.net:/keys/etcd", "port"),
            ("https://kv1.vault.azure.net:+80/keys/etcd", "port"),
            ("https://kv1.vault.azure.net/secrets/etcd", "path"),
            ("https://kv1.vault.azure.net//keys/etcd", "path"),
            ("https://kv1.vault.azure.net/keys", "name"),
            ("https://kv1.vault.azure.net/keys/", "name"),
            ("https://kv1.vault.azure.net/keys/a_b", "name"),
            ("https://kv1.vault.azure.net/keys/..", "name"),
            ("https://kv1.vault.azure.net/keys/a%2fb", "name"),
            ("https://kv1.vault.azure.net/keys/a?x=1", "name"),
            ("https://kv1.vault.azure.net/keys/etcd/", "version"),
            ("https://kv1.vault.azure.net/keys/etcd/1", "version"),
            (
                "https://kv1.vault.azure.net/keys/etcd/0123456789ABCDEF0123456789ABCDEF",
                "version",
            ),
            (
                "https://kv1.vault.azure.net/keys/etcd/0123456789abcdef0123456789abcdef/",
                "path",
            ),
            (&long_name, "name"),
            (&long, "1024"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.to_string().contains(field), "{url}: {error}");
        }
    }

    #[test]
    fn a_domain_of_ones_own_may_have_a_port() {
        let hosts = VaultHosts::default()
            .with_domain("vault.localtest", Service::KeyVault)
            .unwrap()
            .with_domain("127.0.0.1", Service::KeyVault)
            .unwrap();
        for url in [
            "https://kv1.vault.localtest:8443/keys/etcd",
            "https://vault.localtest/keys/etcd",
            "https://127.0.0.1:8443/keys/etcd",
        ] {
            let parsed = KeyUrl::parse(url, &hosts).unwrap();
            assert_eq!(parsed.to_string(), url);
            assert_eq!(parsed.host().cloud(), Cloud::Custom);
            assert!(parse(url).is_err());
        }
        for bad in [
            "https://a.b.vault.localtest/keys/x",
            "https://evil-vault.localtest/keys/x",
        ] {
            assert!(KeyUrl::parse(bad, &hosts).is_err(), "{bad}");
        }
        for bad in ["", ".", "a/b", "a:1", "-a", "a..b", "u@h"] {
            assert!(
                VaultHosts::default()
                    .with_domain(bad, Service::KeyVault)
                    .is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_answer_must_name_the_key_that_was_asked_for() {
        let asked = parse("https://kv1.vault.azure.net/keys/etcd").unwrap();
        let full = format!("https://kv1.vault.azure.net/keys/etcd/{VERSION}");
        let answered = asked.of_answer(&full).unwrap();
        assert_eq!(answered.to_string(), full);
        assert_eq!(
            answered.of_answer(&full.replace("kv1", "KV1")),
            Some(answered.clone())
        );
        for other in [
            "",
            "https://kv1.vault.azure.net/keys/etcd",
            "https://kv1.vault.azure.net/keys/etcd/1",
            &full.replace("etcd", "etce"),
            &full.replace("kv1", "kv2"),
            &full.replace("keys", "secrets"),
            &format!("{full}/x"),
        ] {
            assert_eq!(asked.of_answer(other), None, "{other}");
        }
        assert_eq!(answered.of_answer(&full.replace("0123", "1123")), None);
    }

    proptest! {
        #[test]
        fn what_is_read_is_canonical(url in r"https://[a-zA-Z0-9-]{1,26}\.(vault|Vault)\.azure\.net(:[0-9])?/keys/[a-zA-Z0-9./-]{1,20}(/[0-9a-f]{31,33})?") {
            if let Ok(parsed) = parse(&url) {
                let text = parsed.to_string();
                prop_assert!(text.eq_ignore_ascii_case(&url));
                prop_assert_eq!(parse(&text).unwrap(), parsed);
            }
        }

        #[test]
        fn nothing_panics(url in "(https://)?.{0,60}") {
            let _ = parse(&url);
        }
    }
}
