//! Stored values from files, in the forms in which people have them.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_core::SecretBytes;
use kms_policy::manifest::MAX_MANIFEST_LEN;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::Failure;

/// The most that is read of a stored value, in bytes. etcd refuses requests over 1.5 MiB by
/// default; the largest setting in use is far below this, and text encodings double it at most.
const MAX_VALUE_INPUT: usize = 64 * 1024 * 1024;
/// The most that is read of a configuration, in bytes; its parser takes no more.
const MAX_TEXT_INPUT: usize = 1024 * 1024;

/// How a value is written in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Encoding {
    /// The bytes themselves.
    Raw,
    /// Base64 text; white space and line breaks are ignored.
    Base64,
    /// Hexadecimal text; white space and line breaks are ignored.
    Hex,
    /// The output of `etcdctl get KEY -w json`, which says the etcd key as well.
    EtcdJson,
}

/// A stored value, and the etcd key that it came with.
#[derive(Debug)]
#[non_exhaustive]
pub struct StoredInput {
    /// The etcd key, where the encoding has one.
    pub etcd_key: Option<Vec<u8>>,
    /// The stored value.
    pub value: Vec<u8>,
}

/// Reads a stored value from a file, or from standard input if the path is `-`.
///
/// Where the encoding holds several values, `etcd_key` chooses one.
///
/// # Errors
///
/// A [`Failure`] that names the file: it cannot be read, is over 64 MiB, is not in this encoding,
/// does not hold the etcd key, or holds no value. Nothing is stored as no bytes at all: that is what
/// a tool writes of a key that is not there.
pub fn read_value(
    path: &Path,
    encoding: Encoding,
    etcd_key: Option<&[u8]>,
) -> Result<StoredInput, Failure> {
    let bytes = read_bytes(path, MAX_VALUE_INPUT)?;
    decode(&bytes, encoding, etcd_key)
        .and_then(StoredInput::unless_empty)
        .map_err(|failure| failure.at(name_of(path)))
}

impl StoredInput {
    fn unless_empty(self) -> Result<Self, Failure> {
        if !self.value.is_empty() {
            return Ok(self);
        }
        Err(Failure::new(
            "invalid_input",
            "the value is empty",
            "check that the key is there, and that its value was asked for: etcdctl writes nothing of a key that it does not find, and no value with --keys-only",
        ))
    }
}

/// Reads a text file of at most 1 MiB that may hold secrets, or standard input if the path is `-`.
///
/// # Errors
///
/// A [`Failure`] that names the file: it cannot be read, is too long, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, Failure> {
    read_long_text(path, MAX_TEXT_INPUT)
}

/// Reads a file of Kubernetes manifests, or standard input if the path is `-`.
///
/// # Errors
///
/// A [`Failure`] that names the file: it cannot be read, is over 16 MiB, or is not UTF-8.
pub fn read_manifest(path: &Path) -> Result<String, Failure> {
    let mut text = read_long_text(path, MAX_MANIFEST_LEN)?;
    Ok(core::mem::take(&mut *text))
}

/// Reads a text file of at most `most` bytes, or standard input if the path is `-`.
pub(crate) fn read_long_text(path: &Path, most: usize) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = read_bytes(path, most)?;
    String::from_utf8(core::mem::take(&mut *bytes))
        .map(Zeroizing::new)
        .map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            Failure::new(
                "invalid_input",
                "the file is not UTF-8 text",
                "give the right file",
            )
            .at(name_of(path))
        })
}

/// Reads a file of at most `most` bytes that is a secret, or standard input if the path is `-`.
///
/// # Errors
///
/// A [`Failure`] that names the file: it cannot be read or is too long.
pub fn read_secret(path: &Path, most: usize) -> Result<SecretBytes, Failure> {
    Ok(SecretBytes::copy_from_slice(&read_bytes(path, most)?))
}

