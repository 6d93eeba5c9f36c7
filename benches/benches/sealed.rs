//! Sealing and opening one message, beside the same primitives called bare.
//!
//! "Same calls" means what the format needs: a random salt, HKDF with two keys out of it, key
//! set-up and cipher, and for opening also the HMAC over the recipients, into or out of a fresh
//! `Vec`. "Cipher" is the cipher alone, with a prepared key. A ratio is a throughput: 1.00 is as
//! fast, 0.50 half as fast.

use std::hint::black_box;
use std::sync::Arc;

use kms_benches::{Comparison, compare_on_cpu as compare, machine, smoke};
use kms_core::{EncryptionContext, OsRandom, SecretBytes, SecureRandom as _, WrappedKey};
use kms_envelope::crypto::RingBackend;
use kms_envelope::sealed::{ChunkSize, ContextDigest, Dek, DekMaterial, Recipient, Suite, inspect};
use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::{hkdf, hmac};

const DEK: [u8; 32] = [7; 32];
const NONCE: [u8; 12] = [0; 12];
const HEADER_LEN: usize = 104;
const SIZES: [(usize, &str); 5] = [
    (64, "64 B"),
    (1024, "1 KiB"),
    (16 * 1024, "16 KiB"),
    (64 * 1024, "64 KiB"),
    (1024 * 1024, "1 MiB"),
];

fn main() {
    if !smoke() && std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("Machine: {}.\n", machine());
    println!("| suite | size | seal | same calls | cipher | open | same calls | cipher |");
    println!("|---|---|---|---|---|---|---|---|");
    let context = ContextDigest::new(&RingBackend, &EncryptionContext::new());
    for (suite, algorithm) in [
        (Suite::Aes256Gcm, &AES_256_GCM),
        (Suite::ChaCha20Poly1305, &CHACHA20_POLY1305),
    ] {
        let material = material(context);
        let prepared = key(algorithm, &DEK);
        for (size, label) in SIZES {
            if smoke() && size > 1024 {
                continue;
            }
            let plaintext = vec![0x5a; size];
            let seal = || {
                material
                    .seal(suite, &OsRandom, b"", &plaintext)
                    .expect("seals")
            };
            let message = seal();
            let sealed = [
                compare(seal, || bare_seal(algorithm, &plaintext)),
                compare(seal, || {
                    cipher_seal(&prepared, &[0; HEADER_LEN], &plaintext)
                }),
            ];
            let info = inspect(&message).expect("parses");
            let block = &message[HEADER_LEN..info.preamble_len() - 32];
            let open = || material.dek().open(&message, &context, b"").expect("opens");
            let body = cipher_seal(&prepared, &[0; HEADER_LEN], &plaintext);
            let derived = key(algorithm, &derive(&[0; 32])[0]);
            let bare_body = cipher_seal(&derived, &[0; HEADER_LEN], &plaintext);
            let opened = [
                compare(open, || bare_open(algorithm, block, &bare_body)),
                compare(open, || cipher_open(&prepared, &body)),
            ];
            println!(
                "| {suite} | {label} | {} | {} |",
                row(&sealed),
                row(&opened)
            );
        }
    }
    println!("\n| stream of | suite | seal | cipher | open | cipher |");
    println!("|---|---|---|---|---|---|");
    for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
        stream(&material(context), &context, suite);
    }
}

fn row(outcomes: &[Comparison; 2]) -> String {
    let [same, cipher] = outcomes;
    format!(
        "{} | {:.2} | {:.2}",
        ns(same.candidate_ns),
        1.0 / same.ratio,
        1.0 / cipher.ratio
    )
}

fn ns(time: f64) -> String {
    if time >= 10_000.0 {
        format!("{:.1} us", time / 1000.0)
    } else {
        format!("{time:.0} ns")
    }
}

fn material(context: ContextDigest) -> DekMaterial {
    let secret = SecretBytes::copy_from_slice(&DEK);
    let dek = Dek::new(Arc::new(RingBackend), secret).expect("32 bytes");
    // As an RSA-2048 vault key wraps it.
    let key_id = "https://vault.example/keys/kek/0123456789abcdef0123456789abcdef";
    let wrapped = WrappedKey::new(key_id.parse().expect("valid"), vec![1; 256]).expect("valid");
    let recipient = Recipient::new("vault", wrapped).expect("valid");
    DekMaterial::new(dek, context, &[recipient]).expect("valid")
}

