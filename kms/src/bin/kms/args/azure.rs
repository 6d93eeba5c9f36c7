//! How a vault in Azure is reached, and as whom: shared by every command that does.

use core::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Who asks the vault, and by which way.
#[derive(Args, Debug)]
#[command(next_help_heading = "Azure")]
pub(crate) struct AzureAccess {
    /// Who asks. Without it: `workload` if `AZURE_FEDERATED_TOKEN_FILE` is set, else `managed` if a
    /// client or resource id is given, else `cli`.
    #[arg(long, value_enum, value_name = "IDENTITY")]
    pub(crate) identity: Option<IdentityKind>,
    /// The tenant's id or domain. `AZURE_TENANT_ID` is its default.
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant_id: Option<String>,
    /// The client id of the identity. `AZURE_CLIENT_ID` is its default, but for `managed`.
    #[arg(long, value_name = "GUID")]
    pub(crate) client_id: Option<String>,
    /// The resource id of a managed identity, instead of its client id.
    #[arg(long, value_name = "ID", conflicts_with = "client_id")]
    pub(crate) resource_id: Option<String>,
    /// The file whose first line is the client secret.
    #[arg(long, value_name = "FILE")]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// The PEM file with the client's certificate and private key.
    #[arg(long, value_name = "FILE")]
    pub(crate) client_certificate_file: Option<PathBuf>,
    /// The service account's token. `AZURE_FEDERATED_TOKEN_FILE` is its default.
    #[arg(long, value_name = "FILE")]
    pub(crate) federated_token_file: Option<PathBuf>,
    /// Who hands out tokens, if not the token service of the vault's cloud: `https://HOST`.
    /// `AZURE_AUTHORITY_HOST` is its default.
    #[arg(long, value_name = "URL")]
    pub(crate) authority: Option<String>,
    /// Trust the CA certificates of this PEM file too.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The HTTP proxy. `HTTPS_PROXY` is its default, and `NO_PROXY` says what to reach without it.
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Connect to this address for this host: a private endpoint without a private DNS zone.
    #[arg(long, value_name = "HOST=IP:PORT", value_parser = parse_resolve)]
    pub(crate) resolve: Vec<(String, SocketAddr)>,
    /// Take hosts of this domain for Key Vaults, beside those of Azure's clouds.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) vault_domain: Vec<String>,
    /// Take hosts of this domain for Managed HSMs.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) hsm_domain: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum IdentityKind {
    /// A user-assigned managed identity of this machine.
    Managed,
    /// A Kubernetes service account, federated with a client.
    Workload,
    /// A client with a secret.
    Secret,
    /// A client with a certificate.
    Certificate,
    /// Who is signed in to the Azure CLI.
    Cli,
    /// The machine's system-assigned identity, which cannot be used.
    System,
}

fn parse_resolve(text: &str) -> Result<(String, SocketAddr), &'static str> {
    let fault = "not HOST=IP:PORT";
    let (host, address) = text.split_once('=').ok_or(fault)?;
    if host.is_empty() {
        return Err(fault);
    }
    Ok((host.to_owned(), address.parse().map_err(|_| fault)?))
}
