//! Evidence: what is in the way of retiring a key.

mod document;
mod laws;
mod rules;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kms_core::KeyId;
use kms_core::object::{Revision, StoreIdentity};
use kms_envelope::kubernetes::{ConfiguredNames, EncryptionConfiguration};
use kms_envelope::reencrypt::{
    Census, CensusOptions, CensusReport, Evidence, EvidenceBuilder, ScannedSource,
};

/// What a value is under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Under {
    Plain,
    AesGcm,
    /// The id of the key.
    KmsV2(String),
    /// The name of the provider; one holds a colon.
    KmsV1(&'static str),
    /// A value of KMS v2 that is cut off.
    Damaged,
    UnknownProvider,
}

pub(crate) const KMS_V1: [&str; 2] = ["old", "ol:d"];

impl Under {
    pub(crate) fn v2(key_id: &str) -> Self {
        Self::KmsV2(key_id.to_owned())
    }

    fn value(&self) -> Vec<u8> {
        let field = |number: u8, bytes: &[u8]| {
            let mut length = bytes.len();
            let mut out = vec![number << 3 | 2];
            while length > 0x7f {
                out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            out.push(u8::try_from(length).unwrap());
            [&out[..], bytes].concat()
        };
        match self {
            Self::Plain => b"k8s\0plain".to_vec(),
            Self::AesGcm => b"k8s:enc:aesgcm:v1:key1:nonce and ciphertext and tag".to_vec(),
            Self::KmsV2(key_id) => [
                b"k8s:enc:kms:v2:away:".to_vec(),
                field(1, &[7; 76]),
                field(2, key_id.as_bytes()),
                field(3, b"wrapped"),
                vec![5 << 3, 1],
            ]
            .concat(),
            Self::KmsV1(name) => [
                format!("k8s:enc:kms:v1:{name}:").as_bytes(),
                &[0, 7],
                b"wrapped",
                &[7; 40],
            ]
            .concat(),
            Self::Damaged => b"k8s:enc:kms:v2:away:\x0a\x7fcut off".to_vec(),
            Self::UnknownProvider => b"k8s:enc:rot13:v1:a:x".to_vec(),
        }
    }
}

/// A value in a source.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) resource: &'static str,
    pub(crate) under: Under,
    pub(crate) live: bool,
}

impl Stored {
    pub(crate) fn live(under: Under) -> Self {
        Self {
            resource: "secrets",
            under,
            live: true,
        }
    }

    pub(crate) fn superseded(under: Under) -> Self {
        Self {
            live: false,
            ..Self::live(under)
        }
    }
}

pub(crate) fn census(stored: &[Stored], with_history: bool) -> CensusReport {
    let kms = |name: &str| {
        format!("      - kms: {{apiVersion: v1, name: \"{name}\", endpoint: \"unix:///x\"}}\n")
    };
    let config = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n  - resources: [secrets]\n    providers:\n{}",
        KMS_V1.map(kms).concat()
    );
    let config = EncryptionConfiguration::parse(&config).unwrap();
    let names = ConfiguredNames::new(&config.resources[0].providers);
    let mut census = Census::new(CensusOptions::default().with_names(names));
    if with_history {
        census.reads_history(None);
    }
    for (number, it) in stored.iter().enumerate() {
        let key = format!("/registry/{}/default/{number}", it.resource);
        let value = it.under.value();
        if it.live {
            census.live(key.as_bytes(), &value, false).unwrap();
        }
        if with_history {
            let at = Revision::new(number as u64 + 2);
            census
                .change(key.as_bytes(), Some(&value), at, it.live)
                .unwrap();
        }
    }
    census.report()
}

pub(crate) const CLUSTER: &str = "00000000000000aa";

pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(crate) fn key(id: &str) -> KeyId {
    KeyId::new(id).unwrap()
}

/// The live cluster, at revision 100.
pub(crate) fn cluster(stored: &[Stored]) -> ScannedSource {
    let at = Revision::new(100);
    let identity = StoreIdentity::new("etcd", "https://etcd:2379", at, true);
    let identity = identity.with_cluster_id(CLUSTER);
    ScannedSource::cluster(&identity, &census(stored, true), at, now())
}

pub(crate) fn backup(name: &str, stored: &[Stored]) -> ScannedSource {
    let at = Revision::new(90);
    let identity = StoreIdentity::new("snapshot", name, at, false);
    ScannedSource::backup(&identity, &census(stored, true), at, now())
}

/// Evidence in which all is waived that is not named otherwise.
pub(crate) fn waived() -> EvidenceBuilder {
    Evidence::builder(now())
        .waive(Evidence::BACKUPS, "there are none")
        .waive(Evidence::REPLICAS, "all were restarted")
        .waive(Evidence::OTHER_CLUSTERS, "the key is of this one alone")
}

pub(crate) fn codes(evidence: &Evidence, key_id: &str) -> Vec<&'static str> {
    let objections = evidence.objections(&key(key_id));
    objections.iter().map(|it| it.code()).collect()
}
