//! How much of a vault's limits a plugin takes: measured here, and foretold for a plugin that is
//! set up as the options say.

use core::time::Duration;

use super::check::Finding;
use super::options::DoctorOptions;
use crate::key_url::Service;
use crate::vault::{DEFAULT_UNITS, KeyKind, READ_UNITS, VaultCalls};

/// What a vault takes in 10 s, in operations of RSA-2048 keys in software, as documented in 2026.
const VAULT_UNITS: u32 = 4000;
const WINDOW_SECONDS: u32 = 10;
const HOUR: Duration = Duration::from_secs(3600);
/// kube-apiserver waits no longer for a DEK.
const PATIENCE_SECONDS: u32 = 3;

/// What this examination has used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) calls: VaultCalls,
    pub(super) time: Duration,
}

/// Judges it; the evidence alone if the vault has throttled.
pub(super) fn call_rate(
    kind: &KeyKind,
    service: Service,
    options: &DoctorOptions,
    measured: Measured,
) -> Result<Finding, String> {
    let Measured { calls, time } = measured;
    let here = format!(
        "this examination made {} calls of {} units in {} ms, and the vault throttled {} of them",
        calls.calls,
        calls.units,
        time.as_millis(),
        calls.throttled
    );
    if calls.throttled > 0 {
        return Err(format!(
            "{here}: its limits are used up, by whoever uses it"
        ));
    }
    let limit = Limit::of(kind, service);
    let evidence = format!(
        "{here}; {}; {}",
        steady(kind, options, &limit),
        limit.text()
    );
    let Some(deks) = options.deks else {
        return Ok(Finding::ok(format!(
            "{evidence}. API servers that start ask for each of their DEKs once; {} at once are \
             answered in time, and `kms census` counts how many there are",
            limit.in_time()
        )));
    };
    let wait = limit.wait_seconds(deks);
    let restart = format!("{evidence}; a restart asks for {deks} DEKs, the last after {wait} s");
    if wait < PATIENCE_SECONDS {
        return Ok(Finding::ok(restart));
    }
    Ok(Finding::warn(
        format!("{restart}, and kube-apiserver waits {PATIENCE_SECONDS}"),
        "restart API servers one after the other, or rewrite objects so that they share DEKs, or \
         use a smaller key",
    ))
}

/// What a plugin costs that nobody asks for anything but Status.
fn steady(kind: &KeyKind, options: &DoctorOptions, limit: &Limit) -> String {
    let in_an_hour = |interval: Duration| {
        let interval = interval.as_secs().max(1);
        HOUR.as_secs().div_ceil(interval)
    };
    let polls = in_an_hour(options.poll_interval);
    let proofs = in_an_hour(options.proof_interval);
    let wraps = if options.wraps_remotely || !matches!(kind, KeyKind::Rsa { .. }) {
        proofs
    } else {
        0
    };
    let units = u64::from(kind.units())
        .saturating_mul(proofs.saturating_add(wraps))
        .saturating_add(polls.saturating_mul(READ_UNITS.into()));
    let calls = polls.saturating_add(proofs).saturating_add(wraps);
    let share = limit
        .share_of_hour(units)
        .map_or_else(String::new, |share| {
            format!(", {share:.4} % of what the vault takes")
        });
    format!(
        "a plugin set up like this makes {calls} calls in an hour ({polls} looks at the key, \
         {proofs} unwraps and {wraps} wraps to prove itself){share}, and one for each DEK that it \
         does not have in memory"
    )
}

/// What the service takes of one key.
enum Limit {
    /// Operations of this key in 10 s, of all who use the vault; and what one weighs.
    Vault { operations: u32, units: u32 },
    /// No limit but what one partition can do: unwraps in a second.
    Hsm { unwraps: u32 },
}

impl Limit {
    const fn of(kind: &KeyKind, service: Service) -> Self {
        match service {
            Service::KeyVault => {
                let units = kind.units();
                let operations = match VAULT_UNITS.checked_div(units) {
                    Some(operations) => operations,
                    None => 0,
                };
                Self::Vault { operations, units }
            }
            // "Azure Managed HSM scaling guidance", 2023.
            Service::ManagedHsm => Self::Hsm {
                unwraps: match kind {
                    KeyKind::Rsa { bits: ..=2048, .. } => 1100,
                    KeyKind::Rsa { bits: ..=3072, .. } => 360,
                    KeyKind::Rsa { .. } => 160,
                    KeyKind::Aes | KeyKind::Unsuitable(_) => 2200,
                },
            },
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Vault { operations, .. } => format!(
                "the vault takes {operations} operations of this key in {WINDOW_SECONDS} s, of all \
                 who use it"
            ),
            Self::Hsm { unwraps } => format!(
                "a Managed HSM has no limit but what a partition can do: {unwraps} unwraps under \
                 this key in a second"
            ),
        }
    }

    /// In percent; a Managed HSM has nothing that this would be a share of.
    fn share_of_hour(&self, units: u64) -> Option<f64> {
        match self {
            Self::Vault { .. } => {
                let windows = f64::from(3600 / WINDOW_SECONDS);
                Some(units as f64 / (f64::from(VAULT_UNITS) * windows) * 100.0)
            }
            Self::Hsm { .. } => None,
        }
    }