fn key(algorithm: &'static Algorithm, bytes: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, bytes).expect("32 bytes"))
}

fn derive(salt: &[u8; 32]) -> [[u8; 32]; 2] {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&DEK);
    [0_u8, 1].map(|label| {
        let mut out = [0; 32];
        prk.expand(&[&[label; 29], &[0; 72]], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut out))
            .expect("32 bytes");
        out
    })
}

fn cipher_seal(key: &LessSafeKey, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plaintext.len() + 16);
    out.extend_from_slice(plaintext);
    let nonce = Nonce::assume_unique_for_key(NONCE);
    key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut out)
        .expect("seals");
    out
}

fn cipher_open(key: &LessSafeKey, body: &[u8]) -> Vec<u8> {
    let mut out = body.to_vec();
    let nonce = Nonce::assume_unique_for_key(NONCE);
    let len = key
        .open_in_place(nonce, Aad::from(&[0; HEADER_LEN]), &mut out)
        .expect("opens")
        .len();
    out.truncate(len);
    out
}

fn bare_seal(algorithm: &'static Algorithm, plaintext: &[u8]) -> Vec<u8> {
    let mut salt = [0; 32];
    OsRandom.fill(&mut salt).expect("random");
    let [message, commitment] = derive(&salt);
    black_box(commitment);
    cipher_seal(&key(algorithm, &message), &[0; HEADER_LEN], plaintext)
}

fn bare_open(algorithm: &'static Algorithm, block: &[u8], body: &[u8]) -> Vec<u8> {
    let [message, commitment] = derive(&[0; 32]);
    black_box(commitment);
    black_box(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &DEK), block));
    cipher_open(&key(algorithm, &message), body)
}

/// 64 MiB, pushed as one slice and taken chunk by chunk, beside the cipher over the same chunks.
fn stream(material: &DekMaterial, context: &ContextDigest, suite: Suite) {
    let size = if smoke() { 1 << 17 } else { 1 << 26 };
    let plaintext = vec![0x5a; size];
    let seal = || {
        let sealer = material
            .seal_stream(suite, ChunkSize::default(), &OsRandom, b"")
            .expect("random");
        sealer
            .seal_all([&plaintext])
            .map(|piece| piece.expect("seals").len())
            .sum::<usize>()
    };
    let sealer = material
        .seal_stream(suite, ChunkSize::default(), &OsRandom, b"")
        .expect("random");
    let message: Vec<u8> = sealer
        .seal_all([&plaintext])
        .flat_map(|piece| piece.expect("seals"))
        .collect();
    let body = &message[inspect(&message).expect("parses").preamble_len()..];
    let open = || {
        let opener = material
            .dek()
            .open_stream(&message, context, b"")
            .expect("is ours");
        opener
            .open_all([body])
            .map(|piece| piece.expect("opens").len())
            .sum::<usize>()
    };
    let algorithm = match suite {
        Suite::Aes256Gcm => &AES_256_GCM,
        _ => &CHACHA20_POLY1305,
    };
    let prepared = key(algorithm, &DEK);
    let chunk = ChunkSize::default().bytes();
    let cipher_chunks = || {
        plaintext
            .chunks(chunk)
            .map(|chunk| cipher_seal(&prepared, &[0; 136], chunk).len())
            .sum::<usize>()
    };
    let sealed = plaintext
        .chunks(chunk)
        .map(|chunk| cipher_seal(&prepared, &[0; HEADER_LEN], chunk))
        .collect::<Vec<_>>();
    let cipher_opens = || {
        sealed
            .iter()
            .map(|chunk| cipher_open(&prepared, chunk).len())
            .sum::<usize>()
    };
    let (seal, open) = (compare(seal, cipher_chunks), compare(open, cipher_opens));
    let rate = |ns: f64| format!("{:.2} GB/s", size as f64 / ns);
    println!(
        "| {} MiB | {suite} | {} | {:.2} | {} | {:.2} |",
        size >> 20,
        rate(seal.candidate_ns),
        1.0 / seal.ratio,
        rate(open.candidate_ns),
        1.0 / open.ratio
    );
}
