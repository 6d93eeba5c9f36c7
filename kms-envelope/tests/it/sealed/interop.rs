//! The second implementation, `tests/interop/sealed.py`, which was written from `FORMAT.md` and
//! shares nothing with this one.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::vectors::{context_json, hex, recipients_json, unhex};
use super::*;

fn python(arguments: &[&str], input: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut child = Command::new("python3")
        .arg(folder.join("interop/sealed.py"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(
        output.status.success(),
        "sealed.py has failed; it needs PyPI's cryptography"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs python3 with PyPI's cryptography"]
fn python_agrees_with_every_frozen_vector() {
    let output = python(&["vectors", "vectors/sealed"], "");
    let count: u64 = output.trim().parse().unwrap();
    assert!(count > 2000, "{count}");
}

#[test]
#[ignore = "needs python3 with PyPI's cryptography"]
fn each_opens_what_the_other_sealed() {
    let material = material(&backends()[0]);
    let mut requests = Vec::new();
    let mut messages = Vec::new();
    for suite in SUITES {
        for len in [0, 1, 1000, 4096, 4097, 8192, 10_000] {
            for exponent in [None, Some(12), Some(13)] {
                let size = exponent.map(|exponent| ChunkSize::from_exponent(exponent).unwrap());
                let message = match size {
                    None => material
                        .seal(suite, &Counting(5), AAD, &plaintext(len))
                        .unwrap(),
                    Some(size) => {
                        let sealer = material
                            .seal_stream(suite, size, &Counting(5), AAD)
                            .unwrap();
                        let pieces: Result<Vec<_>, _> = sealer.seal_all([plaintext(len)]).collect();
                        pieces.unwrap().concat()
                    }
                };
                requests.push(json!({
                    "dek": hex(&DEK),
                    "context": context_json(),
                    "aad": hex(AAD),
                    "suite": suite.as_str(),
                    "chunk_exponent": exponent,
                    "salt": hex(&message[8..40]),
                    "recipients": recipients_json(&recipients()),
                    "plaintext": hex(&plaintext(len)),
                    "message": hex(&message),
                }));
                messages.push(message);
            }
        }
    }
    let lines: String = requests.iter().map(|line| format!("{line}\n")).collect();
    let answers = |output: String| -> Vec<Value> {
        let lines = output.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };

    let opened = answers(python(&["open"], &lines));
    assert_eq!(opened.len(), requests.len());
    for (answer, request) in opened.iter().zip(&requests) {
        assert_eq!(answer["plaintext"], request["plaintext"]);
    }
    // With the same salt, both write the same bytes; with a salt of Python's own, ours opens.
    let sealed = answers(python(&["seal"], &lines));
    assert_eq!(sealed.len(), requests.len());
    for (answer, message) in sealed.iter().zip(&messages) {
        assert_eq!(unhex(&answer["message"]), *message);
    }
    let unsalted: String = requests
        .iter()
        .map(|request| {
            let mut request = request.clone();
            request["salt"] = Value::Null;
            format!("{request}\n")
        })
        .collect();
    let sealed = answers(python(&["seal"], &unsalted));
    assert_eq!(sealed.len(), requests.len());
    for (answer, request) in sealed.iter().zip(&requests) {
        let message = unhex(&answer["message"]);
        for backend in backends() {
            let opened = open(&dek(&backend, DEK), &message, &context(), AAD).unwrap();
            assert_eq!(opened, unhex(&request["plaintext"]));
        }
    }
}
