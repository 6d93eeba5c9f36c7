//! Encrypts a file as a stream, in constant memory, and reads it back.

use std::fs::File;
use std::io::{BufReader, Read, Write, copy};
use std::sync::Arc;

use kms_core::{Clock, EncryptionContext, TokioClock};
use kms_envelope::sealed::ChunkSize;
use kms_envelope::sealed::stream::{OpenReader, SealWriter, read_preamble};
use kms_envelope::{Envelope, Purpose};
use kms_testkit::StaticProvider;

const LEN: u64 = 20 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("backup.sealed");
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let envelope = Envelope::builder(clock)
        .recipient("main", Arc::new(StaticProvider::generate()?))
        .build()?;
    let purpose = Purpose::new(EncryptionContext::new().with("kind", "backup")?);

    let sealer = envelope
        .seal_stream(&purpose, b"backup 7", ChunkSize::default(), LEN)
        .await?;
    let mut writer = SealWriter::new(File::create(&path)?, sealer);
    copy(&mut std::io::repeat(0x5a).take(LEN), &mut writer)?;
    // Without this the stream has no last chunk, and does not open as complete.
    writer.finish()?.flush()?;
    println!("{} bytes became {}", LEN, path.metadata()?.len());

    let mut source = BufReader::new(File::open(&path)?);
    let preamble = read_preamble(&mut source)?;
    let opener = envelope
        .open_stream(&purpose, b"backup 7", &preamble)
        .await?;
    let read = copy(&mut OpenReader::new(source, opener), &mut std::io::sink())?;
    assert_eq!(read, LEN);
    println!("and {read} again");
    Ok(())
}
