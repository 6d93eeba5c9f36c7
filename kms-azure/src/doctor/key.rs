//! What the vault's description of a key says, without another call.

use core::time::Duration;
use std::time::SystemTime;

use jiff::Timestamp;
use kms_core::KeyState;

use super::check::Finding;
use super::commands::Commands;
use crate::error::Operation;
use crate::key_url::Service;
use crate::provider::{AesMode, Operations};
use crate::vault::{KeyBundle, KeyKind, VersionFacts};

const DAY: u64 = 24 * 3600;
/// Documented for a key of a Managed HSM, rotations included.
const HSM_VERSIONS: usize = 100;
/// With this many left it is time to plan.
const HSM_VERSIONS_LEFT: usize = 10;

pub(super) fn state(facts: &VersionFacts, now: SystemTime, commands: &Commands) -> Finding {
    let name = short_name(facts);
    match facts.state(now) {
        KeyState::Disabled => Finding::fail(format!("{name} is disabled"), commands.enable()),
        KeyState::Expired => Finding::fail(
            format!(
                "{name} expired on {}: it does not wrap any more, though it goes on unwrapping{}",
                date(facts.expires),
                commands.rotation_note()
            ),
            commands.extend_expiry(),
        ),
        KeyState::NotYetValid => Finding::fail(
            format!("{name} begins on {} only", date(facts.not_before)),
            commands.begin_now(),
        ),
        _ => Finding::ok(format!(
            "{name} is enabled, made on {}",
            date(Some(facts.created))
        )),
    }
}

/// `None` if the key has ended: the state says so.
pub(super) fn expiry(
    facts: &VersionFacts,
    now: SystemTime,
    ahead: Duration,
    commands: &Commands,
) -> Option<Finding> {
    let Some(end) = facts.expires else {
        return Some(Finding::ok("it has no end"));
    };
    let left = end
        .duration_since(now)
        .ok()
        .filter(|left| !left.is_zero())?;
    let days = left.as_secs().checked_div(DAY).unwrap_or_default();
    let evidence = format!("it ends on {}, in {days} days", date(Some(end)));
    Some(if left < ahead {
        let note = commands.rotation_note();
        Finding::warn(
            format!("{evidence}: rotate before that, and rewrite what is stored{note}"),
            commands.rotate(),
        )
    } else {
        Finding::ok(evidence)
    })
}

pub(super) fn kind(kind: &KeyKind, commands: &Commands) -> Finding {
    match kind {
        KeyKind::Rsa { bits, hsm } => {
            let place = if *hsm { " in an HSM" } else { "" };
            Finding::ok(format!("RSA of {bits} bits{place}, by RSA-OAEP-256"))
        }
        KeyKind::Aes => Finding::ok("AES in a Managed HSM"),
        KeyKind::Unsuitable(what) => Finding::fail(
            format!(
                "the key is {what}: it can sign, but neither wrap nor encrypt, whatever roles are granted"
            ),
            commands.make_rsa_key(),
        ),
    }
}

pub(super) fn operations(bundle: &KeyBundle, used: Operations, commands: &Commands) -> Finding {
    let lacking: Vec<&str> = pair(used)
        .into_iter()
        .filter(|operation| !bundle.allows(*operation))
        .map(Operation::as_str)
        .collect();
    let all = if bundle.operations.is_empty() {
        "it names none, so allows all".to_owned()
    } else {
        format!("it allows {}", bundle.operations.join(" "))
    };
    if lacking.is_empty() {
        return Finding::ok(all);
    }
    Finding::fail(
        format!("{all}; {} not", lacking.join(" and ")),
        commands.allow_operations(),
    )
}

/// What a key of this kind is used by, whatever is wished for.
pub(super) const fn effective(kind: &KeyKind, wished: Operations, aes: AesMode) -> Operations {
    match (kind, aes) {
        (KeyKind::Aes, AesMode::Gcm(_)) => Operations::EncryptDecrypt,
        (KeyKind::Aes, AesMode::KeyWrap(_)) => Operations::WrapUnwrap,
        _ => wished,
    }
}

/// What wraps and what unwraps.
pub(super) const fn pair(operations: Operations) -> [Operation; 2] {
    match operations {
        Operations::WrapUnwrap => [Operation::WrapKey, Operation::UnwrapKey],
        Operations::EncryptDecrypt => [Operation::Encrypt, Operation::Decrypt],
    }
}

