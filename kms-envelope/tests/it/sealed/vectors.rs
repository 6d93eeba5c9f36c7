//! The frozen vectors in `tests/vectors/sealed`, which are also the proof for other
//! implementations.
//!
//! A file has `cases`, messages that open, and `refused`, what must not. Plaintext is given as its
//! length: byte *i* is *i* mod 251. An entry of `refused` changes a case: `xor` changes the bit 0
//! of one byte, once for each place from the first number up to the second; `truncate` keeps so
//! many bytes, once for each length in that range; `splice` puts bytes in the place of so many
//! others, one after the other; `message` is another message altogether. `dek`, `context` or `aad`
//! are given if they differ from the case's. `step` is the step of section 6 of the specification
//! that refuses it, where 3 stands for 3 to 5.
//!
//! The files are made from fixed salts, so they can be made again: `KMS_WRITE_VECTORS=1` writes
//! them, and without it the test compares. They may gain entries. A changed one is a new version
//! of the format.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sealed")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

pub(super) fn context_json() -> Value {
    let pairs: Vec<_> = encryption_context()
        .iter()
        .map(|(name, value)| json!([name, value]))
        .collect();
    pairs.into()
}

fn context_of(pairs: &Value) -> ContextDigest {
    let context =
        pairs
            .as_array()
            .unwrap()
            .iter()
            .fold(EncryptionContext::new(), |context, pair| {
                let [name, value] = [0, 1].map(|at| pair[at].as_str().unwrap());
                context.with(name, value).unwrap()
            });
    ContextDigest::new(&RingBackend, &context)
}

pub(super) fn recipients_json(recipients: &[Recipient]) -> Value {
    recipients
        .iter()
        .map(|recipient| {
            let wrapped = recipient.wrapped_key();
            let annotations: Map<_, _> = wrapped
                .annotations()
                .iter()
                .map(|(name, value)| (name.clone(), hex(value).into()))
                .collect();
            // The version is read back from a message, where it is stored.
            let block = dek(&backends()[0], DEK)
                .recipients_block(std::slice::from_ref(recipient))
                .unwrap();
            let material = material(&backends()[0]);
            let message = material
                .seal(Suite::default(), &Counting(0), b"", b"")
                .unwrap();
            let message = material.dek().rewrap(&message, &block).unwrap();
            let info = inspect(&message).unwrap();
            let found = info.recipients().next().unwrap();
            json!({
                "provider_id": found.provider_id(),
                "key_id": found.key_id(),
                "key_version": found.key_version().unwrap_or_default(),
                "annotations": annotations,
                "wrapped": hex(wrapped.ciphertext()),
            })
        })
        .collect()
}

fn one_case(
    name: &str,
    suite: Suite,
    form: Form,
    aad: &[u8],
    len: usize,
    recipients: &[Recipient],
) -> (Value, Vec<u8>) {
    let dek = dek(&backends()[0], DEK);
    let material = DekMaterial::new(dek, context(), recipients).unwrap();
    let (message, exponent) = match form {
        Form::Stream(size) => {
            let sealer = material
                .seal_stream(suite, size, &Counting(0x80), aad)
                .unwrap();
            let pieces: Result<Vec<_>, _> = sealer.seal_all([plaintext(len)]).collect();
            let exponent = json!(size.bytes().trailing_zeros());
            (pieces.unwrap().concat(), exponent)
        }
        _ => {
            let message = material.seal(suite, &Counting(0x80), aad, &plaintext(len));
            (message.unwrap(), Value::Null)
        }
    };
    let case = json!({
        "name": name,
        "dek": hex(&DEK),
        "context": context_json(),
        "aad": hex(aad),
        "suite": suite.as_str(),
        "chunk_exponent": exponent,
        "salt": hex(&message[8..40]),
        "recipients": recipients_json(recipients),
        "plaintext_len": len,
        "message": hex(&message),
    });
    (case, message)
}

