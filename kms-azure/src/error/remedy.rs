//! What to do about each fault: the very command, where there is one.

use super::{Fault, Operation};
use crate::key_url::{KeyUrl, Service};

/// The remedy for a fault of this operation on this key.
pub(super) fn remedy(fault: Fault, operation: Operation, key: &KeyUrl) -> String {
    let about = About { operation, key };
    match fault {
        Fault::InvalidIssuer => format!(
            "use an identity of the tenant that {} belongs to",
            key.host()
        ),
        Fault::InvalidAudience => format!(
            "check that {} is the vault's own name, and that the token is not made elsewhere",
            key.host()
        ),
        Fault::TokenExpired => "check this machine's clock".into(),
        Fault::TokenRefused => "check tenant, client id and the identity's credentials".into(),
        Fault::ForbiddenByRbac => about.grant_role(),
        Fault::ForbiddenByPolicy => about.grant_policy(),
        Fault::ForbiddenByFirewall => format!(
            "let this machine's address through the firewall of vault {0}: `az keyvault \
             network-rule add --name {0} --ip-address ADDRESS`, or reach it by a private endpoint",
            about.vault()
        ),
        Fault::ForbiddenByConnection => format!(
            "reach vault {} by an approved private endpoint, or turn its public access on",
            about.vault()
        ),
        Fault::KeyDisabled => format!(
            "switch it on again: `az keyvault key set-attributes {} --enabled true`, or make a \
             new version: `az keyvault key rotate {}`",
            about.version_arguments(),
            about.key_arguments()
        ),
        Fault::KeyExpired => format!(
            "extend its expiry: `az keyvault key set-attributes {} --expires DATE`, then make a \
             new version: `az keyvault key rotate {}`",
            about.version_arguments(),
            about.key_arguments()
        ),
        Fault::KeyNotYetValid => {
            "wait for the key's start time, or change it; check this machine's clock".into()
        }
        Fault::KeyOperationForbidden => format!(
            "add it to the key's own operations: `az keyvault key set-attributes {} --ops wrapKey \
             unwrapKey` (encrypt decrypt, if these are used)",
            about.version_arguments()
        ),
        Fault::Forbidden => format!("check the access settings of vault {}", about.vault()),
        Fault::KeyNotFound => format!(
            "check name and version; if it was deleted, recover it: `az keyvault key recover {}`",
            about.key_arguments()
        ),
        Fault::KeyDeleted => format!(
            "recover it before it is purged: `az keyvault key recover {}`",
            about.key_arguments()
        ),
        Fault::NameTakenByDeletedKey => format!(
            "recover the deleted key: `az keyvault key recover {}`, or choose another name",
            about.key_arguments()
        ),
        Fault::BeingDeleted | Fault::Conflict => "try again in a minute".into(),
        Fault::DoesNotOpen => fault.kind().remedy().into(),
        Fault::BadParameter => format!(
            "check that the key is one for wrapping: RSA of 2048, 3072 or 4096 bits{}",
            match key.host().service() {
                Service::KeyVault => "",
                Service::ManagedHsm => ", or oct-HSM",
            }
        ),
        Fault::Throttled => {
            "make fewer calls: wrap locally, keep unwrapped keys longer, or use a smaller RSA key \
             or a vault of its own"
                .into()
        }
        Fault::ServerError => {
            "wait; if it lasts, see the health of the service in the portal".into()
        }
        Fault::NameNotResolved => format!(
            "check that vault {} still exists and is spelt right, then the DNS of this machine \
             (for a private endpoint: its private DNS zone)",
            about.vault()
        ),
        Fault::ConnectionFailed => format!("check network, proxy and firewall to {}", key.host()),
        Fault::CertificateNotTrusted => {
            "if a proxy opens TLS, or the service is of one's own, give its CA certificate".into()
        }
        Fault::ChallengeRefused => format!(
            "use the vault's own host name rather than {}; only where a service of one's own names \
             another resource, switch the check of the challenge off",
            key.host()
        ),
        Fault::UnexpectedAnswer => format!("check what answers as {}", key.host()),
    }
}

struct About<'a> {
    operation: Operation,
    key: &'a KeyUrl,
}

impl About<'_> {
    fn vault(&self) -> &str {
        self.key.host().vault_name()
    }

    fn vault_argument(&self) -> &'static str {
        match self.key.host().service() {
            Service::KeyVault => "--vault-name",
            Service::ManagedHsm => "--hsm-name",
        }
    }

    fn key_arguments(&self) -> String {
        let (argument, vault, name) = (self.vault_argument(), self.vault(), self.key.name());
        format!("{argument} {vault} --name {name}")
    }

    fn version_arguments(&self) -> String {
        match self.key.version() {
            Some(version) => format!("{} --version {version}", self.key_arguments()),
            None => self.key_arguments(),
        }
    }

    /// R20, R70. The role with the fewest rights that serves.
    fn grant_role(&self) -> String {
        let vault = self.vault();
        let needs_encrypt = matches!(self.operation, Operation::Encrypt | Operation::Decrypt);
        match (self.key.host().service(), needs_encrypt) {
            (Service::KeyVault, false) => format!(
                "grant the identity the role \"Key Vault Crypto Service Encryption User\" on vault \
                 {vault}: `az role assignment create --assignee-object-id ID \
                 --assignee-principal-type ServicePrincipal --role ROLE --scope VAULT_RESOURCE_ID`; \
                 a grant may take up to 24 hours to be seen"
            ),
            (Service::KeyVault, true) => format!(
                "grant the identity the role \"Key Vault Crypto User\" on vault {vault}, or use \
                 wrapKey and unwrapKey; a grant may take up to 24 hours to be seen"
            ),
            (Service::ManagedHsm, false) => format!(
                "grant the identity the role \"Managed HSM Crypto Service Encryption User\": `az \
                 keyvault role assignment create --hsm-name {vault} --assignee-object-id ID --role \
                 ROLE --scope /keys/{}`",
                self.key.name()
            ),
            (Service::ManagedHsm, true) => format!(
                "grant the identity the role \"Managed HSM Crypto User\" on {vault}, or use \
                 wrapKey and unwrapKey"
            ),
        }
    }

    /// R19.
    fn grant_policy(&self) -> String {
        let pair = match self.operation {
            Operation::Encrypt | Operation::Decrypt => "get encrypt decrypt",
            _ => "get list wrapKey unwrapKey",
        };
        format!(
            "add the permissions to the vault's access policy: `az keyvault set-policy --name {} \
             --object-id ID --key-permissions {pair}`",
            self.vault()
        )
    }
}
