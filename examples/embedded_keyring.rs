//! An embedded keyring behind the wrappers that a service wants, and a rotation.

use std::sync::Arc;
use std::time::Duration;

use kms_core::layer::{Coalesce, Retry, Timeout};
use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::{
    Clock, EncryptionContext, Error, KeyProvider as _, OsRandom, SecretBytes, TokioClock,
    UnwrapOptions, WrapOptions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let options = LocalOptions::new(Arc::clone(&clock));
    let keyring = Arc::new(LocalProvider::create(
        directory.path().join("keyring.json"),
        options,
    )?);

    // Time-outs outside, so that each caller has its own; one unwrap at a time for one key.
    let retry = Retry::new(Arc::clone(&keyring), Arc::clone(&clock), Arc::new(OsRandom));
    let provider = Timeout::new(Coalesce::new(retry), clock, Duration::from_secs(3));

    let context = EncryptionContext::new().with("tenant", "acme")?;
    let dek = SecretBytes::random(&OsRandom, 32)?;
    let wrapped = provider
        .wrap(&dek, &WrapOptions::default().with_context(context.clone()))
        .await?;
    println!("wrapped under {}", name_of(wrapped.key_id()));

    keyring.rotate()?;
    println!(
        "the current key is now {}",
        provider.current_key(&Default::default()).await?.id
    );

    // What the old version wrapped still opens, under its own context and no other.
    let options = UnwrapOptions::default().with_context(context);
    assert_eq!(provider.unwrap(&wrapped, &options).await?, dek);
    let error: Error = provider
        .unwrap(&wrapped, &UnwrapOptions::default())
        .await
        .unwrap_err();
    println!("without its context: {error}. To do: {}", error.remedy());
    Ok(())
}

fn name_of(id: Option<&kms_core::KeyId>) -> &str {
    id.map_or("a key that is not named", |id| id.as_str())
}
