//! A key in Azure Key Vault as the provider of an envelope.
//!
//! Here a loopback vault stands in for Azure; `loopback` is all that would go. In its place:
//!
//! ```ignore
//! let key: KeyUrl = "https://myvault.vault.azure.net/keys/orders".parse()?;
//! let identity = Identity::managed("01234567-89ab-cdef-0123-456789abcdef")?;
//! let vault = Vault::connect(key.host().clone(), identity, Arc::clone(&clock))?;
//! ```

use std::sync::Arc;

use kms_azure::credential::{Authority, Credential, Identity, SecretSource};
use kms_azure::key_url::{KeyUrl, Service, VaultHosts};
use kms_azure::provider::{KeyVaultProvider, ProviderOptions};
use kms_azure::transport::{Transport, TransportOptions};
use kms_azure::vault::{Vault, VaultOptions};
use kms_core::{Clock, EncryptionContext, OsRandom, SecretBytes, TokioClock};
use kms_envelope::{Envelope, Purpose};
use kms_testkit::vault;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let azure = vault::Vault::builder().start().await?;
    let (vault, key) = loopback(&azure, Arc::clone(&clock))?;

    // A key id without a version: new versions are followed, and old data goes on being opened.
    let provider = KeyVaultProvider::new(vault, key, ProviderOptions::default())?;
    provider.refresh().await?;
    let envelope = Envelope::builder(clock)
        .recipient("vault", Arc::new(provider))
        .build()?;
    let orders = Purpose::new(EncryptionContext::new().with("table", "orders")?);
    let sealed = envelope.seal(&orders, b"order 7", b"two loaves").await?;
    let opened = envelope.open(&orders, b"order 7", &sealed).await?;
    assert_eq!(opened.expose(), b"two loaves");
    println!("{} bytes sealed under {}", sealed.len(), azure.vault_url());
    Ok(())
}

fn loopback(
    azure: &vault::Vault,
    clock: Arc<dyn Clock>,
) -> Result<(Vault, KeyUrl), kms_core::Error> {
    let hosts = VaultHosts::default().with_domain("vault.localhost", Service::KeyVault)?;
    let kid = azure.key_vault().create_rsa_key("orders", 3072)?;
    let key = KeyUrl::parse(kid.rsplit_once('/').map_or("", |(key, _)| key), &hosts)?;
    let who = azure.register_operator("secret")?;
    let secret = SecretSource::given(SecretBytes::from_vec(b"secret".to_vec()));
    let identity = Identity::client_secret(azure.tenant_id(), who.client_id(), secret)?;
    let options = TransportOptions::default().with_only_ca_pem(azure.ca_pem().as_bytes())?;
    let transport = Transport::new(
        &azure
            .host_names()
            .iter()
            .fold(options, |all, host| all.with_address(host, azure.address())),
    )?;
    let authority = Authority::new(&azure.authority())?;
    let random = Arc::new(OsRandom);
    let credential = Credential::new(identity, authority, &transport, Arc::clone(&clock), random);
    let host = key.host().clone();
    let vault = Vault::new(host, &credential, &transport, VaultOptions::new(clock))?;
    Ok((vault, key))
}
