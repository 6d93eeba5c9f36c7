//! Would this cluster come back after a restart?

use core::time::Duration;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use kms_core::{
    CallOptions, Clock, KeyProvider, OsRandom, SecretBytes, UnwrapOptions, WrapOptions,
};
use kms_envelope::kubernetes::{ConfiguredNames, KmsApiVersion, KmsConfiguration};
use kms_envelope::reencrypt::DamagedObject;
use serde::Serialize;

use super::ObjectOpener;
use crate::Failure;

/// What stands in the way of an API server that starts, if anything does.
///
/// kube-apiserver asks each KMS for Status and Encrypt before it reads anything through it, and
/// does not become ready while one object of a resource that it watches does not open.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// Whether nothing that was looked at stands in the way.
    pub would_start: bool,
    /// Every KMS of the configuration.
    pub plugins: Vec<PluginCheck>,
    /// Objects that opened.
    pub opened: u64,
    /// Of these, objects that are not under the key that is written with: a rewrite would change
    /// them. Not in the way.
    pub stale: u64,
    /// Objects that did not open.
    pub failed: u64,
    /// Why they did not, by what they are under.
    pub blockers: Vec<Blocker>,
}

/// What one KMS answered.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PluginCheck {
    /// Its name in the configuration.
    pub name: String,
    /// `v1` or `v2`.
    pub api_version: &'static str,
    /// Who was asked.
    pub provider: String,
    /// Whether it answered Status and Encrypt; for KMS v1, Encrypt and Decrypt.
    pub ok: bool,
    /// The key that it encrypts with.
    pub key_id: Option<String>,
    /// What it failed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Objects that do not open for one reason.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Blocker {
    /// The prefix of their values, as the rows of the census have it.
    pub prefix: String,
    /// KMS v2: the key id that they name.
    pub key_id: Option<String>,
    /// A stable lower-case name of the reason.
    pub kind: &'static str,
    /// The reason, of the example.
    pub reason: String,
    /// What to do.
    pub remedy: String,
    /// How many there are.
    pub objects: u64,
    /// The first of them in the order of keys.
    pub example: String,
}

/// Objects that are named; more are counted.
const MAX_NAMED: usize = 10_000;

/// Collects verdicts about objects.
#[derive(Debug)]
pub(super) struct Verifier {
    /// To split prefixes with, as the census does.
    names: ConfiguredNames,
    opened: u64,
    stale: u64,
    failed: u64,
    blockers: BTreeMap<(String, Option<String>, &'static str), Blocker>,
    pub(super) damaged: Vec<DamagedObject>,
}

impl Verifier {
    pub(super) fn new(opener: &ObjectOpener) -> Self {
        Self {
            names: opener.names(),
            opened: 0,
            stale: 0,
            failed: 0,
            blockers: BTreeMap::new(),
            damaged: Vec::new(),
        }
    }

    /// Tries to open one object.
    pub(super) async fn check(&mut self, opener: &mut ObjectOpener, key: &[u8], value: &[u8]) {
        match opener.open(key, value).await {
            Ok(opened) => {
                self.opened = self.opened.saturating_add(1);
                self.stale = self.stale.saturating_add(opened.is_stale().into());
            }
            Err(error) => self.fail(key, value, &error),
        }
    }

    fn fail(&mut self, key: &[u8], value: &[u8], error: &kms_envelope::Error) {
        self.failed = self.failed.saturating_add(1);
        let (prefix, key_id) = match self.names.inspect(value) {
            Ok(found) => (found.prefix(), found.key_id.map(str::to_owned)),
            Err(damaged) => (damaged.prefix(), None),
        };
        let kind = match error.provider_error() {
            Some(cause) => cause.kind().as_str(),
            None => error.kind().as_str(),
        };
        self.block(Blocker {
            prefix,
            key_id,
            kind,
            reason: with_cause(error),
            remedy: error.remedy().to_owned(),
            objects: 1,
            example: key.escape_ascii().to_string(),
        });
        if self.damaged.len() < MAX_NAMED {
            self.damaged
                .push(DamagedObject::does_not_open(key, value, with_cause(error)));
        }
    }

    /// Counts objects with others of the same reason. Of the examples the first in order stays,
    /// whatever order they come in.
    fn block(&mut self, new: Blocker) {
        let reason = (new.prefix.clone(), new.key_id.clone(), new.kind);
        match self.blockers.entry(reason) {
            Entry::Vacant(entry) => drop(entry.insert(new)),
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                let objects = known.objects.saturating_add(new.objects);
                if new.example < known.example {
                    *known = new;
                }
                known.objects = objects;
            }
        }
    }

    /// Adds what another thread found.
    pub(super) fn merge(&mut self, other: Self) {
        self.opened = self.opened.saturating_add(other.opened);
        self.stale = self.stale.saturating_add(other.stale);
        self.failed = self.failed.saturating_add(other.failed);
        for blocker in other.blockers.into_values() {
            self.block(blocker);
        }
        self.damaged.extend(other.damaged);
        self.damaged.truncate(MAX_NAMED);
    }

    pub(super) fn finish(self, plugins: Vec<PluginCheck>) -> (Verification, Vec<DamagedObject>) {
        let verification = Verification {
            would_start: self.failed == 0 && plugins.iter().all(|plugin| plugin.ok),
            plugins,
            opened: self.opened,
            stale: self.stale,
            failed: self.failed,
            blockers: self.blockers.into_values().collect(),
        };
        (verification, self.damaged)
    }
}

