//! Wrapping and unwrapping, as the plugin would.

use core::time::Duration;

use kms_core::{Error, KeyState};

use super::check::{CheckId, Finding, Status};
use super::examination::{Examination, fault_of};
use super::usage::Usage;
use crate::error::Fault;
use crate::vault::{KeyBundle, Vault};

/// kube-apiserver gives a plugin 3 s.
const TOO_SLOW: Duration = Duration::from_secs(3);
/// A second try and the pause before it have to fit as well.
const SLOW: Duration = Duration::from_secs(1);

impl Examination {
    /// R31: what AKS cannot check for a private vault.
    pub(super) async fn use_key(&mut self, vault: &Vault, bundle: &KeyBundle) {
        let blocker = [CheckId::Type, CheckId::Operations]
            .into_iter()
            .find(|id| self.status(*id) == Some(Status::Fail));
        let state = bundle.facts.state(self.options.clock.wall_time());
        let unusable = (!state.can_unwrap()).then_some(CheckId::State);
        if let Some(blocker) = blocker.or(unusable) {
            let waits = Finding::skipped(format!("waits for the check `{blocker}`"));
            for id in [CheckId::Wrap, CheckId::Unwrap, CheckId::Latency] {
                self.note(id, waits.clone());
            }
            return;
        }
        let (clock, random) = (self.options.clock.clone(), self.options.random.clone());
        let usage = Usage {
            vault,
            bundle,
            clock: &*clock,
            random: &*random,
            operations: self.options.operations,
            aes: self.options.aes,
        };
        let mut slowest = None;
        let wrapped = if state == KeyState::Enabled {
            let (wrapped, time) = usage.wrap().await;
            match wrapped {
                Ok(wrapped) => {
                    slowest = slowest.max(Some(time));
                    let evidence = format!("32 bytes in {} ms", time.as_millis());
                    self.note(CheckId::Wrap, Finding::ok(evidence));
                    Some(wrapped)
                }
                Err(error) => {
                    let here = usage.wrap_here();
                    self.wrap_refused(&error, here.is_some());
                    here
                }
            }
        } else {
            let waits = format!("waits for the check `{}`", CheckId::State);
            self.note(CheckId::Wrap, Finding::skipped(waits));
            usage.wrap_here()
        };
        let Some(wrapped) = wrapped else {
            let waits = format!("waits for the check `{}`", CheckId::Wrap);
            self.note(CheckId::Unwrap, Finding::skipped(waits.clone()));
            self.note(CheckId::Latency, Finding::skipped(waits));
            return;
        };
        let (same, time) = usage.unwrap(wrapped).await;
        let finding = match same {
            Ok(true) => {
                slowest = slowest.max(Some(time));
                Finding::ok(format!("the same 32 bytes in {} ms", time.as_millis()))
            }
            Ok(false) => Finding::fail(
                "other bytes came out than went in",
                "do not use this vault: what answers does not do what it says",
            ),
            Err(error) => Finding::fail(Self::evidence_of(&error), self.remedy_of(&error)),
        };
        self.note(CheckId::Unwrap, finding);
        let latency = slowest.map_or_else(
            || Finding::skipped(format!("waits for the check `{}`", CheckId::Unwrap)),
            latency,
        );
        self.note(CheckId::Latency, latency);
    }

    fn wrap_refused(&mut self, error: &Error, is_done_here: bool) {
        let remedy = self.remedy_of(error);
        let forbidden = matches!(
            fault_of(error),
            Some(Fault::ForbiddenByRbac | Fault::ForbiddenByPolicy)
        );
        let finding = if forbidden && is_done_here {
            let evidence = format!(
                "{}; RSA keys are wrapped here without the vault, so this is no hindrance",
                error.message()
            );
            Finding::warn(evidence, remedy)
        } else {
            Finding::fail(Self::evidence_of(error), remedy)
        };
        self.note(CheckId::Wrap, finding);
    }
}

fn latency(slowest: Duration) -> Finding {
    let evidence = format!(
        "the slowest call took {} ms; kube-apiserver waits 3000",
        slowest.as_millis()
    );
    let remedy = "use a vault in the cluster's region, a smaller RSA key, and a private endpoint";
    if slowest >= TOO_SLOW {
        Finding::fail(evidence, remedy)
    } else if slowest >= SLOW {
        Finding::warn(format!("{evidence}, and a second try has no time"), remedy)
    } else {
        Finding::ok(evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_measured_against_kube_apiserver() {
        for (millis, status) in [
            (0, Status::Ok),
            (999, Status::Ok),
            (1000, Status::Warn),
            (2999, Status::Warn),
            (3000, Status::Fail),
        ] {
            assert_eq!(latency(Duration::from_millis(millis)).status, status);
        }
    }
}
