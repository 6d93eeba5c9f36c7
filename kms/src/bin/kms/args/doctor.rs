//! `kms doctor`

use clap::{Args, Subcommand};

use super::azure::AzureArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum Doctor {
    /// Examine a key in Azure Key Vault or Managed HSM: the way to it, the rights to it, its state,
    /// and whether it wraps and unwraps in time. It changes nothing.
    #[command(after_help = "\
Example:
  kms doctor azure --key-id https://myvault.vault.azure.net/keys/etcd \\
      --identity managed:01234567-89ab-cdef-0123-456789abcdef

Run it where the plugin will run, with the plugin's identity: another machine has another way to
the vault, and another identity other rights. Exit code 1 if a check failed.")]
    Azure(Box<DoctorAzure>),
}

#[derive(Args, Debug)]
pub(crate) struct DoctorAzure {
    /// The key: `https://VAULT/keys/NAME`, or `https://VAULT/keys/NAME/VERSION`.
    #[arg(long, value_name = "URL")]
    pub(crate) key_id: String,
    #[command(flatten)]
    pub(crate) azure: AzureArgs,
    /// Warn so many days before the key ends.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=3650))]
    pub(crate) expiry_days: u32,
    /// How many DEKs API servers ask for together when all of them start: what `kms census` counts
    /// under this key, times the number of API servers. Tells whether the vault keeps up.
    #[arg(long, value_name = "N")]
    pub(crate) deks: Option<u32>,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}
