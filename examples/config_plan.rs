//! Plans the way from AES-CBC to a KMS, and shows that without the first step two API servers could
//! not read each other's objects: `cargo run --example config_plan`.

use std::sync::Arc;

use kms_core::{Clock, KeyProvider, OsRandom, TokioClock};
use kms_envelope::kubernetes::plan::{Action, PlanRequest, StoredObjects, StoredRow, plan};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
use kms_testkit::StaticProvider;

type Failure = Box<dyn std::error::Error>;

const FROM: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - aescbc: {keys: [{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - identity: {}
";
const TO: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - kms: {apiVersion: v2, name: vault, endpoint: \"unix:///run/kms.sock\"}
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let from = EncryptionConfiguration::parse(FROM)?;
    let to = EncryptionConfiguration::parse(TO)?;
    // What `kms census` counted.
    let census = StoredObjects::new(vec![
        StoredRow::new("secrets", "k8s:enc:aescbc:v1:key1:", 1200),
        StoredRow::new("secrets", "", 3),
    ]);
    let plan = plan(&PlanRequest::new(Some(&from), &to).with_stored(&census));
    let mut files = Vec::new();
    for step in &plan.steps {
        match &step.action {
            Action::Configure(file) => {
                let secrets = &file.resources[0];
                println!(
                    "{}: {} writes, {:?} read, too",
                    step.purpose, secrets.writes, secrets.reads
                );
                let text = std::str::from_utf8(file.text.expose())?;
                files.push(EncryptionConfiguration::parse(text)?);
            }
            Action::Migrate(migration) => println!("{}: {migration:?}", step.purpose),
            _ => {}
        }
    }

    // While the second file goes round, one server writes with the KMS.
    let plugin: Arc<dyn KeyProvider> = Arc::new(StaticProvider::generate()?);
    let key = b"/registry/secrets/default/token";
    let written = server(&files[1], &plugin)
        .await?
        .write(key, b"k8s\0...")
        .await?;
    // A server that has taken the first step reads it, and one that has not does not.
    let reader = server(&files[0], &plugin).await?;
    assert_eq!(reader.read(key, &written).await?.plaintext(), b"k8s\0...");
    let error = server(&from, &plugin).await?.read(key, &written).await;
    println!("without the first step: {}", error.unwrap_err());
    Ok(())
}

/// An API server with this configuration.
async fn server(
    configuration: &EncryptionConfiguration,
    plugin: &Arc<dyn KeyProvider>,
) -> Result<Transformer, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let providers = configuration.providers_for("", "secrets");
    let transformer = Transformer::builder(providers, clock, Arc::new(OsRandom))
        .kms("vault", Arc::clone(plugin))
        .build()?;
    transformer.refresh().await?;
    Ok(transformer)
}
