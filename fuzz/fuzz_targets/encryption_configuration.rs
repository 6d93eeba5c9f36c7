//! `EncryptionConfiguration::parse` on any text: it must neither panic nor hang.
#![no_main]

use kms_envelope::kubernetes::EncryptionConfiguration;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = core::str::from_utf8(data) {
        let _ = EncryptionConfiguration::parse(text);
    }
});
