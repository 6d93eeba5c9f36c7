//! Files and wrapped DEKs of format version 1, made once. `vectors/decode.py` reads them without
//! any code of ours. They must open for ever.

use std::fs;

use kms_core::local::LocalProvider;
use kms_core::{EncryptionContext, KeyProvider as _, KeyState, UnwrapOptions, WrappedKey};

use super::{Place, current, now, secret};

const PLAIN: &str = include_str!("vectors/plain.json");
const PLAIN_WRAPPED: &str = include_str!("vectors/plain.wrapped");
const LOCKED: &str = include_str!("vectors/passphrase.json");
const LOCKED_WRAPPED: &str = include_str!("vectors/passphrase.wrapped");

const PASSPHRASE: &str = "correct horse battery staple";
const DEK: &str = "a DEK that is 32 bytes in length";

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.trim().as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn context() -> EncryptionContext {
    EncryptionContext::new()
        .with("tenant", "acme")
        .and_then(|context| context.with("table", "users"))
        .unwrap()
}

#[test]
fn files_of_format_version_1_open() {
    for (text, wrapped) in [(PLAIN, PLAIN_WRAPPED), (LOCKED, LOCKED_WRAPPED)] {
        let place = Place::new();
        drop(place.create());
        fs::write(place.path(), text).unwrap();
        let options = if text == LOCKED {
            place.locked(PASSPHRASE)
        } else {
            place.options()
        };
        let provider = LocalProvider::open(place.path(), options).unwrap();
        let states: Vec<_> = provider
            .list()
            .unwrap()
            .into_iter()
            .map(|version| (version.info.state, version.imported))
            .collect();
        assert_eq!(
            states,
            [
                (KeyState::Destroyed, false),
                (KeyState::PendingDestruction, false),
                (KeyState::Disabled, true),
                (KeyState::Enabled, false),
            ]
        );
        // The id that other programs have stored is the one in the file, with its fingerprint.
        let fingerprint = text.rsplit("\"fingerprint\": \"").next().unwrap();
        let stored = format!("/4-{}", &fingerprint[..16]);
        let options = UnwrapOptions::default().with_context(context());
        let id = current(&provider).unwrap();
        assert!(id.as_str().ends_with(&stored), "{id}");
        for wrapped in [
            WrappedKey::new(id, bytes_of(wrapped)),
            WrappedKey::without_key_id(bytes_of(wrapped)),
        ] {
            let dek = now(provider.unwrap(&wrapped.unwrap(), &options)).unwrap();
            assert_eq!(dek, secret(DEK));
        }
    }
}
