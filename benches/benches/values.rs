//! Reading and writing one stored value, beside the same primitives called bare.
//!
//! Bare means: the random bytes, key derivation, key set-up and cipher that the format needs, from
//! the same libraries, into a fresh `Vec` for a write and out of one for a read; no configuration, no
//! prefix, no protobuf, no state, no cache, no errors to tell.

use std::hint::black_box;
use std::sync::Arc;

use aes::Aes256;
use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use crypto_secretbox::aead::AeadInPlace as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use futures_util::FutureExt as _;
use kms_benches::{Comparison, compare, machine, smoke};
use kms_core::{KeyProvider as _, OsRandom, SecureRandom as _, WrapOptions};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
use kms_testkit::{ManualClock, StaticProvider};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;

const ETCD_KEY: &[u8] = b"/registry/secrets/default/x";
const KEY: [u8; 32] = [7; 32];
const KEY_BASE64: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const SIZES: [(usize, &str); 5] = [
    (0, "0"),
    (1024, "1 KiB"),
    (16 * 1024, "16 KiB"),
    (100 * 1024, "100 KiB"),
    (900 * 1024, "900 KiB"),
];

fn main() {
    if !smoke() && std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("Machine: {}.\n", machine());
    println!("| format | size | write | bare | ratio | read | bare | ratio |");
    println!("|---|---|---|---|---|---|---|---|");
    for format in Format::ALL {
        let subject = Subject::new(format);
        for (size, label) in SIZES {
            if smoke() && size > 1024 {
                continue;
            }
            let (write, read) = subject.measure(size);
            println!(
                "| {} | {label} | {} | {} | {:.2} | {} | {} | {:.2} |",
                format.name(),
                ns(write.candidate_ns),
                ns(write.baseline_ns),
                write.ratio,
                ns(read.candidate_ns),
                ns(read.baseline_ns),
                read.ratio
            );
        }
    }
}

