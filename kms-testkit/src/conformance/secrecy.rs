//! No key in anything that is printed.

use core::error::Error as _;
use core::fmt::Write as _;

use kms_core::{CallOptions, Error, SecretBytes, UnwrapOptions, WrapOptions};

use super::harness::{Harness, wrap};
use super::report::{Outcome, Verdict, ensure};
use super::tampering::rebuild;
use super::wrapping::patterned_dek;

/// So many bytes in a row are taken for a leak and no chance.
const WINDOW: usize = 8;

/// Neither the DEK nor one of [`Harness::secrets`] shows in `Debug` and `Display` of the provider,
/// of a wrapped key and of errors with their sources: not as text, hexadecimal digits, base64 or a
/// list of numbers.
///
/// # Errors
///
/// A [`Violation`](super::Violation) that says where, and does not show it either.
pub async fn nothing_secret_is_shown(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let dek = patterned_dek(33);
    let wrapped = match wrap(harness, &dek).await {
        Ok(wrapped) => wrapped,
        Err(outcome) => return *outcome,
    };
    let mut shown: Vec<(&str, String)> = Vec::new();
    let mut tampered = wrapped.ciphertext().to_vec();
    if let Some(byte) = tampered.last_mut() {
        *byte ^= 1;
    }
    let unwrap_options = UnwrapOptions::default();
    let opened = provider.unwrap(&wrapped, &unwrap_options).await;
    shown.extend(
        opened
            .err()
            .map(|error| ("an error of unwrap", all_of(&error))),
    );
    let changed = rebuild(&wrapped, wrapped.key_id().cloned(), tampered)?;
    let refused = provider.unwrap(&changed, &unwrap_options).await;
    shown.extend(
        refused
            .err()
            .map(|error| ("an error of unwrap", all_of(&error))),
    );
    // The DEK over and over, so that its bytes would show in this error too.
    let limit = provider.capabilities().max_plaintext_len;
    let too_long = limit.saturating_add(1).min(1 << 20);
    let too_long: Vec<u8> = dek
        .expose()
        .iter()
        .copied()
        .cycle()
        .take(too_long)
        .collect();
    let too_long = SecretBytes::from_vec(too_long);
    let refused = provider.wrap(&too_long, &WrapOptions::default()).await;
    shown.extend(
        refused
            .err()
            .map(|error| ("an error of wrap", all_of(&error))),
    );
    let current = provider.current_key(&CallOptions::default()).await;
    shown.push(("the current key", format!("{current:?}")));
    shown.push(("the wrapped key", format!("{wrapped:?} {wrapped:#?}")));
    shown.push((
        "the provider",
        format!("{provider} {provider:?} {provider:#?}"),
    ));

    let mut secrets = harness.secrets();
    secrets.push(dek);
    for (place, text) in &shown {
        ensure(
            secrets.iter().all(|secret| !shows(text, secret.expose())),
            || format!("{place} shows key bytes"),
        )?;
    }
    Ok(Verdict::Held)
}

fn all_of(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?} {}", error.remedy());
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string does not fail.
        let _ = write!(text, " {cause} {cause:?}");
        source = cause.source();
    }
    text
}

/// Whether any few bytes in a row show in the text, in any of the usual forms.
fn shows(text: &str, secret: &[u8]) -> bool {
    let folded: String = text.to_ascii_lowercase();
    // Numbers of a list stand alone on a line in the alternate form.
    let joined: String = text.split_whitespace().collect();
    secret
        .windows(WINDOW.min(secret.len().max(1)))
        .any(|window| {
            let hex = window.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            let numbers: Vec<String> = window.iter().map(u8::to_string).collect();
            let escaped = window.escape_ascii().to_string();
            folded.contains(&hex)
                || joined.contains(&numbers.join(","))
                || text.contains(&escaped)
                || core::str::from_utf8(window).is_ok_and(|window| text.contains(window))
        })
        || (0..3).any(|skip| {
            // Base64 reads three bytes at a time, so one of three beginnings meets its grid.
            secret
                .get(skip..)
                .and_then(|rest| rest.get(..9))
                .is_some_and(|part| text.contains(&base64(part)))
        })
}

/// Of whole groups of three bytes, in the standard alphabet.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (groups, _) = bytes.as_chunks::<3>();
    groups
        .iter()
        .flat_map(|[a, b, c]| {
            let group = u32::from_be_bytes([0, *a, *b, *c]);
            [18, 12, 6, 0].map(|shift| group.checked_shr(shift).unwrap_or_default() & 63)
        })
        .filter_map(|digit| ALPHABET.get(usize::try_from(digit).ok()?).copied())
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_secret_is_seen() {
        let secret = b"\x01\xfe\x80hunter2-hunter2\x00\x7f";
        let debug = format!("{:?} ", &secret[3..]);
        for leak in [
            debug,
            format!("{secret:#?}"),
            "01fe8068756e746572".to_owned(),
            "01FE8068756E746572".to_owned(),
            "my hunter2-hunter2 key".to_owned(),
            "xAf6AaHVudGVyMi1o".to_owned(),
            r"\x01\xfe\x80hunter".to_owned(),
        ] {
            assert!(shows(&leak, secret), "{leak}");
        }
        for fine in ["SecretBytes(20 bytes)", "", "hunter", "[1, 254]"] {
            assert!(!shows(fine, secret), "{fine}");
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
    }
}