/// Runs of neighbours that are refused at the same step.
fn runs(name: &str, edit: &str, steps: &[u8], from: usize) -> Vec<Value> {
    let mut out = Vec::new();
    let mut at = 0;
    for run in steps.chunk_by(|one, other| one == other) {
        let range = [from + at, from + at + run.len()];
        out.push(json!({ "name": name, "case": 0, edit: range, "step": run[0] }));
        at += run.len();
    }
    out
}

fn file(suite: Suite, form: Form) -> Value {
    let dek = dek(&backends()[0], DEK);
    let stream = matches!(form, Form::Stream(_));
    let len = if stream { 2 * 4096 + 5 } else { 40 };
    let (first, message) = one_case("two recipients", suite, form, AAD, len, &recipients());
    let one = [recipient("vault", "kek", vec![0xff; 40])];
    let mut cases = vec![
        first,
        one_case("no aad", suite, form, b"", 17, &one).0,
        one_case("no plaintext", suite, form, AAD, 0, &one).0,
    ];
    if stream {
        cases.push(one_case("one full chunk", suite, form, AAD, 4096, &one).0);
        let size = ChunkSize::from_exponent(13).unwrap();
        cases.push(
            one_case(
                "chunks of 8 KiB",
                suite,
                Form::Stream(size),
                AAD,
                9000,
                &one,
            )
            .0,
        );
    }

    let refused_at = |message: &[u8]| step(&open(&dek, message, &context(), AAD).unwrap_err());
    let info = inspect(&message).unwrap();
    let start = info.preamble_len();
    // All of a whole message; of a stream, enough to see the pattern.
    let shown = message.len().min(start + 64);
    let cut: Vec<u8> = (0..shown).map(|len| refused_at(&message[..len])).collect();
    let mut refused = runs("cut off", "truncate", &cut, 0);
    let changed: Vec<u8> = (0..shown)
        .map(|at| {
            let mut changed = message.clone();
            changed[at] ^= 1;
            refused_at(&changed)
        })
        .collect();
    refused.extend(runs("a changed bit", "xor", &changed, 0));

    let end = message.len();
    for (name, at, value) in [
        ("version 0", 4, "00"),
        ("version 2", 4, "02"),
        ("suite 0", 5, "00"),
        ("suite 3", 5, "03"),
        ("suite 255", 5, "ff"),
        (
            "the other suite",
            5,
            if suite == Suite::Aes256Gcm {
                "02"
            } else {
                "01"
            },
        ),
        ("form 2", 6, "02"),
        ("the other form", 6, if stream { "00" } else { "01" }),
        (
            "the other form, with its chunk exponent",
            6,
            if stream { "0000" } else { "010c" },
        ),
        ("chunk exponent 11", 7, "0b"),
        ("chunk exponent 25", 7, "19"),
        ("chunk exponent 13", 7, "0d"),
        ("17 recipients", 104, "0011"),
        ("no recipients", 104, "0000"),
        ("recipients of 1048577 bytes", 106, "00100001"),
        ("recipients of 4 GiB", 106, "ffffffff"),
    ] {
        let mut changed = message.clone();
        let bytes = unhex(&json!(value));
        changed[at..at + bytes.len()].copy_from_slice(&bytes);
        let splice = json!([[at, bytes.len(), value]]);
        let step = refused_at(&changed);
        refused.push(json!({ "name": name, "case": 0, "splice": splice, "step": step }));
    }
    for (name, tail) in [
        ("one byte more", "00"),
        ("a tag more", "00000000000000000000000000000000"),
    ] {
        let splice = json!([[end, 0, tail]]);
        refused.push(json!({ "name": name, "case": 0, "splice": splice, "step": 3 }));
    }
    if stream {
        let full = 4096 + 16;
        let chunk = |at: usize| &message[start + at * full..end.min(start + (at + 1) * full)];
        for (name, body) in [
            ("the last chunk is missing", vec![0, 1]),
            ("a chunk in the middle is missing", vec![0, 2]),
            ("the first chunk is missing", vec![1, 2]),
            ("only the last chunk", vec![2]),
            ("two chunks swapped", vec![1, 0, 2]),
            ("a chunk twice", vec![0, 0, 1, 2]),
            ("the last chunk twice", vec![0, 1, 2, 2]),
        ] {
            let body: Vec<u8> = body.into_iter().flat_map(chunk).copied().collect();
            let message = hex(&[&message[..start], &body].concat());
            refused.push(json!({ "name": name, "case": 0, "message": message, "step": 3 }));
        }
        let empty = hex(&crafted::stream_with_last_chunk(suite, &message, b""));
        refused.push(json!({
            "name": "an empty last chunk behind a full one",
            "case": 0, "message": empty, "step": 3,
        }));
        for at in [0, 1, 4095, 4096, 4111] {
            let from = start + full + at;
            refused.push(json!({
                "name": "a changed bit in the second chunk",
                "case": 0, "xor": [from, from + 1], "step": 3,
            }));
        }
        for left in [0, 1, 15, 16, 17] {
            let len = start + full + left;
            refused.push(json!({
                "name": "cut off near the end of the first chunk",
                "case": 0, "truncate": [len, len + 1], "step": 3,
            }));
        }
    }
    for (name, field, value, step) in [
        ("another DEK", "dek", json!(hex(&[0x43; 32])), 3),
        ("a DEK of 16 bytes", "dek", json!(hex(&[0x42; 16])), 3),
        ("no context", "context", json!([]), 2),
        (
            "another value in the context",
            "context",
            json!([["table", "käse"], ["tenant", "Acme"]]),
            2,
        ),
        (
            "a pair less in the context",
            "context",
            json!([["tenant", "acme"]]),
            2,
        ),
        ("no aad", "aad", json!(""), 3),
        ("another aad", "aad", json!(hex(b"row 8")), 3),
        ("a longer aad", "aad", json!(hex(b"row 70")), 3),
    ] {
        refused.push(json!({ "name": name, "case": 0, field: value, "step": step }));
    }
    json!({ "format": "kms-sealed-v1", "cases": cases, "refused": refused })
}