/// What to say beside an error about a value that looks as if a tool had changed it.
#[must_use]
pub fn advice_on_damage(value: &[u8]) -> Option<&'static str> {
    value.ends_with(b"\n").then_some(
        "cut off the line feed at its end if `etcdctl get --print-value-only` appended it (`head -c -1` does)",
    )
}

/// What to say of a value that nothing encrypts but that looks like the text form of another.
#[must_use]
pub fn advice_on_encoding(value: &[u8]) -> Option<&'static str> {
    // What base64 and hexadecimal make of `k8s`, with which every stored object begins.
    let text = value.trim_ascii_start();
    let says = |encoding| Some(encoding);
    if text.starts_with(b"azhz") {
        says("the value looks like base64: give --encoding base64")
    } else if text.starts_with(b"6b3873") || text.starts_with(b"6B3873") {
        says("the value looks hexadecimal: give --encoding hex")
    } else if text.starts_with(b"{\"header\"") {
        says("the value looks like what `etcdctl -w json` prints: give --encoding etcd-json")
    } else {
        None
    }
}

fn read_bytes(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |e| Failure::io(format!("reading {}", name_of(path)), e);
    if path == Path::new("-") {
        return read_from(stdin().lock(), 0, most, path);
    }
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    read_from(file, usize::try_from(length).unwrap_or(most), most, path)
}

