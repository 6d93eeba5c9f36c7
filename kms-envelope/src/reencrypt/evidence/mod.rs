//! Proof before an old key may go: what was scanned, what was not, and what still needs a key.

mod builder;
mod digest;
mod document;
mod judge;
mod known;
mod moment;
mod names;
mod objection;
mod permit;
mod reference;
mod renewal;
mod shown;
mod source;
mod unscanned;

use std::time::SystemTime;

use kms_core::KeyId;
use kms_core::object::Revision;

pub use builder::EvidenceBuilder;
pub use digest::EvidenceDigest;
pub use known::KnownKey;
pub use names::names_one_key;
pub use objection::Objection;
pub use permit::{PermitOptions, RetirePermit, RetireVerdict, permit_retirement};
pub use reference::{FoundReference, Reference, UnknownKey};
pub use source::{ScannedSource, SourceRole};
pub use unscanned::{ReplicaState, UnscannedKind, UnscannedSource, Waiver};

use document::Content;
use names::Names;

/// What was scanned for references to keys, what was found, and what was not scanned.
///
/// # What it claims
///
/// Absence is never claimed for what was not scanned. A source that was not scanned is in the way
/// until somebody waives it by name and with a reason, and the waiver stays in the evidence. Three
/// such sources are there without anyone naming them: [`BACKUPS`](Self::BACKUPS),
/// [`REPLICAS`](Self::REPLICAS) and [`OTHER_CLUSTERS`](Self::OTHER_CLUSTERS), each until one of its
/// kind is scanned or named; naming some is taken for naming all.
///
/// What cannot be read counts as a reference to every key: KMS v1 values, which name no key id,
/// damaged ones, and those of unknown providers. Live objects and history of the cluster cannot be
/// waived.
///
/// A copy of a cluster (a snapshot) says nothing about what the cluster holds by now, so evidence
/// from copies alone is never enough.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
///
/// use kms_core::object::{Revision, StoreIdentity};
/// use kms_envelope::reencrypt::{Census, CensusOptions, Evidence, ScannedSource};
///
/// // `take_census` does this over a whole source.
/// let mut census = Census::new(CensusOptions::default());
/// census.reads_history(None);
/// census.live(b"/registry/secrets/default/old", b"k8s:enc:kms:v1:plugin:\0\x01w...", false)?;
///
/// let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
/// let at = Revision::new(7);
/// let identity = StoreIdentity::new("etcd", "https://etcd:2379", at, true).with_cluster_id("c1");
/// let evidence = Evidence::builder(now)
///     .scanned(ScannedSource::cluster(&identity, &census.report(), at, now))
///     .waive(Evidence::BACKUPS, "none was ever taken")
///     .finish()?;
///
/// let objections = evidence.objections(&"kek-1".parse().unwrap());
/// let codes: Vec<_> = objections.iter().map(|objection| objection.code()).collect();
/// // KMS v1 values name no key; other clusters and replicas were neither scanned nor waived.
/// assert_eq!(codes, ["unknown_key", "not_scanned", "not_scanned"]);
/// assert_eq!(Evidence::from_json(&evidence.to_json()?)?, evidence);
/// # Ok::<(), kms_envelope::Error>(())
/// ```
///
/// # What its digest is for
///
/// The SHA-256 over a canonical form is against accident: a file cut off, edited by hand or mixed
/// up. It is not against forgery: who can write the file can compute the digest. That is why
/// [`permit_retirement`] scans again instead of believing it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    content: Content,
    digest: EvidenceDigest,
}

impl Evidence {
    /// The name of all backups, while none is scanned or named.
    pub const BACKUPS: &str = "backups";
    /// The name of what API servers and plugins hold in memory, while none is checked or named.
    pub const REPLICAS: &str = "replicas";
    /// The name of other clusters under the same key, while none is named.
    pub const OTHER_CLUSTERS: &str = "other-clusters";

    /// Begins evidence that is taken now.
    #[must_use]
    pub fn builder(now: SystemTime) -> EvidenceBuilder {
        EvidenceBuilder::new(now)
    }

