//! The way to a vault: name, connection, certificate, and whether a vault is at its end.

use core::net::IpAddr;
use core::time::Duration;

use azure_core::http::Url;
use kms_core::within;

use super::challenge::Challenge;
use super::check::{CheckId, Finding};
use super::examination::{Blocked, Examination, fault_of};
use crate::error::{Fault, Operation, VaultError, from_sdk};
use crate::transport::Transport;

/// For the first bare request, whose connection may take 5.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
const API_VERSION: &str = "7.4";

impl Examination {
    /// Whether the vault's addresses are private ones; unknown behind a proxy.
    pub(super) async fn dns(&mut self) -> Result<Option<bool>, Blocked> {
        if self.options.transport.has_proxy() {
            let skipped = Finding::skipped("the proxy resolves names");
            self.note(CheckId::Dns, skipped);
            return Ok(None);
        }
        let host = self.options.key.host().clone();
        let resolved = self.options.transport.resolve(host.name()).await;
        let Ok(addresses) = resolved else {
            let error = VaultError::found(Fault::NameNotResolved, Operation::GetKey);
            let error = error.about(&self.options.key, None);
            let finding = Finding::fail(format!("{} has no address", host.name()), error.remedy());
            self.note(CheckId::Dns, finding);
            return Err(Blocked(CheckId::Dns));
        };
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.ip()).collect();
        let is_private = addresses.iter().all(is_private);
        let list: Vec<String> = addresses.iter().take(8).map(ToString::to_string).collect();
        let kind = if is_private { "private" } else { "public" };
        let evidence = format!("{} is {} ({kind})", host.name(), list.join(", "));
        self.note(CheckId::Dns, Finding::ok(evidence));
        Ok(Some(is_private))
    }

    /// Connection, TLS and challenge: all by one request without a token.
    pub(super) async fn first_contact(
        &mut self,
        transport: &Transport,
    ) -> Result<Challenge, Blocked> {
        let key = self.options.key.clone();
        let url = format!(
            "{}/keys/{}?api-version={API_VERSION}",
            key.host().url(),
            key.name()
        );
        let failed = |fault: Fault| VaultError::found(fault, Operation::GetKey).about(&key, None);
        let url = Url::parse(&url)
            .map_err(|_| self.failed(CheckId::Connection, &failed(Fault::ConnectionFailed)))?;
        let clock = self.options.clock.clone();
        let start = clock.now();
        let answer = within(&*clock, start + PROBE_LIMIT, transport.probe(url)).await;
        let answer = answer
            .ok_or_else(|| self.failed(CheckId::Connection, &failed(Fault::ConnectionFailed)))?;
        let time = clock.now().since(start);
        let (status, headers) = answer.map_err(|error| {
            let error = from_sdk(&error, Operation::GetKey, &key);
            let id = match fault_of(&error) {
                Some(Fault::NameNotResolved) => CheckId::Dns,
                Some(Fault::CertificateNotTrusted) => {
                    self.note(CheckId::Connection, Finding::ok("something answers"));
                    CheckId::Tls
                }
                _ => CheckId::Connection,
            };
            self.failed(id, &error)
        })?;
        self.note(
            CheckId::Connection,
            Finding::ok(format!("the first answer took {} ms", time.as_millis())),
        );
        self.note(
            CheckId::Tls,
            Finding::ok(format!("the certificate is {}'s", key.host().name())),
        );
        let Some(challenge) = Challenge::of(&headers) else {
            let evidence = format!("the answer is {} without a challenge", u16::from(status));
            let error = failed(Fault::UnexpectedAnswer);
            self.note(CheckId::Challenge, Finding::fail(evidence, error.remedy()));
            return Err(Blocked(CheckId::Challenge));
        };
        let evidence = format!(
            "it takes tokens of {} for {}",
            challenge.authority,
            challenge.scope.trim_end_matches("/.default")
        );
        if self.options.verify_challenge && !challenge.is_of(key.host()) {
            let error = failed(Fault::ChallengeRefused);
            self.note(CheckId::Challenge, Finding::fail(evidence, error.remedy()));
            return Err(Blocked(CheckId::Challenge));
        }
        self.note(CheckId::Challenge, Finding::ok(evidence));
        Ok(challenge)
    }

    /// R9, R30: the vault lets this machine in. Whom else, only the control plane knows.
    pub(super) fn network(&mut self, is_private: Option<bool>) {
        let firewall = Finding::unknown(
            "this machine is let in; whether the cluster's others are is in the vault's rules",
            self.commands.network_rules(),
        );
        self.note(CheckId::Firewall, firewall);
        let endpoint = if is_private == Some(true) {
            Finding::ok("the vault is reached by a private address")
        } else {
            Finding::unknown(
                "the vault is reached by its public address, or by a proxy; whether it has \
                 private endpoints is in its settings",
                self.commands.private_endpoints(),
            )
        };
        self.note(CheckId::PrivateEndpoint, endpoint);
    }
}

/// RFC 1918, RFC 4193, and this machine.
const fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_address_is_told() {
        for (address, expected) in [
            ("10.1.2.3", true),
            ("192.168.0.1", true),
            ("127.0.0.1", true),
            ("fd00::1", true),
            ("20.50.1.1", false),
            ("2603:1020::1", false),
        ] {
            assert_eq!(is_private(&address.parse().unwrap()), expected, "{address}");
        }
    }
}
