//! `kms key …`

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kms::Failure;
use kms::provider::{Environment, LocalUri, ProviderUri, read_passphrase};
use kms::read_secret;
use kms_core::local::{KeyringVersion, LocalProvider, PassphraseCost};
use kms_core::{
    CallOptions, Clock, KeyId, KeyInfo, KeyProvider as _, OsRandom, SecretBytes, UnwrapOptions,
    WrapOptions,
};
use serde_json::{Value, json};

use super::{print, print_line};
use crate::args::{Key, KeyDestroy, KeyImport, KeyLook, KeyPassphrase, KeyVersion};

const KEY_LEN: usize = 32;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a provider may take to prove that it works.
const STATUS_LIMIT: Duration = Duration::from_secs(10);

pub(crate) async fn run(command: Key, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    if let Key::Status(look) = &command {
        return status(look, clock).await;
    }
    let Some(target) = command.target() else {
        return Err(Failure::usage(
            "this is about no provider",
            "see `kms key --help`",
        ));
    };
    if let Key::List(look) = &command
        && !target.provider.parse::<ProviderUri>()?.is_local()
    {
        return list(look, clock).await;
    }
    let uri = target.provider.parse::<ProviderUri>()?.into_local()?;
    let (keys, said) = change(&command, &uri, clock)?;
    if target.json {
        return print_line(&json!({ "keys": keys.iter().map(as_json).collect::<Vec<_>>() }));
    }
    if !said.is_empty() {
        eprintln!("kms: {said}");
    }
    print(table(&keys).as_bytes())
}

/// Carries a command out. Returns the versions to show, and what to say about it.
fn change(
    command: &Key,
    uri: &LocalUri,
    clock: Arc<dyn Clock>,
) -> Result<(Vec<KeyringVersion>, &'static str), Failure> {
    if matches!(command, Key::Create(_)) {
        return Ok((
            uri.create(clock)?.list()?,
            "created; keep a backup of this file",
        ));
    }
    let keyring: LocalProvider = uri.open(clock)?;
    Ok(match command {
        Key::Rotate(_) => (
            vec![keyring.rotate()?],
            "rotated; older versions go on unwrapping, and a plugin that runs notices within its --poll",
        ),
        Key::Import(KeyImport { file, .. }) => (
            vec![keyring.import(read_key(file)?)?],
            "imported; it is the current version now",
        ),
        Key::Passphrase(KeyPassphrase {
            new_passphrase_file,
            ..
        }) => {
            let passphrase = new_passphrase_file
                .as_deref()
                .map(read_passphrase)
                .transpose()?;
            keyring.change_passphrase(passphrase.as_ref(), PassphraseCost::default())?;
            let said = if passphrase.is_some() {
                "changed; programs that have the keyring open must open it again"
            } else {
                "the keyring has no passphrase now: its keys lie in clear in the file"
            };
            (keyring.list()?, said)
        }
        Key::Disable(key) => (
            vec![keyring.disable(number(key, &keyring)?)?],
            "disabled. Who has its DEKs in memory goes on with them: a plugin for a while, kube-apiserver for a day or more. That nothing breaks proves nothing",
        ),
        Key::Enable(key) => (vec![keyring.enable(number(key, &keyring)?)?], "enabled"),
        Key::Destroy(KeyDestroy { key, grace_days }) => {
            let grace = DAY.saturating_mul(*grace_days);
            let changed = keyring.schedule_destruction(number(key, &keyring)?, grace)?;
            (
                vec![changed],
                "out of use; `kms key restore` saves it until it is purged. `kms key plan-retire` says whether something still needs it",
            )
        }
        Key::Restore(key) => (
            vec![keyring.cancel_destruction(number(key, &keyring)?)?],
            "saved; enable it to use it",
        ),
        Key::Purge(_) => {
            let destroyed = keyring.destroy_due()?;
            let said = if destroyed.is_empty() {
                "nothing was due"
            } else {
                "destroyed"
            };
            (destroyed, said)
        }
        Key::Create(_) | Key::List(_) | Key::Status(_) | Key::PlanRetire(_) | Key::Retire(_) => {
            (keyring.list()?, "")
        }
    })
}

/// The number of the version that is meant.
fn number(key: &KeyVersion, keyring: &LocalProvider) -> Result<u32, Failure> {
    if let Ok(number) = key.version.parse() {
        return Ok(number);
    }
    let versions = keyring.list()?;
    let meant = versions
        .iter()
        .find(|version| version.info.id.as_str() == key.version);
    meant.map(|version| version.version).ok_or_else(|| {
        Failure::usage(
            "the version is neither a number nor a key id of this keyring",
            "give what `kms key list` shows",
        )
    })
}

fn read_key(path: &Path) -> Result<SecretBytes, Failure> {
    let key = read_secret(path, KEY_LEN)?;
    if key.len() == KEY_LEN {
        return Ok(key);
    }
    Err(Failure::new(
        "invalid_input",
        format!(
            "{} holds {} bytes, and a key has {KEY_LEN}",
            path.display(),
            key.len()
        ),
        "give the raw key, for example of `head -c 32 /dev/urandom`",
    ))
}

