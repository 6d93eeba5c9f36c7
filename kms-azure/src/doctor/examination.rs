//! The examination: from the identity to an unwrapped key, one step after the other.

use core::net::IpAddr;
use core::pin::pin;
use core::time::Duration;
use std::collections::BTreeMap;

use azure_core::credentials::TokenCredential as _;
use azure_core::http::Url;
use futures_util::future::{Either, select};
use kms_core::{CallOptions, Error, KeyState};

use super::challenge::Challenge;
use super::check::{CheckId, Finding, Status};
use super::claims::Claims;
use super::commands::Commands;
use super::key;
use super::options::{Caller, DoctorOptions};
use super::report::Report;
use super::usage::Usage;
use crate::credential::{Credential, Identity, system_assigned_is_refused};
use crate::error::{Fault, Operation, VaultError, from_sdk};
use crate::key_url::Service;
use crate::transport::Transport;
use crate::vault::{KeyBundle, KeyKind, Vault, VaultOptions};

/// kube-apiserver gives a plugin 3 s.
const TOO_SLOW: Duration = Duration::from_secs(3);
/// A second try and the pause before it have to fit as well.
const SLOW: Duration = Duration::from_secs(1);
/// For the first bare request, whose connection may take 5.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
const API_VERSION: &str = "7.4";

pub(super) struct Examination {
    options: DoctorOptions,
    commands: Commands,
    found: BTreeMap<CheckId, Finding>,
}

/// The check that failed, and without which nothing further can be looked at.
struct Blocked(CheckId);

