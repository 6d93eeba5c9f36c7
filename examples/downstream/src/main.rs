//! A provider of one's own under the layers and the envelope of the SDK.

use std::sync::Arc;
use std::time::Duration;

use downstream::MapProvider;
use kms_core::layer::{Coalesce, Retry, Timeout};
use kms_core::{Clock, EncryptionContext, OsRandom, TokioClock};
use kms_envelope::{Envelope, Purpose};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let random = Arc::new(OsRandom);
    let map = Arc::new(MapProvider::new(random.clone())?);

    let retry = Retry::new(map.clone(), clock.clone(), random);
    let provider = Timeout::new(Coalesce::new(retry), clock.clone(), Duration::from_secs(3));
    let envelope = Envelope::builder(clock)
        .recipient("map", Arc::new(provider))
        .build()?;

    let users = Purpose::new(EncryptionContext::new().with("table", "users")?);
    let sealed = envelope
        .seal(&users, b"row 7", b"alice@example.com")
        .await?;
    map.rotate()?;
    envelope.refresh().await?;
    let opened = envelope.open(&users, b"row 7", &sealed).await?;
    println!("{} bytes, sealed before the rotation", opened.len());
    Ok(())
}
