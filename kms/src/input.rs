//! Stored values from files, in the forms in which people have them.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::Failure;

/// The most that is read, in bytes. etcd refuses requests over 1.5 MiB by default; the largest
/// setting in use is far below this, and text encodings double it at most.
const MAX_INPUT: u64 = 64 * 1024 * 1024;

/// How a value is written in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Encoding {
    /// The bytes themselves.
    Raw,
    /// Base64 text; white space around it is ignored.
    Base64,
    /// Hexadecimal text; white space around it is ignored.
    Hex,
    /// The output of `etcdctl get KEY -w json`: the value of its only key.
    EtcdJson,
}

/// Reads a stored value from a file, or from standard input if the path is `-`.
///
/// # Errors
///
/// A [`Failure`] that names the file: it cannot be read, is over 64 MiB, or is not in this
/// encoding.
pub fn read_value(path: &Path, encoding: Encoding) -> Result<Vec<u8>, Failure> {
    let bytes = read_bytes(path)?;
    decode(&bytes, encoding).map_err(|failure| failure.at(name_of(path)))
}

/// Reads a text file, or standard input if the path is `-`.
///
/// # Errors
///
/// A [`Failure`] that names the file: it cannot be read, is over 64 MiB, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read_bytes(path)?).map_err(|_| {
        Failure::new(
            "invalid_input",
            "the file is not UTF-8 text",
            "give the right file",
        )
        .at(name_of(path))
    })
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = MAX_INPUT.saturating_add(1);
    let outcome = if path == Path::new("-") {
        stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    let count = outcome.map_err(|e| Failure::io(format!("reading {}", name_of(path)), e))?;
    if u64::try_from(count).unwrap_or(u64::MAX) > MAX_INPUT {
        let fault = "the file is over 64 MiB, more than any stored value";
        return Err(Failure::new("invalid_input", fault, "give one value").at(name_of(path)));
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

fn decode(bytes: &[u8], encoding: Encoding) -> Result<Vec<u8>, Failure> {
    let fault = |what: &str| Failure::new("invalid_input", what, "choose the right --encoding");
    match encoding {
        Encoding::Raw => Ok(bytes.to_vec()),
        Encoding::Base64 => STANDARD
            .decode(bytes.trim_ascii())
            .map_err(|_| fault("the file is not base64")),
        Encoding::Hex => {
            decode_hex(bytes.trim_ascii()).ok_or_else(|| fault("the file is not hexadecimal"))
        }
        Encoding::EtcdJson => {
            let answer: EtcdAnswer = serde_json::from_slice(bytes)
                .map_err(|_| fault("the file is not what `etcdctl get -w json` prints"))?;
            match answer.kvs.as_slice() {
                [only] => STANDARD
                    .decode(&only.value)
                    .map_err(|_| fault("kvs[0].value is not base64")),
                [] => Err(fault("`kvs` is empty: the key was not found")),
                _ => Err(fault("`kvs` has several keys: get one")),
            }
        }
    }
}

#[derive(Deserialize)]
struct EtcdAnswer {
    #[serde(default)]
    kvs: Vec<EtcdKeyValue>,
}

#[derive(Deserialize)]
struct EtcdKeyValue {
    /// Absent for an empty value.
    #[serde(default)]
    value: String,
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

    #[test]
    fn each_encoding_gives_the_same_bytes() {
        let etcd = br#"{"header":{"revision":7},"kvs":[{"key":"L2E=","value":"AP8K"}],"count":1}"#;
        for (text, encoding) in [
            (&b"\x00\xff\n"[..], Encoding::Raw),
            (b"AP8K\n", Encoding::Base64),
            (b" 00Ff0a\n", Encoding::Hex),
            (etcd, Encoding::EtcdJson),
        ] {
            assert_eq!(
                decode(text, encoding).unwrap(),
                b"\x00\xff\n",
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn a_wrong_encoding_is_refused() {
        for (text, encoding) in [
            (&b"AP8"[..], Encoding::Base64),
            (b"0", Encoding::Hex),
            (b"zz", Encoding::Hex),
            (br#"{"kvs":[]}"#, Encoding::EtcdJson),
            (
                br#"{"kvs":[{"value":"AA=="},{"value":"AA=="}]}"#,
                Encoding::EtcdJson,
            ),
            (b"k8s:enc:", Encoding::EtcdJson),
        ] {
            assert!(decode(text, encoding).is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let failure = read_value(Path::new("/nonexistent/value"), Encoding::Raw).unwrap_err();
        assert!(
            failure.to_string().contains("/nonexistent/value"),
            "{failure}"
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for encoding in [Encoding::Raw, Encoding::Base64, Encoding::Hex, Encoding::EtcdJson] {
                let _ = decode(&bytes, encoding);
            }
        }
    }
}