fn ns(time: f64) -> String {
    if time >= 10_000.0 {
        format!("{:.1} us", time / 1000.0)
    } else {
        format!("{time:.0} ns")
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Identity,
    AesCbc,
    AesGcm,
    Secretbox,
    KmsV1,
    KmsV2,
    KmsV2Old,
}

impl Format {
    const ALL: [Self; 7] = [
        Self::Identity,
        Self::AesCbc,
        Self::AesGcm,
        Self::Secretbox,
        Self::KmsV1,
        Self::KmsV2Old,
        Self::KmsV2,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::AesCbc => "aescbc",
            Self::AesGcm => "aesgcm",
            Self::Secretbox => "secretbox",
            Self::KmsV1 => "kms v1",
            Self::KmsV2 => "kms v2, seed",
            Self::KmsV2Old => "kms v2, AES key",
        }
    }

    fn provider(self) -> String {
        let keys = |kind: &str| {
            format!(r#"{{"{kind}": {{"keys": [{{"name": "k", "secret": "{KEY_BASE64}"}}]}}}}"#)
        };
        let kms = |version: &str| {
            format!(
                r#"{{"kms": {{"apiVersion": "{version}", "name": "k", "endpoint": "unix:///k"}}}}"#
            )
        };
        match self {
            Self::Identity => r#"{"identity": {}}"#.to_owned(),
            Self::AesCbc => keys("aescbc"),
            Self::AesGcm => keys("aesgcm"),
            Self::Secretbox => keys("secretbox"),
            Self::KmsV1 => kms("v1"),
            Self::KmsV2 | Self::KmsV2Old => kms("v2"),
        }
    }
}

struct Subject {
    format: Format,
    transformer: Transformer,
    provider: Arc<StaticProvider>,
}

impl Subject {
    fn new(format: Format) -> Self {
        let text = format!(
            r#"{{"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
                "resources": [{{"resources": ["secrets"], "providers": [{}]}}]}}"#,
            format.provider()
        );
        let config = EncryptionConfiguration::parse(&text).expect("a good configuration");
        let provider = Arc::new(StaticProvider::generate().expect("a key"));
        let mut builder = Transformer::builder(
            config.providers_for("", "secrets"),
            Arc::new(ManualClock::new()),
            Arc::new(OsRandom),
        )
        .kms("k", provider.clone());
        if format == Format::KmsV2Old {
            builder =
                builder.kms_v2_source_type(kms_envelope::kubernetes::DekSourceType::AesGcmKey);
        }
        let transformer = builder.build().expect("a transformer");
        now(transformer.refresh()).expect("a state");
        Self {
            format,
            transformer,
            provider,
        }
    }

    fn measure(&self, size: usize) -> (Comparison, Comparison) {
        let plaintext = vec![0x5a; size];
        let write = compare(
            || now(self.transformer.write(ETCD_KEY, &plaintext)).expect("written"),
            || self.bare_write(&plaintext),
        );
        let value = now(self.transformer.write(ETCD_KEY, &plaintext)).expect("written");
        let bare = match self.format {
            Format::KmsV1 => seal(&KEY, &[], random(), &plaintext),
            _ => self.bare_write(&plaintext),
        };
        let read = compare(
            || now(self.transformer.read(ETCD_KEY, &value)).expect("read"),
            || self.bare_read(&bare),
        );
        (write, read)
    }

    /// What the cipher needs of a write, and nothing else.
    fn bare_write(&self, plaintext: &[u8]) -> Vec<u8> {
        match self.format {
            Format::Identity => plaintext.to_vec(),
            Format::AesCbc => {
                let iv: [u8; 16] = random();
                let pad = 16 - plaintext.len() % 16;
                let mut out = Vec::with_capacity(16 + plaintext.len() + pad);
                out.extend_from_slice(&iv);
                out.extend_from_slice(plaintext);
                out.resize(16 + plaintext.len() + pad, pad as u8);
                let mut cipher = cbc::Encryptor::<Aes256>::new(&KEY.into(), &iv.into());
                let (blocks, _) = Array::<u8, U16>::slice_as_chunks_mut(&mut out[16..]);
                cipher.encrypt_blocks(blocks);
                out
            }
            Format::AesGcm | Format::KmsV2Old => seal(&KEY, &[], random(), plaintext),
            Format::Secretbox => {
                let nonce: [u8; 24] = random();
                let mut out = Vec::with_capacity(40 + plaintext.len());
                out.extend_from_slice(&nonce);
                out.extend_from_slice(&[0; 16]);
                out.extend_from_slice(plaintext);
                let (head, body) = out.split_at_mut(40);
                let tag = XSalsa20Poly1305::new(&KEY.into())
                    .encrypt_in_place_detached(&nonce.into(), b"", body)
                    .expect("sealed");
                head[24..].copy_from_slice(&tag);
                out
            }
            Format::KmsV1 => {
                // A new DEK each time, wrapped; the wrap is part of the format, so both sides pay.
                let dek = kms_core::SecretBytes::random(&OsRandom, 32).expect("randomness");
                let wrapped =
                    now(self.provider.wrap(&dek, &WrapOptions::default())).expect("wrapped");
                let key = dek.expose().try_into().expect("32 bytes");
                black_box(wrapped);
                seal(&key, &[], random(), plaintext)
            }
            Format::KmsV2 => {
                let random: [u8; 44] = random();
                let (info, nonce) = random.split_at(32);
                let key = derive(info);
                seal(&key, info, nonce.try_into().expect("12 bytes"), plaintext)
            }
        }
    }

    /// What the cipher needs of a read, and nothing else.
    fn bare_read(&self, bare: &[u8]) -> Vec<u8> {
        match self.format {
            Format::Identity => bare.to_vec(),
            Format::AesCbc => {
                let (iv, body) = bare.split_at(16);
                let iv = <[u8; 16]>::try_from(iv).expect("16 bytes");
                let mut out = body.to_vec();
                let mut cipher = cbc::Decryptor::<Aes256>::new(&KEY.into(), &iv.into());
                let (blocks, _) = Array::<u8, U16>::slice_as_chunks_mut(&mut out);
                cipher.decrypt_blocks(blocks);
                let pad = usize::from(*out.last().expect("a block"));
                out.truncate(out.len() - pad);
                out
            }
            // The DEK is in the cache.
            Format::AesGcm | Format::KmsV1 | Format::KmsV2Old => open(&KEY, bare),
            Format::Secretbox => {
                let (nonce, rest) = bare.split_at(24);
                let (tag, body) = rest.split_at(16);
                let mut out = body.to_vec();
                XSalsa20Poly1305::new(&KEY.into())
                    .decrypt_in_place_detached(
                        &<[u8; 24]>::try_from(nonce).expect("24 bytes").into(),
                        b"",
                        &mut out,
                        &<[u8; 16]>::try_from(tag).expect("16 bytes").into(),
                    )
                    .expect("opened");
                out
            }
            Format::KmsV2 => {
                let (info, rest) = bare.split_at(32);
                open(&derive(info), rest)
            }
        }
    }
}

fn derive(info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &KEY)
        .expand(&[info], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .expect("32 bytes");
    key
}

/// `head ‖ nonce ‖ ciphertext ‖ tag`
fn seal(key: &[u8; 32], head: &[u8], nonce: [u8; 12], plaintext: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key"));
    let mut out = Vec::with_capacity(head.len() + 12 + plaintext.len() + 16);
    out.extend_from_slice(head);
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plaintext);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(ETCD_KEY),
            &mut out[start..],
        )
        .expect("sealed");
    out.extend_from_slice(tag.as_ref());
    out
}

fn open(key: &[u8; 32], sealed: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key"));
    let (nonce, body) = sealed.split_at(12);
    let mut out = body.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("12 bytes");
    let length = key
        .open_in_place(nonce, Aad::from(ETCD_KEY), &mut out)
        .expect("opened")
        .len();
    out.truncate(length);
    out
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRandom.fill(&mut bytes).expect("randomness");
    bytes
}

/// Everything here is ready at the first poll: the KMS is in memory.
fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("nothing to wait for")
}