/// Recipients at the edges of the rules and beyond, where MAC and commitment are right.
fn recipients_file() -> Value {
    let entry = |name: &str, message: &[u8]| {
        json!({
            "name": name,
            "dek": hex(&DEK),
            "context": context_json(),
            "aad": hex(AAD),
            "plaintext": hex(b"plaintext"),
            "message": hex(message),
        })
    };
    let single = |bytes: &[u8]| crafted::message(1, bytes.len() as u32, bytes);
    let cases: Vec<_> = crafted::good()
        .iter()
        .map(|(name, bytes)| entry(name, &single(bytes)))
        .collect();
    let refuse = |name: &str, message: &[u8]| json!({ "name": name, "case": 0, "message": hex(message), "step": 1 });
    let mut refused: Vec<_> = crafted::bad()
        .iter()
        .map(|(name, bytes)| refuse(name, &single(bytes)))
        .collect();
    for (name, bytes) in crafted::wrong_lengths() {
        refused.push(refuse(&name, &single(&bytes)));
    }
    for (name, count, length, entries) in crafted::bad_blocks() {
        refused.push(refuse(name, &crafted::message(count, length, &entries)));
    }
    json!({ "format": "kms-sealed-v1", "cases": cases, "refused": refused })
}

/// Messages whose parts are of two DEKs, tried with both.
fn two_deks_file() -> Value {
    let mut cases = Vec::new();
    let mut refused = Vec::new();
    for mixed in crafted::MIXED {
        let message = mixed.message();
        for secret in [crafted::A, crafted::B] {
            let opened = open(&dek(&backends()[0], secret), &message, &context(), AAD);
            match opened {
                Ok(plaintext) => cases.push(json!({
                    "name": mixed.name,
                    "dek": hex(&secret),
                    "context": context_json(),
                    "aad": hex(AAD),
                    "plaintext": hex(&plaintext),
                    "message": hex(&message),
                })),
                Err(_) => refused.push(json!({
                    "name": mixed.name,
                    "case": 0,
                    "dek": hex(&secret),
                    "message": hex(&message),
                    "step": 3,
                })),
            }
        }
    }
    json!({ "format": "kms-sealed-v1", "cases": cases, "refused": refused })
}

