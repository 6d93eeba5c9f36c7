//! The examination: from the identity to an unwrapped key, one step after the other.

use std::collections::BTreeMap;

use azure_core::credentials::TokenCredential as _;
use kms_core::{CallOptions, Error, Tick};

use super::challenge::Challenge;
use super::check::{CheckId, Finding, Status};
use super::claims::Claims;
use super::commands::Commands;
use super::key;
use super::options::{Caller, DoctorOptions};
use super::rate;
use super::report::Report;
use crate::credential::{Credential, Identity, system_assigned_is_refused};
use crate::error::{Fault, Operation, VaultError, from_sdk};
use crate::key_url::Service;
use crate::transport::Transport;
use crate::vault::{KeyBundle, KeyKind, Vault, VaultOptions};

pub(super) struct Examination {
    pub(super) options: DoctorOptions,
    pub(super) commands: Commands,
    found: BTreeMap<CheckId, Finding>,
}

/// The check that failed, and without which nothing further can be looked at.
pub(super) struct Blocked(pub(super) CheckId);

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
        let start = self.options.clock.now();
        let bundle = self.read(&vault, is_private).await?;
        self.describe(&bundle);
        self.list(&vault).await;
        self.use_key(&vault, &bundle).await;
        self.call_rate(&bundle, &vault, start);
        Ok(())
    }

    pub(super) fn note(&mut self, id: CheckId, finding: Finding) {
        self.found.insert(id, finding);
    }

    pub(super) fn status(&self, id: CheckId) -> Option<Status> {
        self.found.get(&id).map(|finding| finding.status)
    }

    /// An error, as the failure of this check.
    pub(super) fn failed(&mut self, id: CheckId, error: &Error) -> Blocked {
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

    /// What was said, and what to know about it.
    pub(super) fn evidence_of(error: &Error) -> String {
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

    pub(super) fn remedy_of(&self, error: &Error) -> String {
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

    fn call_rate(&mut self, bundle: &KeyBundle, vault: &Vault, start: Tick) {
        let measured = rate::Measured {
            calls: vault.calls(),
            time: self.options.clock.now().since(start),
        };
        let service = self.options.key.host().service();
        let finding = rate::call_rate(&bundle.kind, service, &self.options, measured);
        let finding = finding.map_err(|evidence| Finding::fail(evidence, self.commands.traffic()));
        self.note(CheckId::CallRate, finding.unwrap_or_else(|finding| finding));
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

pub(super) fn fault_of(error: &Error) -> Option<Fault> {
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
