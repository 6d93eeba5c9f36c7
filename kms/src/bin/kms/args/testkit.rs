//! Arguments of the stand-ins for cloud services.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Testkit {
    /// Serve an Azure Key Vault, a Managed HSM and the token service they trust, on this machine.
    #[command(after_help = "\
Example:
  kms testkit vault --listen 127.0.0.1:8443 --ca-out ca.pem --info-out info.json --hosts-out hosts

Append the hosts to /etc/hosts and let clients trust ca.pem; log in with what info.json says. Its
`admin_url` takes commands that move the clock, plan faults and grant roles.")]
    Vault(TestkitVault),
}

#[derive(Args, Debug)]
pub(crate) struct TestkitVault {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,
    /// Write the certificate authority to trust here, in PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_out: Option<PathBuf>,
    /// Write URLs and credentials here, as JSON that only the owner may read.
    #[arg(long, value_name = "FILE")]
    pub(crate) info_out: Option<PathBuf>,
    /// Write the lines here that /etc/hosts needs.
    #[arg(long, value_name = "FILE")]
    pub(crate) hosts_out: Option<PathBuf>,
    /// Limit how many keys are made, as the service does: 20 in ten seconds, 10 in hardware. The
    /// other limits of a vault always hold.
    #[arg(long)]
    pub(crate) limit_creation: bool,
    /// Serve the metadata of a machine here too, over plain HTTP, for managed identities.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metadata_listen: Option<SocketAddr>,
}
