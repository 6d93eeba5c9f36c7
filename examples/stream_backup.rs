//! Streams the decrypted objects of an etcd snapshot, a page in memory at a time.

use std::sync::Arc;

use kms::cluster::{ClusterSource, ObjectOpener, OpenerOptions};
use kms::provider::Environment;
use kms_core::TokioClock;
use kms_core::object::{Scan, ScanOptions};
use kms_envelope::kubernetes::{EncryptionConfiguration, Manifest, ManifestOptions};

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
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/data/snapshot.db");
    let source = ClusterSource::snapshot(sample.as_ref())?;
    let config = EncryptionConfiguration::parse(CONFIGURATION)?;
    let mut environment = Environment::new(Arc::new(TokioClock::new()));
    let options = OpenerOptions::default();
    let mut opener = ObjectOpener::new(config, Vec::new(), options, &mut environment)?;

    let secrets = ScanOptions::default().with_prefix("/registry/secrets/");
    let mut pages = Scan::new(source.objects(), secrets);
    while let Some(page) = pages.next_page().await? {
        for object in page.objects {
            let opened = opener.open(object.key.as_bytes(), &object.value).await?;
            let manifest = Manifest::decode(opened.plaintext(), &ManifestOptions::default())?;
            let bytes = opened.plaintext().len();
            println!("{}: {} of {bytes} bytes", object.key, manifest.kind());
        }
    }
    Ok(())
}
