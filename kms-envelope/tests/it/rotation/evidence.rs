//! Evidence of a few objects, made as a driver makes it: by a census of stored bytes.

use std::time::SystemTime;

use kms_core::object::{Revision, StoreIdentity};
use kms_envelope::reencrypt::{
    Census, CensusOptions, Evidence, EvidenceBuilder, ReplicaState, ScannedSource,
};

use super::{CLUSTER, id};

/// One stored object, by what it is under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stored {
    Plain,
    Under(String),
    KmsV1,
    Damaged,
}

impl Stored {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Plain => b"k8s\0plain".to_vec(),
            Self::Under(key) => {
                let mut value = b"k8s:enc:kms:v2:kms:".to_vec();
                for (field, bytes) in [(1, &[7; 60][..]), (2, key.as_bytes()), (3, b"wrapped")] {
                    value.extend([(field << 3) | 2, u8::try_from(bytes.len()).unwrap()]);
                    value.extend(bytes);
                }
                value.extend([5 << 3, 1]);
                value
            }
            Self::KmsV1 => [b"k8s:enc:kms:v1:old:\0\x07wrapped".as_slice(), &[7; 40]].concat(),
            Self::Damaged => b"k8s:enc:kms:v2:kms:\xff\xff".to_vec(),
        }
    }
}

/// A census of these objects, at a revision and a time.
pub(super) fn source(objects: &[Stored], revision: u64, at: SystemTime) -> ScannedSource {
    let mut census = Census::new(CensusOptions::default());
    for (number, object) in objects.iter().enumerate() {
        let key = format!("/registry/secrets/default/{number}");
        census.live(key.as_bytes(), &object.bytes(), false).unwrap();
        let revision = Revision::new(number as u64 + 1);
        let (key, value) = (key.as_bytes(), object.bytes());
        census.change(key, Some(&value), revision, true).unwrap();
    }
    let revision = Revision::new(revision);
    let identity = StoreIdentity::new("etcd", "test", revision, true).with_cluster_id(CLUSTER);
    ScannedSource::cluster(&identity, &census.report(), revision, at)
}

/// Evidence of the live cluster, with all else waived.
pub(super) fn builder(objects: &[Stored], revision: u64, at: SystemTime) -> EvidenceBuilder {
    [
        Evidence::BACKUPS,
        Evidence::REPLICAS,
        Evidence::OTHER_CLUSTERS,
    ]
    .into_iter()
    .fold(Evidence::builder(at), |evidence, name| {
        evidence.waive(name, "there are none")
    })
    .scanned(source(objects, revision, at))
}

pub(super) fn evidence(objects: &[Stored], revision: u64, at: SystemTime) -> Evidence {
    builder(objects, revision, at).finish().unwrap()
}

/// A replica that writes with this key.
pub(super) fn replica(name: &str, key: &str, at: SystemTime) -> ReplicaState {
    ReplicaState::new(name, &id(key), at)
}
