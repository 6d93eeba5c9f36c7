//! Re-encrypts a store in memory from aescbc to a local KMS, and shows how far it has come.

use std::future::pending;
use std::sync::Arc;

use kms_cluster::embedded::EmbeddedStore;
use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::object::ObjectKey;
use kms_core::{Clock, OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
use kms_envelope::reencrypt::{
    ConfiguredReencryptors, Migration, MigrationEnd, MigrationOptions, MigrationScope,
    ReencryptorOptions,
};

/// The new provider first: it writes. The old one still reads.
const CONFIGURATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - kms: {apiVersion: v2, name: my-kms, endpoint: "unix:///run/kms/kms.sock"}
      - aescbc: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let keyring = directory.path().join("keyring.json");
    let kms = LocalProvider::create(keyring, LocalOptions::new(Arc::clone(&clock)))?;
    let configuration = EncryptionConfiguration::parse(CONFIGURATION)?;

    // What an API server has stored under aescbc.
    let store = EmbeddedStore::new("demo");
    let old = configuration.providers_for("", "secrets").split_off(1);
    let writer = Transformer::builder(old, Arc::clone(&clock), Arc::new(OsRandom)).build()?;
    for number in 0..5000 {
        let key = ObjectKey::new(format!("/registry/secrets/default/{number:04}"))?;
        let object = format!(r#"{{"kind":"Secret","metadata":{{"name":"{number:04}"}}}}"#);
        let value = writer.write(key.as_bytes(), object.as_bytes()).await?;
        store.put(&key, value, None)?;
    }

    let scope = MigrationScope::configured("/registry", &configuration)?;
    let made = ReencryptorOptions::new(Arc::clone(&clock), Arc::new(OsRandom))
        .with_kms("my-kms", Arc::new(kms));
    let reencryptors = ConfiguredReencryptors::new(&configuration, &scope, &made)?;
    let options = MigrationOptions::new(scope);
    let report = Migration::new(&store, &reencryptors, &*clock, &options)
        .run(pending(), |progress| {
            println!("{:?}: {} done", progress.phase, progress.done);
        })
        .await?;

    assert!(matches!(report.end, MigrationEnd::Complete), "{report:?}");
    println!(
        "{} rewritten to {}",
        report.counts.rewritten, report.targets[0]
    );
    if let Some(verified) = report.verification {
        println!("{} of {} open under it", verified.right, verified.objects);
    }
    Ok(())
}
