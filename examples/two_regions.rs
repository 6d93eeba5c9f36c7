//! Seals for two providers, such as vaults in two regions. Either opens the data alone.

use std::sync::Arc;

use kms_core::{Clock, EncryptionContext, ErrorKind, TokioClock};
use kms_envelope::sealed::inspect;
use kms_envelope::{Envelope, Purpose};
use kms_testkit::{FaultProvider, Operation, Outcome, StaticProvider};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    // Stands for a vault that can be made to fail.
    let vault = || -> Result<_, kms_core::Error> {
        Ok(Arc::new(FaultProvider::new(
            StaticProvider::generate()?,
            Arc::clone(&clock),
        )))
    };
    let (east, west) = (vault()?, vault()?);
    let envelope = Envelope::builder(Arc::clone(&clock))
        .recipient("east", east.clone())
        .recipient("west", west.clone())
        .build()?;

    let purpose = Purpose::new(EncryptionContext::new().with("tenant", "acme")?);
    let sealed = envelope.seal(&purpose, b"invoice 7", b"an invoice").await?;
    for recipient in inspect(&sealed)?.recipients() {
        println!(
            "can be opened with {} under {}",
            recipient.provider_id(),
            recipient.key_id()
        );
    }

    east.script(Operation::Unwrap, [Outcome::Fail(ErrorKind::Unavailable)]);
    let opened = envelope.open(&purpose, b"invoice 7", &sealed).await?;
    println!("east is down; opened {} bytes with west", opened.len());
    Ok(())
}
