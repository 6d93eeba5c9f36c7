//! `kms testkit`

use core::fmt::Write as _;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kms::Failure;
use kms_core::{Clock, OsRandom, SecureRandom as _};
use kms_testkit::vault::{Credential, Identity, Role, Scope, Vault};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::signals::StopSignals;
use crate::args::{Testkit, TestkitVault};

const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

pub(crate) async fn run(command: Testkit, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    match command {
        Testkit::Vault(args) => vault(args, clock).await,
    }
}

async fn vault(args: TestkitVault, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let stop = StopSignals::catch()?;
    let mut builder = Vault::builder()
        .listen(args.listen)
        .clock(clock)
        .generate_keys()
        .admin();
    if !args.limit_creation {
        builder = builder.unlimited_creation();
    }
    if let Some(address) = args.metadata_listen {
        builder = builder.metadata(address);
    }
    let vault = builder.start().await?;
    if let Some(path) = &args.ca_out {
        write(path, vault.ca_pem().as_bytes(), PUBLIC_MODE)?;
    }
    if let Some(path) = &args.hosts_out {
        write(path, hosts(&vault).as_bytes(), PUBLIC_MODE)?;
    }
    // The last one, so that who waits for it finds the others too.
    if let Some(path) = &args.info_out {
        let info = format!("{:#}\n", info(&vault)?);
        write(path, info.as_bytes(), SECRET_MODE)?;
    }
    eprintln!(
        "kms: test vault at {} and {}; stop with SIGTERM or Ctrl-C",
        vault.vault_url(),
        vault.managed_hsm_url()
    );
    stop.received().await;
    Ok(())
}

/// Lines for `/etc/hosts`.
fn hosts(vault: &Vault) -> String {
    let address = match vault.address().ip() {
        any if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        address => address,
    };
    vault
        .host_names()
        .iter()
        .fold(String::new(), |mut lines, name| {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{address} {name}");
            lines
        })
}

/// Where everything is, and who may do what.
fn info(vault: &Vault) -> Result<Value, Failure> {
    let secret = secret()?;
    let operator = vault.register_operator(&secret)?;
    let (service, service_secret) = identity(vault)?;
    for store in [vault.key_vault(), vault.managed_hsm()] {
        store.grant(&service, Role::CryptoServiceEncryptionUser, Scope::Store);
    }
    let (nobody, nobody_secret) = identity(vault)?;
    Ok(json!({
        "vault_url": vault.vault_url(),
        "managed_hsm_url": vault.managed_hsm_url(),
        "authority": vault.authority(),
        "tenant_id": vault.tenant_id(),
        "client_id": operator.client_id(),
        "client_secret": secret,
        "identities": {
            "crypto_service_encryption_user": describe(&service, &service_secret),
            "nobody": describe(&nobody, &nobody_secret),
        },
        "admin_url": vault.admin_url(),
        "metadata_url": vault.metadata_url(),
    }))
}

fn identity(vault: &Vault) -> Result<(Identity, String), Failure> {
    let secret = secret()?;
    let identity = vault.register([Credential::secret(&secret)])?;
    Ok((identity, secret))
}

fn describe(identity: &Identity, secret: &str) -> Value {
    json!({
        "client_id": identity.client_id(),
        "object_id": identity.object_id(),
        "client_secret": secret,
    })
}

fn secret() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    OsRandom.fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The whole file or none, with its permissions from the first moment on.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let failed = |e| Failure::io(format!("writing {}", path.display()), e);
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let write = || -> io::Result<()> {
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(content)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(failed)
}
