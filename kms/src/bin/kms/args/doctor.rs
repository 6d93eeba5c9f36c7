//! `kms doctor`

use clap::{Args, Subcommand, ValueEnum};

use super::azure::AzureAccess;

#[derive(Debug, Subcommand)]
pub(crate) enum Doctor {
    /// Examine a key in Azure Key Vault or Managed HSM: the way to it, the rights to it, its state,
    /// and whether it wraps and unwraps in time. It changes nothing.
    #[command(after_help = "\
Example:
  kms doctor azure --key-id https://myvault.vault.azure.net/keys/etcd \\
      --identity managed --client-id 01234567-89ab-cdef-0123-456789abcdef

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
    pub(crate) access: AzureAccess,
    /// Use `encrypt` and `decrypt` instead of `wrapKey` and `unwrapKey`.
    #[arg(long)]
    pub(crate) encrypt_decrypt: bool,
    /// How an AES key is used, and its size, which a Managed HSM does not tell.
    #[arg(long, value_enum, value_name = "ALGORITHM", default_value_t = Aes::A256Kw)]
    pub(crate) aes: Aes,
    /// Warn so many days before the key ends.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=3650))]
    pub(crate) expiry_days: u32,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Aes {
    #[value(name = "A128KW")]
    A128Kw,
    #[value(name = "A192KW")]
    A192Kw,
    #[value(name = "A256KW")]
    A256Kw,
    #[value(name = "A128GCM")]
    A128Gcm,
    #[value(name = "A192GCM")]
    A192Gcm,
    #[value(name = "A256GCM")]
    A256Gcm,
}
