//! What stored objects are encrypted with, counted without any key; and the proof that nothing
//! needs an old key any more.
//!
//! [`Census`] takes objects one by one, from wherever they come, and [`CensusReport`] is what it
//! found. [`take_census`] reads a whole [`ObjectSource`](kms_core::object::ObjectSource); a
//! [`CensusObserver`] sees its objects in the same pass.
//!
//! [`Evidence`] is made of censuses and kept as JSON. [`Evidence::objections`] says what is in the
//! way of retiring a key. [`permit_retirement`] looks once more, and is the only maker of a
//! [`RetirePermit`].
//!
//! Objects are brought to another key in one of two ways:
//!
//! | | [`Migration`], [`SharedMigration`] | [`ApiMigration`] |
//! |---|---|---|
//! | goes through | the stored bytes, by compare-and-swap: etcd, or any [`ObjectStore`](kms_core::object::ObjectStore) | the Kubernetes API, by updates that change nothing: any [`Rewriter`](kms_core::object::Rewriter) |
//! | needs | access to the store, and the keys | the verbs `list` and `patch`, and no key |
//! | brings objects to | what is written with, another provider, or clear | what API servers write with |
//! | a KMS v1 whose key changed under its name | with [`renew`](MigrationOptions::renew) | refuses: nothing would be written |
//! | shows at the end | a census, and every object opened | that API servers hold every object for fresh |
//!
//! Take the first where the store can be reached. The second is for managed clusters; what it cannot
//! see, a census of a snapshot can. After either, history and backups need the old key as before.
//!
//! # Examples
//!
//! A census, which needs no key:
//!
//! ```
//! use kms_envelope::reencrypt::{Census, CensusOptions};
//!
//! let mut census = Census::new(CensusOptions::default());
//! census.live(b"/registry/secrets/default/token", b"k8s\0...", false)?;
//! census.live(b"/registry/secrets/default/tls", b"k8s:enc:aesgcm:v1:key1:nonce and ciphertext and tag", false)?;
//!
//! let report = census.report();
//! assert_eq!(report.live.objects_by_resource["secrets"].plain, 1);
//! assert_eq!(report.live.census[0].prefix, "k8s:enc:aesgcm:v1:key1:");
//! # Ok::<(), kms_envelope::Error>(())
//! ```
//!
//! A migration through the API, of all Secrets:
//!
//! ```
//! use kms_core::object::{ApiResource, Rewriter};
//! use kms_core::Clock;
//! use kms_envelope::reencrypt::{ApiMigration, ApiMigrationOptions, ApiMigrationReport, ApiScope};
//!
//! async fn migrate(
//!     api: &dyn Rewriter,
//!     clock: &dyn Clock,
//! ) -> Result<ApiMigrationReport, Box<dyn std::error::Error>> {
//!     let secrets = ApiScope::new(ApiResource::new("", "v1", "secrets")?, true);
//!     let options = ApiMigrationOptions::new("my cluster", [secrets]);
//!     Ok(ApiMigration::new(api, clock, &options).run(core::future::pending(), |_| ()).await?)
//! }
//! ```
//!
//! One over a store, with the keys, is the example `migrate_embedded` of the repository.

mod census;
mod end;
mod evidence;
mod migrate;
mod place;
mod rewrite;
mod take;

pub use census::{
    Census, CensusOptions, CensusReport, CensusRow, DamagedObject, DekSourceCount, HistoryCensus,
    KeyIdUse, LiveCensus, NamespaceRow, ResourceCount,
};
pub use evidence::{
    Evidence, EvidenceBuilder, EvidenceDigest, FoundReference, KnownKey, Objection, PermitOptions,
    Reference, ReplicaState, RetirePermit, RetireVerdict, ScannedSource, SourceRole, UnknownKey,
    UnscannedKind, UnscannedSource, Waiver, names_one_key, permit_retirement,
};
pub use migrate::{
    Checkpoint, CheckpointStore, ConfiguredReencryptors, Lookup, Migration, MigrationCounts,
    MigrationEnd, MigrationOptions, MigrationPhase, MigrationProgress, MigrationReport,
    MigrationScope, MigrationVerification, ObjectCheckpoints, OnKeyChange, Protection, Reading,
    Reencryptor, ReencryptorOptions, Reencryptors, Remaining, RemainingReason, SharedMigration,
    StopReason, TargetSelector, TransformerPair, WorkerOptions,
};
pub use place::Place;
pub use rewrite::{
    ApiMigration, ApiMigrationCounts, ApiMigrationEnd, ApiMigrationOptions, ApiMigrationPhase,
    ApiMigrationProgress, ApiMigrationReport, ApiScope, ApiStopReason, LeftObject, LeftReason,
    UnreadPlace,
};
pub use take::{CensusObserver, CensusProgress, take_census, take_census_observed};
