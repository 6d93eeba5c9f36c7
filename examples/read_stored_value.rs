//! Opens a value as it lies in etcd, with the configuration that kube-apiserver has.

use std::sync::Arc;

use kms_core::{OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer, inspect};

const CONFIGURATION: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - aesgcm: {keys: [{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - identity: {}
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), kms_envelope::Error> {
    let config = EncryptionConfiguration::parse(CONFIGURATION)?;
    let transformer = Transformer::builder(
        config.providers_for("", "secrets"),
        Arc::new(TokioClock::new()),
        Arc::new(OsRandom),
    )
    .build()?;

    // The etcd key is authenticated: the same value under another key does not open.
    let etcd_key = b"/registry/secrets/default/demo";
    let stored = transformer.write(etcd_key, b"k8s\0a Secret").await?;
    println!("without any key: {}", inspect(&stored)?.provider);

    let opened = transformer.read(etcd_key, &stored).await?;
    println!(
        "opened {} bytes, stale: {}",
        opened.plaintext().len(),
        opened.is_stale()
    );
    assert!(
        transformer
            .read(b"/registry/secrets/default/other", &stored)
            .await
            .is_err()
    );
    Ok(())
}
