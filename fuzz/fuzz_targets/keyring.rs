//! A keyring file of unknown origin: read or refused, never a panic.
#![no_main]

use kms_core::local::check_keyring;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Without a passphrase: Argon2id would only make it slow.
    if let Ok(summary) = check_keyring(bytes, None) {
        let current = summary.versions.iter().filter(|version| version.current);
        assert_eq!(current.count(), 1);
        assert!(!summary.authenticated);
    }
});