    /// Unwraps that may go at once, and those that follow in each second. Of a vault the plugin
    /// keeps to its own share.
    const fn burst_and_rate(&self) -> (u32, u32) {
        match self {
            Self::Vault { units, .. } => {
                let burst = match DEFAULT_UNITS.checked_div(*units) {
                    Some(burst) => burst,
                    None => 0,
                };
                (burst, burst / WINDOW_SECONDS)
            }
            Self::Hsm { unwraps } => (*unwraps, *unwraps),
        }
    }

    /// When the last of so many unwraps that begin together has had its turn.
    fn wait_seconds(&self, deks: u32) -> u32 {
        let (burst, rate) = self.burst_and_rate();
        deks.saturating_sub(burst).div_ceil(rate.max(1))
    }

    /// How many are answered before kube-apiserver gives up.
    const fn in_time(&self) -> u32 {
        let (burst, rate) = self.burst_and_rate();
        burst.saturating_add(rate.saturating_mul(PATIENCE_SECONDS - 1))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kms_core::TokioClock;

    use super::super::check::Status;
    use super::super::options::Caller;
    use super::*;

    fn options() -> DoctorOptions {
        let key = "https://kv1.vault.azure.net/keys/etcd".parse().unwrap();
        DoctorOptions::new(key, Caller::SystemAssigned, Arc::new(TokioClock::new()))
    }

    fn judge(kind: &KeyKind, service: Service, options: &DoctorOptions) -> Finding {
        let measured = Measured {
            calls: VaultCalls::default(),
            time: Duration::ZERO,
        };
        call_rate(kind, service, options, measured).unwrap()
    }

    const SMALL: KeyKind = KeyKind::Rsa {
        bits: 2048,
        hsm: false,
    };
    const DEAR: KeyKind = KeyKind::Rsa {
        bits: 4096,
        hsm: true,
    };

    #[tokio::test]
    async fn the_documented_limits_are_those_of_the_key() {
        for (bits, hsm, operations) in [
            (2048, false, 4000),
            (3072, false, 1000),
            (4096, false, 500),
            (2048, true, 2000),
            (3072, true, 500),
            (4096, true, 250),
        ] {
            let kind = KeyKind::Rsa { bits, hsm };
            let finding = judge(&kind, Service::KeyVault, &options());
            let says = format!("takes {operations} operations of this key in 10 s");
            assert!(finding.evidence.contains(&says), "{finding:?}");
        }
        for (kind, unwraps) in [(SMALL, 1100), (DEAR, 160), (KeyKind::Aes, 2200)] {
            let finding = judge(&kind, Service::ManagedHsm, &options());
            let says = format!("{unwraps} unwraps");
            assert!(finding.evidence.contains(&says), "{finding:?}");
        }
    }

    #[tokio::test]
    async fn what_a_plugin_will_cost_follows_its_options() {
        let says = |kind: &KeyKind, options: &DoctorOptions, text: &str| {
            let finding = judge(kind, Service::KeyVault, options);
            assert_eq!(finding.status, Status::Ok);
            assert!(finding.evidence.contains(text), "{text}: {finding:?}");
        };
        says(
            &SMALL,
            &options(),
            "makes 13 calls in an hour (12 looks at the key, 1 unwraps and 0",
        );
        // 12 units and 16 of 4,000 in each of 360 windows.
        says(&DEAR, &options(), ", 0.0019 % of what the vault takes");
        let eager = options()
            .with_poll_interval(Duration::from_secs(1))
            .with_proof_interval(Duration::from_secs(60))
            .wrapping_remotely();
        says(
            &DEAR,
            &eager,
            "makes 3720 calls in an hour (3600 looks at the key, 60 unwraps and 60",
        );
    }

    #[tokio::test]
    async fn a_restart_that_takes_longer_than_kube_apiserver_waits_is_warned_of() {
        for (kind, service, in_time) in [
            (SMALL, Service::KeyVault, 2400),
            (DEAR, Service::KeyVault, 149),
            (KeyKind::Aes, Service::ManagedHsm, 6600),
        ] {
            for (deks, status) in [(in_time, Status::Ok), (in_time + 1, Status::Warn)] {
                let finding = judge(&kind, service, &options().with_deks(Some(deks)));
                assert_eq!(finding.status, status, "{deks} {finding:?}");
            }
            let finding = judge(&kind, service, &options());
            let says = format!("{in_time} at once are answered in time");
            assert!(finding.evidence.contains(&says), "{finding:?}");
        }
    }

    #[tokio::test]
    async fn a_vault_that_throttles_is_out_of_room() {
        let measured = Measured {
            calls: VaultCalls {
                calls: 5,
                units: 40,
                throttled: 1,
                ..VaultCalls::default()
            },
            time: Duration::from_millis(700),
        };
        let evidence = call_rate(&SMALL, Service::KeyVault, &options(), measured).unwrap_err();
        let says = "5 calls of 40 units in 700 ms, and the vault throttled 1";
        assert!(evidence.contains(says), "{evidence}");
    }
}
