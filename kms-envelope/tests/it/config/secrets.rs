//! No secret gets into an error or a `Debug` output.

use kms_envelope::kubernetes::EncryptionConfiguration;

use super::{SECRET_32, SNAPSHOT, parse, with_key, with_providers};

/// Asserts that neither `needle` nor any longer part of it is in what the error says.
#[track_caller]
fn refused_without(text: &str, needle: &str) {
    let error = EncryptionConfiguration::parse(text).unwrap_err();
    let said = format!("{error}\n{error:?}\n{error:#?}");
    for part in needle.as_bytes().windows(6.min(needle.len())) {
        let part = core::str::from_utf8(part).unwrap();
        assert!(!said.contains(part), "{part} is in {said}");
    }
}

#[test]
fn a_secret_in_the_wrong_form_is_not_repeated() {
    let secret = "hunter2hunter2hunter2hunter2hunt";
    for field in [
        format!("'{secret}!'"),
        format!("'{secret}='"),
        secret.get(..7).unwrap().to_owned(),
        format!("[{secret}]"),
        format!("{{{secret}: 1}}"),
        format!("{{a: {secret}}}"),
        format!("*{secret}"),
        format!("!{secret} a"),
        format!("!!binary {secret}!"),
        format!("\"{secret}\\q\""),
        format!("'{secret}"),
        format!("[{secret}"),
        format!("{secret}, {secret}: a"),
        format!("&a {secret}, secret: *a"),
        format!("@{secret}"),
        format!("`{secret}"),
        format!("%{secret}"),
    ] {
        refused_without(&with_key(&format!("name: k, secret: {field}")), "hunter2");
    }
    for number in [
        "31415926535897932384626433832795",
        "3.1415926535897932384",
        "3141592e999",
    ] {
        refused_without(&with_key(&format!("name: k, secret: {number}")), "1415926");
    }
    refused_without(&with_key(&format!("name: k, {secret}: a")), "hunter2");
    refused_without(
        &with_key(&format!("name: [k], secret: {SECRET_32}")),
        SECRET_32,
    );
    refused_without(&with_key(&format!("{SECRET_32}: k")), SECRET_32);
    refused_without(
        &with_providers(&format!("[{{aescbc: {{keys: {SECRET_32}}}}}]")),
        SECRET_32,
    );
    refused_without(
        &with_providers(&format!("[{{aescbc: {SECRET_32}}}]")),
        SECRET_32,
    );
    refused_without(&with_providers(&format!("[{SECRET_32}]")), SECRET_32);
    refused_without(
        &format!("{SNAPSHOT}\n{SNAPSHOT}"),
        "ve5qTlLyc7iiy+TLEze+fXMd7p6deviiv9IFtjiZ3Rc=",
    );
    refused_without(
        &format!("{SNAPSHOT}\n---\n{SNAPSHOT}"),
        "ve5qTlLyc7iiy+TLEze+fXMd7p6deviiv9IFtjiZ3Rc=",
    );
}

#[test]
fn debug_shows_lengths_alone() {
    let shown = format!("{:?}", parse(SNAPSHOT));
    assert!(
        shown.contains("cbc-2024") && shown.contains("32 bytes"),
        "{shown}"
    );
    for line in SNAPSHOT.lines() {
        if let Some((_, secret)) = line.split_once("secret: ") {
            assert!(!shown.contains(&secret[..8]), "{shown}");
        }
    }
}