    /// What stands in the way of retiring this key. Empty: nothing that is known.
    ///
    /// The key goes by all its names: its id; `sha256:` and the hash of that, as the API server's
    /// metrics show it; for a version in Azure Key Vault its URL, and the hash of that which
    /// Azure/kubernetes-kms takes for the id.
    ///
    /// How old the evidence is does not matter here; see [`Evidence::staleness`].
    #[must_use]
    pub fn objections(&self, key_id: &KeyId) -> Vec<Objection> {
        judge::objections(&self.content, key_id)
    }

    /// Every reference to this key, and every one that may be: what the objections count, waived or
    /// not.
    pub fn references_to(&self, key_id: &KeyId) -> impl Iterator<Item = FoundReference<'_>> {
        judge::references(&self.content, Names::of(key_id.as_str()))
    }

    /// The replicas that write with this key.
    pub fn replicas_with(&self, key_id: &KeyId) -> impl Iterator<Item = &ReplicaState> {
        let asked = Names::of(key_id.as_str());
        let all = self.content.replicas.iter();
        all.filter(move |replica| asked.is_same(&Names::of(&replica.writes_with)))
    }

    /// The name by which a waiver takes responsibility for values like these, if it cannot be known
    /// which key they need.
    #[must_use]
    pub fn group_of(reference: &Reference) -> Option<String> {
        let unknown = reference.unknown()?;
        Some(reference::group_name(unknown, reference.prefix()))
    }

    /// Why this key is none that anybody knows: no value that was scanned names it, no replica, and
    /// no [`KnownKey`]. `None` if somebody knows it, or it was waived.
    ///
    /// That nothing needs a key of which nobody has heard says nothing: it may be misspelt. It is
    /// apart from [`Evidence::objections`] for those who know their keys themselves, as a rotation
    /// does; [`permit_retirement`] asks for both.
    #[must_use]
    pub fn never_seen(&self, key_id: &KeyId) -> Option<Objection> {
        known::never_seen(&self.content, key_id)
    }

    /// Why this is too old to act on, or more than a minute ahead; `None` if it is neither.
    #[must_use]
    pub fn staleness(&self, now: SystemTime, max_age: core::time::Duration) -> Option<Objection> {
        judge::staleness(&self.content, now, max_age)
    }

    /// The cluster that was scanned live, by its own id.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&str> {
        self.content.live_source()?.cluster_id()
    }

    /// The revision of the cluster that was scanned live; zero if none was.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.content
            .live_source()
            .map(ScannedSource::revision)
            .unwrap_or_default()
    }

    /// When it was taken, to the second.
    #[must_use]
    pub const fn taken_at(&self) -> SystemTime {
        self.content.taken_at
    }

    /// What was scanned.
    #[must_use]
    pub fn sources(&self) -> &[ScannedSource] {
        &self.content.sources
    }

    /// Which key each replica that was checked writes with.
    #[must_use]
    pub fn replicas(&self) -> &[ReplicaState] {
        &self.content.replicas
    }

    /// Keys that somebody knows.
    #[must_use]
    pub fn known_keys(&self) -> &[KnownKey] {
        &self.content.known_keys
    }

    /// What was not scanned.
    #[must_use]
    pub fn unscanned(&self) -> &[UnscannedSource] {
        &self.content.not_scanned
    }

    /// What somebody took responsibility for.
    #[must_use]
    pub fn waivers(&self) -> &[Waiver] {
        &self.content.waivers
    }

    /// Tells this content from any other.
    #[must_use]
    pub const fn digest(&self) -> EvidenceDigest {
        self.digest
    }

    /// Writes it down.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if it would be too long to be read
    /// again.
    pub fn to_json(&self) -> Result<String, crate::Error> {
        document::write(self)
    }

    /// Reads what [`Evidence::to_json`] has written. White space does not count; everything else
    /// does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) if anything is missing, unknown, over
    /// its limit or not what the digest says;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if a newer version wrote it.
    pub fn from_json(json: &str) -> Result<Self, crate::Error> {
        let (content, digest) = document::read(json)?;
        Ok(Self { content, digest })
    }
}
