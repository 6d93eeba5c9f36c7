//! Proves that nothing needs the old key any more, over a store in memory: rotate, rewrite,
//! compact, look, look again.

use std::sync::Arc;

use kms_cluster::embedded::EmbeddedStore;
use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::object::{ObjectKey, ObjectSource as _, ScanOptions};
use kms_core::{CallOptions, Clock, KeyProvider as _, OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
use kms_envelope::reencrypt::{
    CensusOptions, Evidence, EvidenceBuilder, KnownKey, PermitOptions, RetireVerdict,
    ScannedSource, permit_retirement, take_census,
};

const CONFIGURATION: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers: [{kms: {apiVersion: v2, name: ours, endpoint: \"unix:///not-dialled\"}}]
";

type Failed = Box<dyn std::error::Error>;

/// Looks at all of the store, history included, and names what was not looked at.
async fn look(
    store: &EmbeddedStore,
    keyring: &LocalProvider,
    clock: &dyn Clock,
) -> Result<Evidence, Failed> {
    let identity = store.identity(&CallOptions::default()).await?;
    let (scan, options) = (ScanOptions::default(), CensusOptions::default());
    let (report, revision) = take_census(store, &scan, &options, true, |_| {}).await?;
    let now = clock.wall_time();
    // The keyring knows its keys also when no value names them any more.
    let call = CallOptions::default();
    let current = keyring.current_key(&call).await?.id;
    let listed = keyring.list_keys(&call).await?.into_iter();
    let known = listed.map(|key| KnownKey::new("keyring", &key.id).with_current(key.id == current));
    Ok(known
        .fold(Evidence::builder(now), EvidenceBuilder::known_key)
        .scanned(ScannedSource::cluster(&identity, &report, revision, now))
        .waive(Evidence::BACKUPS, "this store is never backed up")
        .waive(Evidence::REPLICAS, "this program is the only one")
        .waive(
            Evidence::OTHER_CLUSTERS,
            "the keyring is this program's own",
        )
        .finish()?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let options = LocalOptions::new(Arc::clone(&clock));
    let keyring = LocalProvider::create(directory.path().join("keyring.json"), options)?;
    let keyring = Arc::new(keyring);
    let config = EncryptionConfiguration::parse(CONFIGURATION)?;
    let providers = config.providers_for("", "secrets");
    let api_server = Transformer::builder(providers, Arc::clone(&clock), Arc::new(OsRandom))
        .kms("ours", keyring.clone())
        .build()?;
    let store = EmbeddedStore::new("example").with_cluster_id("c1");
    let key = ObjectKey::new("/registry/secrets/default/db")?;
    let write = async || -> Result<(), Failed> {
        api_server.refresh().await?;
        let stored = api_server.write(key.as_bytes(), b"k8s\0a Secret").await?;
        store.put(&key, stored, None)?;
        Ok(())
    };

    write().await?;
    let old = keyring.current_key(&CallOptions::default()).await?.id;
    keyring.rotate()?;
    let in_the_way = |evidence: &Evidence| {
        for objection in evidence.objections(&old) {
            println!("  {objection}. To do: {}", objection.remedy());
        }
    };
    println!("rotated; {old} is in use:");
    in_the_way(&look(&store, &keyring, &*clock).await?);
    write().await?;
    println!("rewritten:");
    in_the_way(&look(&store, &keyring, &*clock).await?);
    store.compact(store.revision())?;
    println!("compacted:");
    let evidence = Evidence::from_json(&look(&store, &keyring, &*clock).await?.to_json()?)?;
    in_the_way(&evidence);

    let options = PermitOptions::default();
    match permit_retirement(&evidence, &old, &store, &options, &*clock, |_| {}).await? {
        RetireVerdict::Permitted(permit) => {
            let revision = permit.evidence().revision();
            println!(
                "nothing needs it at revision {revision}; plan {}",
                permit.plan()
            );
            keyring.disable(1)?;
        }
        verdict => println!("it stays: {verdict:?}"),
    }
    Ok(())
}
