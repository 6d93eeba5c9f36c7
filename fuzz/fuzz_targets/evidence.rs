//! Evidence: a document of unknown origin is read or refused; one of ours says the same when it is
//! read again, is refused when a byte of it is changed, and never objects to less for a value more.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use arbitrary::Arbitrary;
use kms_core::KeyId;
use kms_core::object::{Revision, StoreIdentity};
use kms_envelope::reencrypt::{Census, CensusOptions, Evidence, FoundReference, ScannedSource};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    document: &'a str,
    values: Vec<(u8, bool, &'a [u8])>,
    asked: &'a str,
    patch: (u32, u8),
}

const PREFIXES: [&[u8]; 7] = [
    b"",
    b"k8s:enc:",
    b"k8s:enc:aesgcm:v1:key1:",
    b"k8s:enc:kms:v1:old:",
    b"k8s:enc:kms:v2:new:",
    // What is encrypted, and the begin of the key's id.
    b"k8s:enc:kms:v2:new:\x0a\x04data\x1a\x01w\x12\x04",
    b"k8s:enc:kms:v2:new:\x0a\x04data\x1a\x01w\x12\x05kek-1",
];

fn evidence(values: &[(u8, bool, &[u8])]) -> Option<Evidence> {
    let mut census = Census::new(CensusOptions::default());
    census.reads_history(None);
    for (number, (prefix, is_live, rest)) in values.iter().enumerate() {
        let prefix = PREFIXES[usize::from(*prefix) % PREFIXES.len()];
        let (key, value) = (
            format!("/registry/secrets/{number}"),
            [prefix, *rest].concat(),
        );
        let (key, revision) = (key.as_bytes(), Revision::new(number as u64));
        census.change(key, Some(&value), revision, *is_live).ok()?;
        if *is_live {
            census.live(key, &value, false).ok()?;
        }
    }
    let at = Revision::new(values.len() as u64);
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let identity = StoreIdentity::new("etcd", "fuzz", at, true).with_cluster_id("1");
    let source = ScannedSource::cluster(&identity, &census.report(), at, now);
    Evidence::builder(now).scanned(source).finish().ok()
}

fn count(evidence: &Evidence, asked: &KeyId) -> u64 {
    let count = |it: FoundReference<'_>| it.reference.live() + it.reference.history();
    evidence.references_to(asked).map(count).sum()
}

fuzz_target!(|input: Input<'_>| {
    if let Ok(read) = Evidence::from_json(input.document) {
        let written = read.to_json().expect("what was read can be written");
        assert_eq!(Evidence::from_json(&written).expect("ours"), read);
    }
    let Some(evidence) = evidence(&input.values) else {
        return;
    };
    let json = evidence.to_json().expect("few values");
    assert_eq!(Evidence::from_json(&json).expect("ours"), evidence);
    let (at, byte) = input.patch;
    let mut bytes = json.into_bytes();
    let at = at as usize % bytes.len();
    bytes[at] = byte;
    if let Some(read) = String::from_utf8(bytes)
        .ok()
        .and_then(|text| Evidence::from_json(&text).ok())
    {
        assert_eq!(read, evidence);
    }
    let Ok(asked) = KeyId::new(input.asked) else {
        return;
    };
    let objections = evidence.objections(&asked);
    assert!(
        objections
            .iter()
            .all(|it| !it.to_string().chars().any(char::is_control))
    );
    if let Some((_, fewer)) = input.values.split_last() {
        let fewer = self::evidence(fewer).expect("fewer values");
        assert!(count(&fewer, &asked) <= count(&evidence, &asked));
        assert!(fewer.objections(&asked).len() <= objections.len());
    }
});
