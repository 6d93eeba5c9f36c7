//! The frozen bytes of each format: what is written with given randomness, and what is read.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Error, KeyInfo, KeyProvider, KeyState, SecretBytes, SecureRandom,
    UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_envelope::kubernetes::{DekSourceType, Transformer};
use serde_json::{Value, json};

use crate::support::{ManualClock, configuration};
use crate::{ETCD_KEY, kms, local, now};

const PLAINTEXT: &[u8] = b"k8s\0hello";

const KMS_V1_GCM: &str = "6b38733a656e633a6b6d733a76313a64656d6f3a000b777261707065642d64656b404142434445464748494a4b8981dd234e59eb6fa2680b879b4caac32f710b908d9774722e";
const KMS_V1_CBC: &str = "6b38733a656e633a6b6d733a76313a64656d6f3a000b777261707065642d64656b808182838485868788898a8b8c8d8e8f5b8cd8edca3e8f27dc27fea32bbcaf08";
const KMS_V2_SEED: &str = "6b38733a656e633a6b6d733a76323a64656d6f3a0a45202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b6c3858a1c76e1205c12f1e59a27000d8e1ac033fbe36e2eafd12056b65792d311a0c777261707065642d736565642801";
const ANNOTATION: &str = "22120a0d612e6578616d706c652e636f6d120178";
const KMS_V2_KEY: &str = "6b38733a656e633a6b6d733a76323a64656d6f3a0a25aabbccdd01ca9a3b000000001d469f358159045ef0b2747a80f761647bcf5065c4299324b912056b65792d311a0b777261707065642d64656b";
const AESCBC: &str = "6b38733a656e633a6165736362633a76313a6b6579313a808182838485868788898a8b8c8d8e8f5b8cd8edca3e8f27dc27fea32bbcaf08";
const AESGCM: &str = "6b38733a656e633a61657367636d3a76313a6b6579313a404142434445464748494a4b8981dd234e59eb6fa2680b879b4caac32f710b908d9774722e";
const SECRETBOX: &str = "6b38733a656e633a736563726574626f783a76313a6b6579313a606162636465666768696a6b6c6d6e6f7071727374757677073f0bb60e5346d038a7ce27c0489222f8f6d8d4b7338c4b9e";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn run(from: u8, len: u8) -> Vec<u8> {
    (from..from + len).collect()
}

/// Gives these bytes, in this order, and no more.
#[derive(Debug)]
struct Script(Mutex<VecDeque<u8>>);

impl SecureRandom for Script {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        let mut script = self.0.lock().unwrap();
        for byte in bytes {
            *byte = script.pop_front().expect("more randomness than expected");
        }
        Ok(())
    }
}

/// Wraps everything as the same words.
#[derive(Debug)]
struct Fixed {
    words: &'static str,
    annotated: bool,
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fixed")
    }
}

#[async_trait]
impl KeyProvider for Fixed {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic().with_unwraps_without_key_id(true)
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Ok(KeyInfo::new("key-1".parse()?, KeyState::Enabled))
    }

    async fn wrap(&self, dek: &SecretBytes, _: &WrapOptions) -> Result<WrappedKey, Error> {
        assert_eq!(dek.expose(), run(0, 32));
        let wrapped = WrappedKey::new("key-1".parse()?, self.words.into())?;
        if self.annotated {
            return wrapped.with_annotation("a.example.com", b"x".to_vec());
        }
        Ok(wrapped)
    }

    async fn unwrap(&self, wrapped: &WrappedKey, _: &UnwrapOptions) -> Result<SecretBytes, Error> {
        assert_eq!(wrapped.ciphertext(), self.words.as_bytes());
        assert_eq!(wrapped.annotations().len(), usize::from(self.annotated));
        Ok(SecretBytes::from_vec(run(0, 32)))
    }
}

fn transformer(
    provider: Value,
    fixed: Fixed,
    written: DekSourceType,
    script: Vec<u8>,
) -> Transformer {
    let configuration = configuration(&json!([provider]));
    let transformer = Transformer::builder(
        &configuration.resources[0].providers,
        Arc::new(ManualClock::default()),
        Arc::new(Script(Mutex::new(script.into()))),
    )
    .kms("demo", Arc::new(fixed))
    .kms_v2_source_type(written)
    .build()
    .unwrap();
    now(transformer.refresh()).unwrap();
    transformer
}

fn fixed(words: &'static str) -> Fixed {
    Fixed {
        words,
        annotated: false,
    }
}

const SEED: DekSourceType = DekSourceType::HkdfSha256XnonceAesGcmSeed;

fn check(transformer: &Transformer, expected: &[u8]) {
    let written = now(transformer.write(ETCD_KEY, PLAINTEXT)).unwrap();
    assert_eq!(written, expected);
    let opened = now(transformer.read(ETCD_KEY, expected)).unwrap();
    assert_eq!(opened.plaintext(), PLAINTEXT);
    assert!(!opened.is_stale());
}

#[test]
fn the_local_providers_write_the_frozen_bytes() {
    let key = run(0, 32);
    for (provider, script, expected) in [
        ("aescbc", run(0x80, 16), AESCBC),
        ("aesgcm", run(0x40, 12), AESGCM),
        ("secretbox", run(0x60, 24), SECRETBOX),
    ] {
        let provider = local(provider, &[("key1", &key)]);
        check(
            &transformer(provider, fixed(""), SEED, script),
            &hex(expected),
        );
    }
}

#[test]
fn kms_v1_writes_the_frozen_bytes_and_reads_the_old_ones() {
    let script = [run(0, 32), run(0x40, 12)].concat();
    let v1 = transformer(kms("v1", "demo"), fixed("wrapped-dek"), SEED, script);
    check(&v1, &hex(KMS_V1_GCM));
    let opened = now(v1.read(ETCD_KEY, &hex(KMS_V1_CBC))).unwrap();
    assert_eq!(opened.plaintext(), PLAINTEXT);
    assert!(opened.is_stale());
}

#[test]
fn r38_kms_v2_writes_the_frozen_bytes() {
    let script = || [run(0, 32), run(0x20, 32), run(0x40, 12)].concat();
    let v2 = transformer(kms("v2", "demo"), fixed("wrapped-seed"), SEED, script());
    check(&v2, &hex(KMS_V2_SEED));

    let annotated = Fixed {
        words: "wrapped-seed",
        annotated: true,
    };
    let v2 = transformer(kms("v2", "demo"), annotated, SEED, script());
    let (start, end) = KMS_V2_SEED.split_at(KMS_V2_SEED.len() - 4);
    check(&v2, &hex(&format!("{start}{ANNOTATION}{end}")));
}

#[test]
fn kms_v2_writes_what_kubernetes_1_27_can_read() {
    let script = [run(0, 32), vec![0xaa, 0xbb, 0xcc, 0xdd]].concat();
    let v2 = transformer(
        kms("v2", "demo"),
        fixed("wrapped-dek"),
        DekSourceType::AesGcmKey,
        script,
    );
    check(&v2, &hex(KMS_V2_KEY));
    // The nonce is never used again.
    let next = now(v2.write(ETCD_KEY, PLAINTEXT)).unwrap();
    assert_eq!(next[22..34], hex("aabbccdd02ca9a3b00000000"));
    // To a newer API server it is stale.
    let newer = transformer(kms("v2", "demo"), fixed("wrapped-dek"), SEED, run(0, 32));
    let opened = now(newer.read(ETCD_KEY, &hex(KMS_V2_KEY))).unwrap();
    assert!(opened.is_stale());
}