/// Reads into one allocation where the length is known: growing would leave copies behind.
fn read_from(
    source: impl Read,
    expected: usize,
    most: usize,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let limit = most.saturating_add(1);
    // A byte more than expected lets the reader see the end without growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected.min(most).saturating_add(64)));
    source
        .take(u64::try_from(limit).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::io(format!("reading {}", name_of(path)), e))?;
    if bytes.len() > most {
        let fault = format!("there are more than {most} bytes");
        return Err(Failure::new("invalid_input", fault, "give the right file").at(name_of(path)));
    }
    Ok(bytes)
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

fn decode(
    bytes: &[u8],
    encoding: Encoding,
    etcd_key: Option<&[u8]>,
) -> Result<StoredInput, Failure> {
    let fault = |what: &str| Failure::new("invalid_input", what, "choose the right --encoding");
    let without_space = || {
        bytes
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect::<Vec<_>>()
    };
    let value = match encoding {
        Encoding::Raw => bytes.to_vec(),
        Encoding::Base64 => STANDARD
            .decode(without_space())
            .map_err(|_| fault("the file is not base64"))?,
        Encoding::Hex => {
            decode_hex(&without_space()).ok_or_else(|| fault("the file is not hexadecimal"))?
        }
        Encoding::EtcdJson => {
            let answer: EtcdAnswer = serde_json::from_slice(bytes)
                .map_err(|_| fault("the file is not what `etcdctl get -w json` prints"))?;
            return answer.choose(etcd_key);
        }
    };
    Ok(StoredInput {
        etcd_key: None,
        value,
    })
}

#[derive(Deserialize)]
struct EtcdAnswer {
    #[serde(default)]
    kvs: Vec<EtcdKeyValue>,
}

#[derive(Deserialize)]
struct EtcdKeyValue {
    key: String,
    /// Absent for an empty value.
    #[serde(default)]
    value: String,
}

impl EtcdAnswer {
    fn choose(self, etcd_key: Option<&[u8]>) -> Result<StoredInput, Failure> {
        let fault =
            |what: String, remedy: &str| Failure::new("invalid_input", what, remedy.to_owned());
        let mut values = Vec::new();
        for (index, pair) in self.kvs.iter().enumerate() {
            let base64 = |field: &str, text: &str| {
                STANDARD.decode(text).map_err(|_| {
                    fault(
                        format!("kvs[{index}].{field} is not base64"),
                        "get it from etcd again",
                    )
                })
            };
            values.push(StoredInput {
                etcd_key: Some(base64("key", &pair.key)?),
                value: base64("value", &pair.value)?,
            });
        }
        let count = values.len();
        let mut chosen = values
            .into_iter()
            .filter(|value| etcd_key.is_none() || value.etcd_key.as_deref() == etcd_key);
        match (chosen.next(), chosen.next(), count) {
            (Some(only), None, _) => Ok(only),
            (None, _, 0) => Err(fault(
                "`kvs` is empty: etcd has no such key".to_owned(),
                "check the key that was asked for",
            )),
            (None, _, _) => Err(fault(
                "none of the keys in `kvs` is the one given with --etcd-key".to_owned(),
                "leave --etcd-key away to take the key from the file, or get that key",
            )),
            _ => Err(fault(
                format!("`kvs` holds {count} keys"),
                "get one key, or choose with --etcd-key",
            )),
        }
    }
}

/// Hexadecimal text of even length, either case.
fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() {
        bytes.collect()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `/a` holds `00 ff 0a`, `/b` is empty.
    const ETCD: &[u8] =
        br#"{"header":{"revision":7},"kvs":[{"key":"L2E=","value":"AP8K"},{"key":"L2I="}]}"#;

    #[test]
    fn each_encoding_gives_the_same_bytes() {
        for (text, encoding) in [
            (&b"\x00\xff\n"[..], Encoding::Raw),
            (b"AP\n8K\n", Encoding::Base64),
            (b" 00Ff\n0a\n", Encoding::Hex),
            (ETCD, Encoding::EtcdJson),
        ] {
            assert_eq!(
                decode(text, encoding, Some(b"/a")).unwrap().value,
                b"\x00\xff\n"
            );
        }
    }

    #[test]
    fn etcds_answer_says_the_key() {
        let one = br#"{"kvs":[{"key":"L2E=","value":"AP8K"}]}"#;
        let read = decode(one, Encoding::EtcdJson, None).unwrap();
        assert_eq!(read.etcd_key.unwrap(), b"/a");
        assert_eq!(
            decode(ETCD, Encoding::EtcdJson, Some(b"/b")).unwrap().value,
            b""
        );
        for (text, key) in [
            (&one[..], Some(&b"/c"[..])),
            (ETCD, None),
            (br#"{"kvs":[]}"#, None),
        ] {
            assert!(decode(text, Encoding::EtcdJson, key).is_err());
        }
    }

    #[test]
    fn a_wrong_encoding_is_refused() {
        for (text, encoding) in [
            (&b"AP8"[..], Encoding::Base64),
            (b"0", Encoding::Hex),
            (b"zz", Encoding::Hex),
            (
                br#"{"kvs":[{"key":"L2E=","value":"*"}]}"#,
                Encoding::EtcdJson,
            ),
            (b"k8s:enc:", Encoding::EtcdJson),
        ] {
            assert!(decode(text, encoding, None).is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn what_a_tool_has_done_is_noticed() {
        assert!(advice_on_damage(b"k8s:enc:x\n").is_some());
        assert!(advice_on_damage(b"k8s:enc:x").is_none());
        let value = b"k8s:enc:aesgcm:v1:k:";
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [
            STANDARD.encode(value),
            hex,
            String::from_utf8(ETCD.to_vec()).unwrap(),
        ] {
            assert!(advice_on_encoding(text.as_bytes()).is_some(), "{text}");
        }
        for plain in [&value[..], b"k8s\0", b"{\"apiVersion\"", b""] {
            assert!(advice_on_encoding(plain).is_none());
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = Path::new("/nonexistent/value");
        let failure = read_value(missing, Encoding::Raw, None).unwrap_err();
        assert!(
            failure.to_string().contains("/nonexistent/value"),
            "{failure}"
        );
    }

    #[test]
    fn more_than_the_limit_is_not_read() {
        let read = |most| read_from(&b"12345"[..], 0, most, Path::new("-"));
        assert_eq!(*read(5).unwrap(), b"12345");
        assert!(read(4).is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for encoding in [Encoding::Raw, Encoding::Base64, Encoding::Hex, Encoding::EtcdJson] {
                let _ = decode(&bytes, encoding, None);
            }
        }
    }
}
