//! Docker's `config.json`: who holds credentials of which registry.

use core::fmt;
use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::{Zeroize as _, Zeroizing};

use super::credentials::{Credentials, Secret};
use crate::{Error, ErrorKind};

/// The longest file, in bytes.
const MAX_LEN: u64 = 1024 * 1024;
/// What Docker Hub is called here.
pub(super) const DOCKER_HUB: &str = "docker.io";

/// What Docker's configuration says about logging in.
#[derive(Default)]
pub struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    auths: Option<BTreeMap<String, Auth>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
    #[serde(rename = "email")]
    _email: Option<IgnoredAny>,
}

/// Who knows the credentials.
pub(super) enum Holder<'c> {
    /// The file itself.
    File(Credentials),
    /// A program `docker-credential-…` of this name.
    Helper(&'c str),
}

impl DockerConfig {
    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Registry`] if it is not of its form. The error does not show its content.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let found: Document = serde_json::from_str(json).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::new(
                ErrorKind::Registry,
                format!(
                    "Docker's configuration is not of its form at line {line}, column {column}"
                ),
            )
            .with_remedy("correct it, or log in again with `docker login`")
        })?;
        let by_registry = |key: String| registry_of(&key);
        let auths = found.auths.unwrap_or_default().into_iter();
        let helpers = found.cred_helpers.unwrap_or_default().into_iter();
        Ok(Self {
            auths: auths
                .filter_map(|(key, auth)| Some((by_registry(key)?, auth)))
                .collect(),
            helpers: helpers
                .filter_map(|(key, name)| Some((by_registry(key)?, name)))
                .collect(),
            store: found.creds_store.filter(|store| !store.is_empty()),
        })
    }

    /// Reads a `config.json`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if it cannot be read, and as [`DockerConfig::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&Zeroizing::new(crate::file::read_text(path, MAX_LEN)?))
    }

    /// Who knows the credentials of a registry: a helper of its own, the store for all, or the file.
    pub(super) fn holder(&self, registry: &str) -> Result<Option<Holder<'_>>, Error> {
        if let Some(helper) = self.helpers.get(registry) {
            return Ok(Some(Holder::Helper(helper)));
        }
        if let Some(credentials) = self.in_file(registry)? {
            return Ok(Some(Holder::File(credentials)));
        }
        Ok(self.store.as_deref().map(Holder::Helper))
    }

    fn in_file(&self, registry: &str) -> Result<Option<Credentials>, Error> {
        let Some(auth) = self.auths.get(registry) else {
            return Ok(None);
        };
        let filled = |secret: &Option<Secret>| secret.as_ref().filter(|it| !it.is_empty()).cloned();
        if let Some(token) = filled(&auth.registrytoken) {
            return Ok(Some(Credentials::RegistryToken(token)));
        }
        if let Some(token) = filled(&auth.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(token)));
        }
        if let Some(encoded) = filled(&auth.auth) {
            return decode(&encoded).map(Some).ok_or_else(|| {
                Error::new(
                    ErrorKind::Registry,
                    format!("`auth` of {registry} in Docker's configuration is not base64 of NAME:PASSWORD"),
                )
                .with_remedy("log in again with `docker login`")
            });
        }
        match (&auth.username, filled(&auth.password)) {
            (Some(name), Some(password)) => Ok(Some(Credentials::Password {
                name: name.clone(),
                password,
            })),
            // With a store, the file lists a registry and holds nothing of it.
            _ => Ok(None),
        }
    }
}

/// Without what it holds.
impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig")
            .field("registries", &self.auths.keys())
            .field("helpers", &self.helpers)
            .field("store", &self.store)
            .finish()
    }
}

/// The registry that a key stands for: a host, or a URL as Docker used to write it. None for the
/// longer keys of other tools, which are for a part of a registry.
fn registry_of(key: &str) -> Option<String> {
    let rest = key.strip_prefix("https://").unwrap_or(key);
    let rest = rest.strip_prefix("http://").unwrap_or(rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(path, "" | "v1" | "v1/" | "v2" | "v2/") {
        return None;
    }
    let host = host.to_ascii_lowercase();
    Some(match &*host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        _ => host,
    })
}

fn decode(encoded: &str) -> Option<Credentials> {
    let encoded = encoded.trim();
    let bytes = STANDARD
        .decode(encoded)
        .or_else(|_| STANDARD_NO_PAD.decode(encoded));
    let mut text = match String::from_utf8(bytes.ok()?) {
        Ok(text) => text,
        Err(error) => {
            error.into_bytes().zeroize();
            return None;
        }
    };
    let credentials = text
        .split_once(':')
        .map(|(name, password)| Credentials::Password {
            name: name.to_owned(),
            password: Secret::new(password.trim_end_matches('\0')),
        });
    text.zeroize();
    credentials
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &DockerConfig, registry: &str) -> String {
        match config.holder(registry).unwrap() {
            None => "nobody".to_owned(),
            Some(Holder::Helper(name)) => format!("helper {name}"),
            Some(Holder::File(Credentials::Password { name, password })) => {
                format!("{name} {}", &*password)
            }
            Some(Holder::File(Credentials::IdentityToken(token))) => {
                format!("identity {}", &*token)
            }
            Some(Holder::File(Credentials::RegistryToken(token))) => {
                format!("registry {}", &*token)
            }
        }
    }

    #[test]
    fn credentials_are_found_as_docker_finds_them() {
        // "me:pa:ss", "hub:x".
        let config = DockerConfig::parse(
            r#"{"auths":{
                "a.example:5000":{"auth":"bWU6cGE6c3M="},
                "https://b.example/v2/":{"identitytoken":"idt","auth":"bWU6cGE6c3M="},
                "c.example":{"username":"u","password":"p","email":"x@y"},
                "d.example":{"registrytoken":"rt"},
                "e.example":{},
                "f.example/part":{"auth":"bWU6cGE6c3M="},
                "https://index.docker.io/v1/":{"auth":"aHViOng="}},
              "credHelpers":{"g.example":"one","a.example":"two"},
              "credsStore":"all","HttpHeaders":{"x":"y"}}"#,
        )
        .unwrap();
        for (registry, expected) in [
            ("a.example:5000", "me pa:ss"),
            ("a.example", "helper two"),
            ("b.example", "identity idt"),
            ("c.example", "u p"),
            ("d.example", "registry rt"),
            ("e.example", "helper all"),
            ("f.example", "helper all"),
            ("g.example", "helper one"),
            ("docker.io", "hub x"),
            ("elsewhere.example", "helper all"),
        ] {
            assert_eq!(of(&config, registry), expected, "{registry}");
        }
        let none = DockerConfig::parse("{}").unwrap();
        assert_eq!(of(&none, "a.example"), "nobody");
    }

    #[test]
    fn nothing_shows_what_it_holds() {
        let text = r#"{"auths":{"a.example":{"auth":"bWU6aHVudGVyMg==","password":"hunter2"}}}"#;
        let config = DockerConfig::parse(text).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        for bad in [
            r#"{"auths":{"a":{"auth":["hunter2"]}}}"#,
            r#"{"auths":"hunter2"}"#,
            "hunter2",
        ] {
            let error = DockerConfig::parse(bad).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{error}");
        }
        let bad = DockerConfig::parse(r#"{"auths":{"a.example":{"auth":"hunter2!"}}}"#).unwrap();
        let error = bad.holder("a.example").err().unwrap();
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error}");
    }
}