fn with_cause(error: &kms_envelope::Error) -> String {
    match error.provider_error() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Asks every KMS what an API server asks it when it starts.
pub(super) async fn check_plugins(opener: &ObjectOpener, clock: &dyn Clock) -> Vec<PluginCheck> {
    let checks = opener
        .plugins()
        .map(|(kms, provider)| check_plugin(kms, &**provider, clock));
    futures_util::future::join_all(checks).await
}

pub(super) async fn check_plugin(
    kms: &KmsConfiguration,
    provider: &dyn KeyProvider,
    clock: &dyn Clock,
) -> PluginCheck {
    let api_version = match kms.api_version {
        KmsApiVersion::V1 => "v1",
        KmsApiVersion::V2 => "v2",
    };
    let result = match kms.api_version {
        KmsApiVersion::V1 => encrypt_and_decrypt(provider, kms.timeout, clock).await,
        KmsApiVersion::V2 => status_and_encrypt(provider, kms.timeout, clock).await,
    };
    let mut check = PluginCheck {
        name: kms.name.clone(),
        api_version,
        provider: provider.to_string(),
        ok: result.is_ok(),
        key_id: None,
        reason: None,
        remedy: None,
    };
    match result {
        Ok(key_id) => check.key_id = key_id,
        Err(error) => {
            check.reason = Some(error.to_string());
            check.remedy = Some(error.remedy().to_owned());
        }
    }
    check
}

async fn status_and_encrypt(
    provider: &dyn KeyProvider,
    timeout: Duration,
    clock: &dyn Clock,
) -> Result<Option<String>, Failure> {
    let call = || CallOptions::default().with_deadline(clock.now() + timeout);
    let key = provider.current_key(&call()).await?;
    let dek = SecretBytes::random(&OsRandom, 32)?;
    let wrapped = provider
        .wrap(&dek, &WrapOptions::default().with_call(call()))
        .await?;
    if wrapped.key_id() == Some(&key.id) {
        return Ok(Some(key.id.to_string()));
    }
    // A plugin that looks for a new key now and then finds it when it is to encrypt. An API server
    // asks again, too, after some seconds.
    let key = provider.current_key(&call()).await?;
    if wrapped.key_id() == Some(&key.id) {
        return Ok(Some(key.id.to_string()));
    }
    Err(Failure::new(
        kms_core::ErrorKind::Protocol.as_str(),
        "Encrypt uses another key than Status tells",
        "try again: the key is being rotated; if it stays so, check the version and health of the plugin",
    ))
}

async fn encrypt_and_decrypt(
    provider: &dyn KeyProvider,
    timeout: Duration,
    clock: &dyn Clock,
) -> Result<Option<String>, Failure> {
    let call = || CallOptions::default().with_deadline(clock.now() + timeout);
    let dek = SecretBytes::random(&OsRandom, 32)?;
    let wrapped = provider
        .wrap(&dek, &WrapOptions::default().with_call(call()))
        .await?;
    let opened = provider
        .unwrap(&wrapped, &UnwrapOptions::default().with_call(call()))
        .await?;
    if opened != dek {
        let kind = kms_core::ErrorKind::Protocol;
        return Err(Failure::new(
            kind.as_str(),
            "Decrypt gives another plaintext than was encrypted",
            kind.remedy(),
        ));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use core::fmt;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use kms_core::{Capabilities, KeyId, KeyInfo, KeyState, TokioClock, WrappedKey};

    use super::*;

    /// Tells these keys, one after the other, and encrypts with `new`.
    #[derive(Debug)]
    struct Plugin(Mutex<Vec<&'static str>>);

    impl fmt::Display for Plugin {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("plugin")
        }
    }

    #[async_trait]
    impl KeyProvider for Plugin {
        fn capabilities(&self) -> Capabilities {
            Capabilities::basic()
        }

        async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, kms_core::Error> {
            let id = self.0.lock().unwrap().remove(0);
            Ok(KeyInfo::new(KeyId::new(id)?, KeyState::Enabled))
        }

        async fn wrap(
            &self,
            _: &SecretBytes,
            _: &WrapOptions,
        ) -> Result<WrappedKey, kms_core::Error> {
            WrappedKey::new(KeyId::new("new")?, b"wrapped".to_vec())
        }

        async fn unwrap(
            &self,
            _: &WrappedKey,
            _: &UnwrapOptions,
        ) -> Result<SecretBytes, kms_core::Error> {
            Err(kms_core::Error::crypto())
        }
    }

    #[tokio::test]
    async fn status_is_asked_once_more_if_encrypt_uses_another_key() {
        let ask = |told: &[&'static str]| {
            let plugin = Plugin(Mutex::new(told.to_vec()));
            async move {
                let timeout = Duration::from_secs(3);
                status_and_encrypt(&plugin, timeout, &TokioClock::new()).await
            }
        };
        for told in [&["new"][..], &["old", "new"]] {
            assert_eq!(ask(told).await.unwrap().as_deref(), Some("new"));
        }
        let failure = ask(&["old", "old", "new"]).await.unwrap_err();
        assert_eq!(failure.kind(), "protocol");
        assert!(failure.remedy().contains("being rotated"), "{failure:?}");
    }
}
