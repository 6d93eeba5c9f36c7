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

mod census;
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
    Evidence, EvidenceBuilder, EvidenceDigest, FoundReference, Objection, PermitOptions, Reference,
    ReplicaState, RetirePermit, RetireVerdict, ScannedSource, SourceRole, UnknownKey,
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
