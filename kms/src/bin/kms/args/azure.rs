//! What can be said about vaults.

use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kms::provider::{AzureAes, AzureOperations, AzureOptions};

/// The rare ones are shown by `--help` alone, not by `-h`.
#[derive(Args, Debug)]
#[command(next_help_heading = "Azure Key Vault and Managed HSM")]
pub(crate) struct AzureArgs {
    /// Who asks: `managed:CLIENT_ID` (or `managed-object:ID`, `managed-resource:ID`) for a
    /// user-assigned managed identity, `workload` in a pod, `certificate:FILE` or `secret:FILE`
    /// for a service principal, `cli` for whoever is signed in to `az`. Files are read anew for
    /// every token.
    #[arg(
        long,
        visible_alias = "identity",
        value_name = "IDENTITY",
        env = "KMS_AZURE_IDENTITY"
    )]
    azure_identity: Option<String>,
    /// The tenant, for `workload`, `certificate` and `secret`.
    #[arg(long, value_name = "TENANT", env = "AZURE_TENANT_ID")]
    azure_tenant: Option<String>,
    /// The client id, for `workload`, `certificate` and `secret`.
    #[arg(long, value_name = "ID", env = "AZURE_CLIENT_ID")]
    azure_client_id: Option<String>,
    /// The service account's token, for `workload`.
    #[arg(long, value_name = "FILE", env = "AZURE_FEDERATED_TOKEN_FILE")]
    azure_token_file: Option<PathBuf>,
    /// CA certificates to trust besides those of this machine, in PEM.
    #[arg(long, value_name = "FILE")]
    azure_ca: Option<PathBuf>,
    /// How often to look for a new version in the vault, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    azure_poll: u64,
    /// How long after its creation a new version becomes active, in seconds. All replicas need the
    /// same. [default: twice --azure-poll, and 60]
    #[arg(long, value_name = "SECONDS")]
    azure_activation_delay: Option<u64>,
    /// The token service, if it is not that of the vault's cloud.
    #[arg(
        long,
        value_name = "URL",
        env = "AZURE_AUTHORITY_HOST",
        hide_short_help = true
    )]
    azure_authority: Option<String>,
    /// An HTTP proxy to vault and token service. Managed identities are asked for without it.
    #[arg(
        long,
        value_name = "URL",
        env = "HTTPS_PROXY",
        hide_env_values = true,
        hide_short_help = true
    )]
    azure_proxy: Option<String>,
    /// What is reached without the proxy: hosts, domains and networks, separated by commas.
    #[arg(long, value_name = "LIST", env = "NO_PROXY", hide_short_help = true)]
    azure_no_proxy: Option<String>,
    /// Which operations of the vault are used: `wrap` needs the role "Key Vault Crypto Service
    /// Encryption User", `encrypt` "Key Vault Crypto User". Either opens what the other wrapped.
    #[arg(long, value_enum, default_value_t = Operations::Wrap, hide_short_help = true)]
    azure_operations: Operations,
    /// How an AES key of a Managed HSM wraps. Does not matter for RSA.
    #[arg(long, value_enum, default_value_t = Aes::A256kw, hide_short_help = true)]
    azure_aes: Aes,
    /// Wrap in the vault, where its audit log sees it, even if the public key would do.
    #[arg(long, hide_short_help = true)]
    azure_wrap_remotely: bool,
    /// The key version that Azure/kubernetes-kms was configured with, to open what it wrote as KMS
    /// v1; its data of KMS v2 needs no option.
    #[arg(long, value_name = "VERSION", hide_short_help = true)]
    azure_v1_version: Vec<String>,
    /// Write as Azure/kubernetes-kms does, to be able to go back to it before the next rotation.
    #[arg(long, hide_short_help = true)]
    azure_write_upstream: bool,
    /// A further domain of Key Vaults, for clouds of one's own.
    #[arg(long, value_name = "DOMAIN", hide_short_help = true)]
    azure_vault_domain: Vec<String>,
    /// A further domain of Managed HSMs, for clouds other than the public one.
    #[arg(long, value_name = "DOMAIN", hide_short_help = true)]
    azure_hsm_domain: Vec<String>,
    /// Connect to this address for this host instead of asking DNS: a private endpoint without a
    /// private DNS zone.
    #[arg(long, value_name = "HOST=ADDRESS:PORT", hide_short_help = true)]
    azure_address: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Operations {
    Wrap,
    Encrypt,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Aes {
    A128kw,
    A192kw,
    A256kw,
    A128gcm,
    A192gcm,
    A256gcm,
}

impl AzureArgs {
    pub(crate) fn options(&self) -> AzureOptions {
        AzureOptions {
            identity: self.azure_identity.clone(),
            tenant: self.azure_tenant.clone(),
            client_id: self.azure_client_id.clone(),
            token_file: self.azure_token_file.clone(),
            authority: self.azure_authority.clone(),
            ca: self.azure_ca.clone(),
            // An empty variable stands for none.
            proxy: self.azure_proxy.clone().filter(|proxy| !proxy.is_empty()),
            no_proxy: self.azure_no_proxy.clone(),
            vault_domains: self.azure_vault_domain.clone(),
            hsm_domains: self.azure_hsm_domain.clone(),
            addresses: self.azure_address.clone(),
            poll: Some(Duration::from_secs(self.azure_poll)),
            activation_delay: self.azure_activation_delay.map(Duration::from_secs),
            budget: None,
            operations: match self.azure_operations {
                Operations::Wrap => AzureOperations::Wrap,
                Operations::Encrypt => AzureOperations::Encrypt,
            },
            aes: match self.azure_aes {
                Aes::A128kw => AzureAes::A128Kw,
                Aes::A192kw => AzureAes::A192Kw,
                Aes::A256kw => AzureAes::A256Kw,
                Aes::A128gcm => AzureAes::A128Gcm,
                Aes::A192gcm => AzureAes::A192Gcm,
                Aes::A256gcm => AzureAes::A256Gcm,
            },
            wrap_remotely: self.azure_wrap_remotely,
            v1_versions: self.azure_v1_version.clone(),
            write_upstream: self.azure_write_upstream,
        }
    }
}