pub(super) fn recovery(facts: &VersionFacts, commands: &Commands) -> Finding {
    match facts.recovery_level.as_deref() {
        None => Finding::unknown("the vault does not say", commands.recovery_level()),
        Some("Purgeable") => Finding::fail(
            "recovery level Purgeable: a deleted key is gone, and all that it wrapped with it; purge protection, once on, stays on",
            commands.protect_from_purge(),
        ),
        Some(level) if level.contains("Purgeable") => Finding::warn(
            format!(
                "recovery level {level}: a deleted key can be purged before its time; purge protection, once on, stays on"
            ),
            commands.protect_from_purge(),
        ),
        Some(level) => Finding::ok(format!("recovery level {level}")),
    }
}

pub(super) fn versions(list: &[VersionFacts], service: Service, now: SystemTime) -> Finding {
    let enabled = list.iter().filter(|facts| facts.enabled).count();
    let ended = list
        .iter()
        .filter(|facts| facts.state(now) == KeyState::Expired)
        .count();
    let evidence = format!("all: {}, enabled: {enabled}, expired: {ended}", list.len());
    let is_near = list.len() >= HSM_VERSIONS.saturating_sub(HSM_VERSIONS_LEFT);
    if service == Service::ManagedHsm && is_near {
        return Finding::warn(
            format!("{evidence}; a Managed HSM takes {HSM_VERSIONS}"),
            "make a key of another name and move over to it",
        );
    }
    Finding::ok(evidence)
}

fn short_name(facts: &VersionFacts) -> String {
    let version = facts.url.version().map(ToString::to_string);
    format!("version {}", version.unwrap_or_default())
}

fn date(time: Option<SystemTime>) -> String {
    let timestamp = time.and_then(|time| Timestamp::try_from(time).ok());
    timestamp.map_or_else(
        || "a date that cannot be shown".to_owned(),
        |it| it.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::check::Status;
    use super::*;
    use crate::key_url::KeyUrl;

    fn facts() -> VersionFacts {
        let url: KeyUrl = "https://kv1.vault.azure.net/keys/etcd/0123456789abcdef0123456789abcdef"
            .parse()
            .unwrap();
        VersionFacts {
            url,
            enabled: true,
            created: UNIX_EPOCH,
            updated: UNIX_EPOCH,
            not_before: None,
            expires: None,
            recovery_level: None,
        }
    }

    fn commands() -> Commands {
        Commands::new(facts().url, Operations::WrapUnwrap)
    }

    /// R7.
    #[test]
    fn every_recovery_level_is_judged() {
        for (level, status) in [
            (None, Status::Unknown),
            (Some("Purgeable"), Status::Fail),
            (Some("Recoverable+Purgeable"), Status::Warn),
            (Some("CustomizedRecoverable+Purgeable"), Status::Warn),
            (Some("Recoverable"), Status::Ok),
            (Some("Recoverable+ProtectedSubscription"), Status::Ok),
            (Some("CustomizedRecoverable"), Status::Ok),
            (
                Some("CustomizedRecoverable+ProtectedSubscription"),
                Status::Ok,
            ),
        ] {
            let mut facts = facts();
            facts.recovery_level = level.map(str::to_owned);
            let finding = recovery(&facts, &commands());
            assert_eq!(finding.status, status, "{level:?}");
            assert_eq!(finding.remedy.is_none(), status == Status::Ok);
        }
    }

    /// R44.
    #[test]
    fn the_expiry_is_warned_of_from_its_very_second() {
        let ahead = Duration::from_secs(30 * DAY);
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let end = 100 * DAY;
        let mut facts = facts();
        facts.expires = Some(at(end));
        let status = |now| expiry(&facts, at(now), ahead, &commands()).map(|found| found.status);
        assert_eq!(status(70 * DAY), Some(Status::Ok));
        assert_eq!(status(70 * DAY + 1), Some(Status::Warn));
        assert_eq!(status(end - 1), Some(Status::Warn));
        assert_eq!(status(end), None);
    }

    #[test]
    fn a_managed_hsms_bound_of_versions_is_warned_of() {
        let list = vec![facts(); 90];
        let status = |service, count| versions(&list[..count], service, UNIX_EPOCH).status;
        assert_eq!(status(Service::ManagedHsm, 89), Status::Ok);
        assert_eq!(status(Service::ManagedHsm, 90), Status::Warn);
        assert_eq!(status(Service::KeyVault, 90), Status::Ok);
    }
}