/// Lists the versions that a provider of another kind than a keyring tells of.
async fn list(look: &KeyLook, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let uri: ProviderUri = look.target.provider.parse()?;
    let mut environment = Environment::with_azure(Arc::clone(&clock), look.azure.options());
    let provider = uri.open(&mut environment)?;
    let call = CallOptions::default().with_deadline(clock.now() + STATUS_LIMIT);
    let keys = provider.list_keys(&call).await?;
    // A key that cannot wrap any more is worth listing too.
    let current = provider.current_key(&call).await;
    if let Err(error) = &current {
        eprintln!("kms: nothing wraps: {error}");
    }
    let current = current.ok().map(|key| key.id);
    let versions = by_version(&keys);
    let is_current = |version: &Version<'_>| current.as_ref().is_some_and(|id| version.has(id));
    if look.target.json {
        let keys: Vec<Value> = versions
            .iter()
            .map(|version| {
                let key = version.key;
                json!({
                    "version": key.version,
                    "key_id": key.id.as_str(),
                    "other_key_ids": version.others,
                    "state": key.state.as_str(),
                    "current": is_current(version),
                    "created": key.created.map(timestamp),
                    "not_before": key.not_before.map(timestamp),
                    "expires": key.expires.map(timestamp),
                })
            })
            .collect();
        return print_line(&json!({ "keys": keys }));
    }
    let mut text =
        String::from("   STATE          CREATED               EXPIRES               KEY ID\n");
    for version in &versions {
        let key = version.key;
        let mark = if is_current(version) { "*" } else { " " };
        let created = key.created.map(timestamp).unwrap_or_default();
        let expires = key.expires.map(timestamp).unwrap_or_default();
        let others: String = version.others.iter().map(|id| format!(" = {id}")).collect();
        let line = format!(
            "{mark}  {:<13}  {created:<20}  {expires:<20}  {}{others}\n",
            key.state, key.id
        );
        text.push_str(&line);
    }
    print(text.as_bytes())
}

/// One version, under the id that is written now, and those that data may stand under besides.
struct Version<'a> {
    key: &'a KeyInfo,
    others: Vec<&'a str>,
}

impl Version<'_> {
    fn has(&self, id: &KeyId) -> bool {
        self.key.id == *id || self.others.contains(&id.as_str())
    }
}

/// A provider that lists a version under several ids does so in one go, the one that it writes
/// last.
fn by_version(keys: &[KeyInfo]) -> Vec<Version<'_>> {
    let mut versions: Vec<Version<'_>> = Vec::new();
    for key in keys {
        match versions.last_mut() {
            Some(last) if key.version.is_some() && last.key.version == key.version => {
                last.others.push(last.key.id.as_str());
                last.key = key;
            }
            _ => versions.push(Version {
                key,
                others: Vec::new(),
            }),
        }
    }
    versions
}

/// Wraps and unwraps 32 random bytes, and tells with which key.
async fn status(look: &KeyLook, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let target = &look.target;
    let uri: ProviderUri = target.provider.parse()?;
    let name = uri.to_string();
    let mut environment = Environment::with_azure(Arc::clone(&clock), look.azure.options());
    let provider = uri.open(&mut environment)?;
    let start = clock.now();
    let call = CallOptions::default().with_deadline(start + STATUS_LIMIT);
    let key = provider.current_key(&call).await?;
    let probe = SecretBytes::random(&OsRandom, 32)?;
    let wrapped = provider
        .wrap(&probe, &WrapOptions::default().with_call(call.clone()))
        .await?;
    let opened = provider
        .unwrap(&wrapped, &UnwrapOptions::default().with_call(call))
        .await?;
    if opened != probe {
        return Err(Failure::new(
            "protocol",
            format!("{name} unwrapped to other bytes than it had wrapped"),
            "do not use this provider",
        ));
    }
    let took = clock.now().since(start);
    if target.json {
        return print_line(&json!({
            "provider": name,
            "key_id": key.id.as_str(),
            "version": key.version,
            "state": key.state.as_str(),
            "algorithm": key.algorithm,
            "wraps": true,
            "unwraps": true,
            "probe_ms": took.as_secs_f64() * 1e3,
        }));
    }
    print_line(&format_args!(
        "{name}: wraps and unwraps with key id {} ({}), in {:.1} ms",
        key.id,
        key.state,
        took.as_secs_f64() * 1e3
    ))
}

fn as_json(key: &KeyringVersion) -> Value {
    json!({
        "version": key.version,
        "key_id": key.info.id.as_str(),
        "state": key.info.state.as_str(),
        "current": key.current,
        "imported": key.imported,
        "created": key.info.created.map(timestamp),
        "destroy_due": key.destroy_due.map(timestamp),
    })
}

fn table(keys: &[KeyringVersion]) -> String {
    let mut text = String::new();
    if !keys.is_empty() {
        text.push_str("VERSION  STATE                CREATED               KEY ID\n");
    }
    for key in keys {
        let current = if key.current { "*" } else { " " };
        let created = key.info.created.map(timestamp).unwrap_or_default();
        let due = key
            .destroy_due
            .map(|due| format!("  (from {} on)", timestamp(due)));
        text.push_str(&format!(
            "{:>6}{current}  {:<19}  {created:<20}  {}{}\n",
            key.version,
            key.info.state,
            key.info.id,
            due.unwrap_or_default()
        ));
    }
    text
}

/// RFC 3339, to the second, in UTC.
fn timestamp(time: SystemTime) -> String {
    let since = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let seconds = i64::try_from(since).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_second(seconds) {
        Ok(timestamp) => timestamp.to_string(),
        // Beyond the year 9999.
        Err(_) => format!("@{since}"),
    }
}
