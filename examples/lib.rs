//! Examples, one concern a file; and here what stands in for a cloud while they run.

use std::sync::Arc;

use kms_azure::credential::{Authority, Credential, Identity, SecretSource};
use kms_azure::key_url::{KeyUrl, Service, VaultHosts};
use kms_azure::transport::{Transport, TransportOptions};
use kms_azure::vault::{Vault, VaultOptions};
use kms_core::{Clock, Error, OsRandom, SecretBytes};
use kms_testkit::vault;

/// A key in a loopback vault, and a client of it, for those who have none in Azure. The vault runs
/// until the program ends.
///
/// # Errors
///
/// What keeps the vault from starting.
pub async fn loopback_vault(clock: Arc<dyn Clock>) -> Result<(Vault, KeyUrl), Error> {
    let azure = Box::leak(Box::new(vault::Vault::builder().start().await?));
    let kid = azure.key_vault().create_rsa_key("orders", 3072)?;
    let hosts = VaultHosts::default().with_domain("vault.localhost", Service::KeyVault)?;
    let key = KeyUrl::parse(&kid, &hosts)?.without_version();

    let who = azure.register_operator("secret")?;
    let secret = SecretSource::given(SecretBytes::from_vec(b"secret".to_vec()));
    let identity = Identity::client_secret(azure.tenant_id(), who.client_id(), secret)?;
    let trusted = TransportOptions::default().with_only_ca_pem(azure.ca_pem().as_bytes())?;
    let here = azure.host_names().iter().fold(trusted, |options, host| {
        options.with_address(host, azure.address())
    });
    let transport = Transport::new(&here)?;
    let authority = Authority::new(&azure.authority())?;
    let random = Arc::new(OsRandom);
    let credential = Credential::new(identity, authority, &transport, Arc::clone(&clock), random);
    let options = VaultOptions::new(clock);
    let vault = Vault::new(key.host().clone(), &credential, &transport, options)?;
    Ok((vault, key))
}