fn files() -> Vec<(String, Value)> {
    let mut files = vec![
        ("recipients.json".to_owned(), recipients_file()),
        ("two-deks.json".to_owned(), two_deks_file()),
    ];
    for suite in SUITES {
        files.push((format!("whole-{suite}.json"), file(suite, Form::Whole)));
        let stream = Form::Stream(ChunkSize::MIN);
        files.push((format!("stream-{suite}.json"), file(suite, stream)));
    }
    files
}

#[test]
fn the_files_are_what_is_written_today() {
    for (name, made) in files() {
        let path = folder().join(name);
        if std::env::var_os("KMS_WRITE_VECTORS").is_some() {
            let text = serde_json::to_string_pretty(&made).unwrap();
            std::fs::write(&path, text + "\n").unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let frozen: Value = serde_json::from_str(&text).unwrap();
        assert!(frozen == made, "{} has changed", path.display());
    }
}

/// All messages that an entry of `refused` stands for.
fn edited(entry: &Value, message: &[u8]) -> Vec<Vec<u8>> {
    let range = |range: &Value| {
        let [from, to] = [0, 1].map(|at| range[at].as_u64().unwrap() as usize);
        from..to
    };
    if let Some(places) = entry.get("xor") {
        let change = |at: usize| {
            let mut message = message.to_vec();
            message[at] ^= 1;
            message
        };
        return range(places).map(change).collect();
    }
    if let Some(lengths) = entry.get("truncate") {
        return range(lengths).map(|len| message[..len].to_vec()).collect();
    }
    if let Some(other) = entry.get("message") {
        return vec![unhex(other)];
    }
    let mut message = message.to_vec();
    for splice in entry
        .get("splice")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let [at, len] = [0, 1].map(|part| splice[part].as_u64().unwrap() as usize);
        message.splice(at..at + len, unhex(&splice[2]));
    }
    vec![message]
}

#[test]
fn every_frozen_vector_holds_on_every_backend() {
    for backend in backends() {
        let mut refusals = 0;
        for (name, _) in files() {
            let text = std::fs::read_to_string(folder().join(&name)).unwrap();
            let file: Value = serde_json::from_str(&text).unwrap();
            let open_with = |entry: &Value, case: &Value, message: &[u8]| {
                let field = |field: &str| entry.get(field).unwrap_or_else(|| &case[field]).clone();
                let secret = SecretBytes::from_vec(unhex(&field("dek")));
                let dek = Dek::new(Arc::clone(&backend), secret)?;
                open(
                    &dek,
                    message,
                    &context_of(&field("context")),
                    &unhex(&field("aad")),
                )
            };
            for case in file["cases"].as_array().unwrap() {
                let expected = match case.get("plaintext") {
                    Some(bytes) => unhex(bytes),
                    None => plaintext(case["plaintext_len"].as_u64().unwrap() as usize),
                };
                let opened = open_with(&json!({}), case, &unhex(&case["message"]));
                assert_eq!(opened.unwrap(), expected, "{name}: {}", case["name"]);
            }
            for entry in file["refused"].as_array().unwrap() {
                let case = &file["cases"][entry["case"].as_u64().unwrap() as usize];
                for message in edited(entry, &unhex(&case["message"])) {
                    let error = open_with(entry, case, &message).unwrap_err();
                    assert_eq!(step(&error), entry["step"], "{name}: {}", entry["name"]);
                    refusals += 1;
                }
            }
        }
        assert!(refusals > 2000, "{refusals}");
    }
}
