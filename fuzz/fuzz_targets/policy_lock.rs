//! Lock files of images: what is read is written and read again as the same; names of images are read
//! again as the same; nothing panics.
#![no_main]

use kms_policy::image::{Digest, ImageLock, ImageReference, Platform};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(lock) = ImageLock::parse(text) {
        let json = lock.to_json().expect("facts are written");
        assert_eq!(
            ImageLock::parse(&json).expect("what was written is read"),
            lock
        );
    }
    if let Ok(name) = ImageReference::parse(text) {
        assert_eq!(
            ImageReference::parse(&name.to_string()).expect("a name"),
            name
        );
        assert!(!name.repository().contains(".."));
        let pinned = name.pinned_to(&Digest::sha256(bytes));
        assert_eq!(
            ImageReference::parse(&pinned.to_string()).expect("a name"),
            pinned
        );
    }
    if let Ok(platform) = Platform::parse(text) {
        assert_eq!(
            Platform::parse(&platform.to_string()).expect("a platform"),
            platform
        );
    }
});
