//! Seals a column of records: one DEK, and each value bound to its row.

use std::sync::Arc;

use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::{Clock, EncryptionContext, TokioClock};
use kms_envelope::{Envelope, Purpose};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let options = LocalOptions::new(Arc::clone(&clock));
    let keyring = Arc::new(LocalProvider::create(
        directory.path().join("keyring.json"),
        options,
    )?);
    let envelope = Envelope::builder(clock)
        .recipient("main", keyring)
        .build()?;

    // Coarse: one DEK for the column. Fine: the row's key, which costs nothing.
    let column = Purpose::new(
        EncryptionContext::new()
            .with("table", "users")?
            .with("column", "email")?,
    );
    let mut rows = Vec::new();
    for id in 0..1000_u32 {
        let email = format!("user-{id}@example.com");
        rows.push(
            envelope
                .seal(&column, &id.to_be_bytes(), email.as_bytes())
                .await?,
        );
    }
    println!(
        "{} rows, {} provider call",
        rows.len(),
        envelope.seal_stats().provider_calls
    );

    let seventh = envelope
        .open(&column, &7_u32.to_be_bytes(), &rows[7])
        .await?;
    assert_eq!(seventh.expose(), b"user-7@example.com");
    // A value that was moved to another row does not open.
    assert!(
        envelope
            .open(&column, &8_u32.to_be_bytes(), &rows[7])
            .await
            .is_err()
    );
    Ok(())
}
