//! The commands that mend, with the names filled in.

use crate::key_url::{KeyUrl, Service};
use crate::provider::Operations;

/// Writes commands for one key. What goes into them is letters, digits, hyphens and dots.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    key: KeyUrl,
    operations: Operations,
    /// The identity's object id, once a token has told it.
    pub(super) object_id: Option<String>,
}

impl Commands {
    pub(super) const fn new(key: KeyUrl, operations: Operations) -> Self {
        Self {
            key,
            operations,
            object_id: None,
        }
    }

    /// From now on, of this version, used like this.
    pub(super) fn for_key(&mut self, key: &KeyUrl, operations: Operations) {
        self.key = key.clone();
        self.operations = operations;
    }

    fn vault(&self) -> &str {
        self.key.host().vault_name()
    }

    const fn is_hsm(&self) -> bool {
        matches!(self.key.host().service(), Service::ManagedHsm)
    }

    fn object_id(&self) -> &str {
        self.object_id.as_deref().unwrap_or("OBJECT_ID")
    }

    fn key_arguments(&self) -> String {
        let argument = if self.is_hsm() {
            "--hsm-name"
        } else {
            "--vault-name"
        };
        format!("{argument} {} --name {}", self.vault(), self.key.name())
    }

    fn version_arguments(&self) -> String {
        match self.key.version() {
            Some(version) => format!("{} --version {version}", self.key_arguments()),
            None => self.key_arguments(),
        }
    }

    fn show(&self, query: &str, output: &str) -> String {
        let argument = if self.is_hsm() {
            "--hsm-name"
        } else {
            "--name"
        };
        let vault = self.vault();
        format!("az keyvault show {argument} {vault} --query {query} --output {output}")
    }

    fn resource_id(&self) -> String {
        format!("\"$({})\"", self.show("id", "tsv"))
    }

    /// R20, R70: the role with the fewest rights that serves.
    pub(super) fn grant_role(&self) -> String {
        let role = match self.operations {
            Operations::WrapUnwrap => "Crypto Service Encryption User",
            Operations::EncryptDecrypt => "Crypto User",
        };
        let assignee = format!(
            "--assignee-object-id {} --assignee-principal-type ServicePrincipal",
            self.object_id()
        );
        if self.is_hsm() {
            return format!(
                "az keyvault role assignment create --hsm-name {} --role \"Managed HSM {role}\" \
                 {assignee} --scope /keys/{}",
                self.vault(),
                self.key.name()
            );
        }
        format!(
            "az role assignment create --role \"Key Vault {role}\" {assignee} --scope {}",
            self.resource_id()
        )
    }

    /// R19.
    pub(super) fn grant_policy(&self) -> String {
        format!(
            "az keyvault set-policy --name {} --object-id {} --key-permissions get list {}",
            self.vault(),
            self.object_id(),
            self.operation_names()
        )
    }

    fn operation_names(&self) -> &'static str {
        match self.operations {
            Operations::WrapUnwrap => "wrapKey unwrapKey",
            Operations::EncryptDecrypt => "encrypt decrypt",
        }
    }

    /// R44: first the expiry, so that the key works at once, then a new version.
    pub(super) fn extend_expiry(&self) -> String {
        format!(
            "az keyvault key set-attributes {} --expires \"$(date -u -d '+90 days' \
             +%Y-%m-%dT%H:%M:%SZ)\" && az keyvault key rotate {}",
            self.version_arguments(),
            self.key_arguments()
        )
    }

    pub(super) fn rotate(&self) -> String {
        format!("az keyvault key rotate {}", self.key_arguments())
    }

    /// What has to be there before a key is rotated by hand.
    pub(super) const fn rotation_note(&self) -> &'static str {
        if self.is_hsm() {
            "; a Managed HSM rotates only a key that has a rotation policy"
        } else {
            ""
        }
    }

    pub(super) fn enable(&self) -> String {
        format!(
            "az keyvault key set-attributes {} --enabled true",
            self.version_arguments()
        )
    }

    pub(super) fn begin_now(&self) -> String {
        format!(
            "az keyvault key set-attributes {} --not-before \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"",
            self.version_arguments()
        )
    }

    pub(super) fn allow_operations(&self) -> String {
        format!(
            "az keyvault key set-attributes {} --ops {}",
            self.version_arguments(),
            self.operation_names()
        )
    }

    pub(super) fn recover(&self) -> String {
        format!("az keyvault key recover {}", self.key_arguments())
    }

    pub(super) fn list_keys(&self) -> String {
        let argument = if self.is_hsm() {
            "--hsm-name"
        } else {
            "--vault-name"
        };
        format!("az keyvault key list {argument} {}", self.vault())
    }

    pub(super) fn make_rsa_key(&self) -> String {
        let argument = if self.is_hsm() {
            "--hsm-name"
        } else {
            "--vault-name"
        };
        format!(
            "az keyvault key create {argument} {} --name {}-rsa --kty RSA{} --size 3072 --ops {}",
            self.vault(),
            self.key.name(),
            if self.is_hsm() { "-HSM" } else { "" },
            self.operation_names()
        )
    }

    pub(super) fn protect_from_purge(&self) -> String {
        let (verb, argument) = if self.is_hsm() {
            ("update-hsm", "--hsm-name")
        } else {
            ("update", "--name")
        };
        let vault = self.vault();
        format!("az keyvault {verb} {argument} {vault} --enable-purge-protection true")
    }

    pub(super) fn recovery_level(&self) -> String {
        let kind = "properties.{softDelete:enableSoftDelete,purgeProtection:enablePurgeProtection}";
        self.show(&format!("\"{kind}\""), "json")
    }

    pub(super) fn tenant(&self) -> String {
        self.show("properties.tenantId", "tsv")
    }

    pub(super) fn network_rules(&self) -> String {
        self.show(
            "\"properties.{publicNetworkAccess:publicNetworkAccess,rules:networkAcls}\"",
            "json",
        )
    }

    pub(super) fn let_in(&self) -> String {
        let vault = self.vault();
        format!("az keyvault network-rule add --name {vault} --ip-address ADDRESS_OF_THIS_MACHINE")
    }

    pub(super) fn private_endpoints(&self) -> String {
        format!(
            "az network private-endpoint-connection list --id {}",
            self.resource_id()
        )
    }

    /// Who else uses the vault, and how much.
    pub(super) fn traffic(&self) -> String {
        format!(
            "az monitor metrics list --resource {} --metric ServiceApiHit --interval PT1M \
             --aggregation Count --filter \"ActivityName eq '*'\"",
            self.resource_id()
        )
    }

    pub(super) fn roles(&self) -> String {
        let object_id = self.object_id();
        if self.is_hsm() {
            return format!(
                "az keyvault role assignment list --hsm-name {} --assignee-object-id {object_id}",
                self.vault()
            );
        }
        format!(
            "az role assignment list --assignee {object_id} --include-inherited --scope {} --query \
             \"[].roleDefinitionName\"",
            self.resource_id()
        )
    }
}