impl Examination {
    pub(super) fn new(options: DoctorOptions) -> Self {
        Self {
            commands: Commands::new(options.key.clone(), options.operations),
            options,
            found: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) -> Report {
        let blocked_by = self.examine().await.err().map(|Blocked(id)| id);
        self.note_control_plane();
        let identity = match &self.options.caller {
            Caller::Identity(identity) => identity.to_string(),
            Caller::SystemAssigned => "the system-assigned identity".to_owned(),
        };
        Report::new(
            self.options.key.to_string(),
            identity,
            self.found,
            blocked_by,
        )
    }

    async fn examine(&mut self) -> Result<(), Blocked> {
        let identity = self.identity();
        let is_private = self.dns().await?;
        let transport = Transport::new(&self.options.transport)
            .map_err(|error| self.failed(CheckId::Tls, &error))?;
        let challenge = self.first_contact(&transport).await?;
        let identity = identity?;
        let credential = self.credential(identity, &transport);
        self.token(&credential, &challenge).await?;
        let vault = self.vault(&credential, &transport)?;
        let bundle = self.read(&vault, is_private).await?;
        self.describe(&bundle);
        self.list(&vault).await;
        self.use_key(&vault, &bundle).await;
        self.call_rate(&bundle, &transport);
        Ok(())
    }

    fn note(&mut self, id: CheckId, finding: Finding) {
        self.found.insert(id, finding);
    }

    fn status(&self, id: CheckId) -> Option<Status> {
        self.found.get(&id).map(|finding| finding.status)
    }

    /// An error, as the failure of this check.
    fn failed(&mut self, id: CheckId, error: &Error) -> Blocked {
        self.note(id, Finding::fail(error.message(), error.remedy()));
        Blocked(id)
    }

    /// R8, R18.
    fn identity(&mut self) -> Result<Identity, Blocked> {
        match self.options.caller.clone() {
            Caller::SystemAssigned => {
                Err(self.failed(CheckId::Identity, &system_assigned_is_refused()))
            }
            Caller::Identity(identity) if identity.is_person() => {
                let finding = Finding::warn(
                    format!("{identity}: what follows holds for a person, not for the cluster"),
                    "examine the cluster's own identity, on one of its machines: --identity \
                     managed:CLIENT_ID",
                );
                self.note(CheckId::Identity, finding);
                Ok(identity)
            }
            Caller::Identity(identity) => {
                self.note(CheckId::Identity, Finding::ok(identity.to_string()));
                Ok(identity)
            }
        }
    }

    /// Whether the vault's addresses are private ones; unknown behind a proxy.
    async fn dns(&mut self) -> Result<Option<bool>, Blocked> {
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
    async fn first_contact(&mut self, transport: &Transport) -> Result<Challenge, Blocked> {
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
        let answer = match select(
            pin!(transport.probe(url)),
            clock.sleep_until(start + PROBE_LIMIT),
        )
        .await
        {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => {
                return Err(self.failed(CheckId::Connection, &failed(Fault::ConnectionFailed)));
            }
        };
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

    fn credential(&self, identity: Identity, transport: &Transport) -> Credential {
        Credential::new(
            identity,
            self.options.authority(),
            transport,
            self.options.clock.clone(),
            self.options.random.clone(),
        )
    }

    /// The token, and R11: whose it is.
    async fn token(
        &mut self,
        credential: &Credential,
        challenge: &Challenge,
    ) -> Result<(), Blocked> {
        let start = self.options.clock.now();
        let token = credential.get_token(&[&challenge.scope], None).await;
        let time = self.options.clock.now().since(start);
        let token = token.map_err(|error| {
            let error = from_sdk(&error, Operation::GetKey, &self.options.key);
            self.failed(CheckId::Token, &error)
        })?;
        let claims = Claims::of(token.token.secret());
        self.commands.object_id.clone_from(&claims.oid);
        let owner = claims.oid.as_deref().unwrap_or("not told");
        self.note(
            CheckId::Token,
            Finding::ok(format!(
                "from {} in {} ms, object id {owner}",
                self.options.authority(),
                time.as_millis()
            )),
        );
        let Some(ours) = claims.tid else {
            let finding = Finding::unknown(
                format!(
                    "the vault is of {}; the token does not tell its own",
                    challenge.tenant
                ),
                self.commands.tenant(),
            );
            self.note(CheckId::Tenant, finding);
            return Ok(());
        };
        if !ours.eq_ignore_ascii_case(&challenge.tenant) {
            let evidence = format!(
                "the vault is of {}, the identity of {ours}",
                challenge.tenant
            );
            return Err(self.other_tenant(evidence));
        }
        self.note(CheckId::Tenant, Finding::ok(format!("both are of {ours}")));
        Ok(())
    }

    fn other_tenant(&mut self, evidence: String) -> Blocked {
        let finding = Finding::fail(
            format!("{evidence}: they must be of one tenant"),
            self.commands.tenant(),
        );
        self.note(CheckId::Tenant, finding);
        Blocked(CheckId::Tenant)
    }

    fn vault(&mut self, credential: &Credential, transport: &Transport) -> Result<Vault, Blocked> {
        let mut options = VaultOptions::new(self.options.clock.clone())
            .with_random(self.options.random.clone())
            .with_units_in_ten_seconds(None);
        if !self.options.verify_challenge {
            options = options.without_challenge_check();
        }
        Vault::new(
            self.options.key.host().clone(),
            credential,
            transport,
            options,
        )
        .map_err(|error| self.failed(CheckId::Challenge, &error))
    }

    /// The first call with a token, which everything on the way can refuse.
    async fn read(
        &mut self,
        vault: &Vault,
        is_private: Option<bool>,
    ) -> Result<KeyBundle, Blocked> {
        let call = CallOptions::default();
        let read = vault.key(&self.options.key, &call).await;
        let place = read.as_ref().err().map(|error| place_of(fault_of(error)));
        // Only a firewall or a missing link refuses before everything else.
        if !matches!(
            place,
            Some(CheckId::Firewall | CheckId::PrivateEndpoint | CheckId::Token | CheckId::Tenant)
        ) {
            self.network(is_private);
        }
        let error = match read {
            Ok(bundle) => {
                self.note(
                    CheckId::Read,
                    Finding::ok("the vault gives the key's public half"),
                );
                let url = &bundle.facts.url;
                let (wished, aes) = (self.options.operations, self.options.aes);
                self.options.operations = key::effective(&bundle.kind, wished, aes);
                self.commands.for_key(url, self.options.operations);
                self.note(CheckId::Key, Finding::ok(format!("{url}")));
                return Ok(bundle);
            }
            Err(error) => error,
        };
        let id = place_of(fault_of(&error));
        match id {
            CheckId::Tenant => return Err(self.other_tenant(error.message().to_owned())),
            CheckId::Key if fault_of(&error) == Some(Fault::KeyNotFound) => {
                self.note(CheckId::Read, Finding::ok("the vault answers"));
                self.not_found(vault, &error).await;
            }
            CheckId::State => {
                self.note(CheckId::Read, Finding::ok("the vault answers"));
                self.note(
                    CheckId::State,
                    Finding::fail(error.message(), self.commands.enable()),
                );
            }
            _ => {
                let remedy = self.remedy_of(&error);
                self.note(id, Finding::fail(Self::evidence_of(&error), remedy));
            }
        }
        Err(Blocked(id))
    }

    /// R7: a deleted key looks like one that never was.
    async fn not_found(&mut self, vault: &Vault, error: &Error) {
        let deleted = vault
            .is_deleted(&self.options.key, &CallOptions::default())
            .await;
        let finding = match deleted {
            Ok(true) => Finding::fail(
                "the key is deleted, and can be recovered for now: what it wrapped is lost with it",
                self.commands.recover(),
            ),
            Ok(false) => Finding::fail(error.message(), self.commands.list_keys()),
            Err(_no_right_to_know) => Finding::fail(
                format!("{}; whether it is deleted was not told", error.message()),
                self.commands.recover(),
            ),
        };
        self.note(CheckId::Key, finding);
    }

    /// R9, R30: the vault lets this machine in. Whom else, only the control plane knows.
    fn network(&mut self, is_private: Option<bool>) {
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

    /// What was said, and what to know about it.
    fn evidence_of(error: &Error) -> String {
        let said = error.message();
        match fault_of(error) {
            // R70.
            Some(Fault::ForbiddenByRbac) => {
                format!("{said}; a grant may take up to 24 hours to be seen")
            }
            Some(Fault::ForbiddenByPolicy) => {
                format!("{said}; a grant may take some minutes to be seen")
            }
            Some(Fault::ForbiddenByConnection) => {
                format!("{said} Examine it from a network that has an approved private endpoint")
            }
            _ => said.to_owned(),
        }
    }

    fn remedy_of(&self, error: &Error) -> String {
        let commands = &self.commands;
        match fault_of(error) {
            Some(Fault::ForbiddenByRbac) => commands.grant_role(),
            Some(Fault::ForbiddenByPolicy) => commands.grant_policy(),
            Some(Fault::ForbiddenByFirewall) => commands.let_in(),
            Some(Fault::ForbiddenByConnection) => commands.private_endpoints(),
            Some(Fault::KeyOperationForbidden) => commands.allow_operations(),
            Some(Fault::KeyExpired) => commands.extend_expiry(),
            Some(Fault::KeyDisabled) => commands.enable(),
            Some(Fault::KeyNotYetValid) => commands.begin_now(),
            _ => error.remedy().to_owned(),
        }
    }

    /// Everything that the key's description says.
    fn describe(&mut self, bundle: &KeyBundle) {
        let now = self.options.clock.wall_time();
        let (facts, commands) = (&bundle.facts, self.commands.clone());
        self.note(CheckId::State, key::state(facts, now, &commands));
        let expiry = key::expiry(facts, now, self.options.expiry_warning, &commands);
        let ended = || Finding::skipped(format!("waits for the check `{}`", CheckId::State));
        self.note(CheckId::Expiry, expiry.unwrap_or_else(ended));
        self.note(CheckId::Type, key::kind(&bundle.kind, &commands));
        let operations = key::operations(bundle, self.options.operations, &commands);
        let operations = match bundle.kind {
            KeyKind::Unsuitable(_) => {
                Finding::skipped(format!("waits for the check `{}`", CheckId::Type))
            }
            _ => operations,
        };
        self.note(CheckId::Operations, operations);
        self.note(CheckId::Recovery, key::recovery(facts, &commands));
    }

    async fn list(&mut self, vault: &Vault) {
        let list = vault
            .versions(&self.options.key, &CallOptions::default())
            .await;
        let service = self.options.key.host().service();
        let finding = match list {
            Ok(list) => key::versions(&list, service, self.options.clock.wall_time()),
            Err(error) => Finding::warn(
                format!("new versions will not be seen: {}", error.message()),
                self.remedy_of(&error),
            ),
        };
        self.note(CheckId::Versions, finding);
    }

    /// R31: what AKS cannot check for a private vault.
    async fn use_key(&mut self, vault: &Vault, bundle: &KeyBundle) {
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

    fn call_rate(&mut self, bundle: &KeyBundle, transport: &Transport) {
        let service = self.options.key.host().service();
        let finding = key::call_rate(&bundle.kind, service, transport.requests());
        self.note(CheckId::CallRate, finding);
    }

    /// What no call to a vault tells.
    fn note_control_plane(&mut self) {
        let roles = Finding::unknown(
            match self.options.key.host().service() {
                Service::KeyVault => {
                    "AKS wants \"Key Vault Crypto User\", and for its newer KMS encryption \"Key \
                     Vault Contributor\" besides; role assignments are not the vault's to tell"
                }
                Service::ManagedHsm => "role assignments are not told to whoever uses a key",
            },
            self.commands.roles(),
        );
        self.note(CheckId::AksRoles, roles);
        let view = Finding::unknown(
            "AKS runs the plugin out of reach; the portal's \"Diagnose and solve problems\", \
             detector KMS, shows its state",
            "az aks show --resource-group RESOURCE_GROUP --name CLUSTER --query securityProfile",
        );
        self.note(CheckId::AksView, view);
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

fn fault_of(error: &Error) -> Option<Fault> {
    VaultError::of(error).map(VaultError::fault)
}

/// Which check a fault of the first real call belongs to.
const fn place_of(fault: Option<Fault>) -> CheckId {
    match fault {
        Some(Fault::InvalidIssuer) => CheckId::Tenant,
        Some(Fault::InvalidAudience | Fault::TokenExpired | Fault::TokenRefused) => CheckId::Token,
        Some(Fault::ForbiddenByFirewall) => CheckId::Firewall,
        Some(Fault::ForbiddenByConnection) => CheckId::PrivateEndpoint,
        Some(Fault::ForbiddenByRbac | Fault::ForbiddenByPolicy | Fault::Forbidden) => CheckId::Read,
        Some(Fault::KeyDisabled) => CheckId::State,
        Some(Fault::Throttled) => CheckId::CallRate,
        Some(Fault::ChallengeRefused) => CheckId::Challenge,
        _ => CheckId::Key,
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
