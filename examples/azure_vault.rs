//! A key in Azure Key Vault as the provider of an envelope. With `KEY_URL` and `CLIENT_ID` it is
//! the key `https://myvault.vault.azure.net/keys/orders`, asked for as a managed identity; without
//! them one in a loopback vault.

use std::env::var;
use std::sync::Arc;

use kms_azure::credential::Identity;
use kms_azure::key_url::KeyUrl;
use kms_azure::provider::{KeyVaultProvider, ProviderOptions};
use kms_azure::vault::Vault;
use kms_core::{Clock, EncryptionContext, TokioClock};
use kms_envelope::{Envelope, Purpose};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let (vault, key) = if let Ok(url) = var("KEY_URL") {
        let key: KeyUrl = url.parse()?;
        let identity = Identity::managed(&var("CLIENT_ID")?)?;
        let vault = Vault::connect(key.host().clone(), identity, clock.clone())?;
        (vault, key)
    } else {
        kms_examples::loopback_vault(clock.clone()).await?
    };
    // A key id without a version: new versions are followed, and old data goes on being opened.
    let provider = KeyVaultProvider::new(vault, key, ProviderOptions::default())?;
    let envelope = Envelope::builder(clock).recipient("vault", Arc::new(provider));
    let envelope = envelope.build()?;
    let orders = Purpose::new(EncryptionContext::new().with("table", "orders")?);
    let sealed = envelope.seal(&orders, b"order 7", b"two loaves").await?;
    let opened = envelope.open(&orders, b"order 7", &sealed).await?;
    assert_eq!(opened.expose(), b"two loaves");
    println!("{} bytes sealed", sealed.len());
    Ok(())
}
