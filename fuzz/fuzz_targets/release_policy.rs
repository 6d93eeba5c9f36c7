//! The text of a release policy: what is read strictly is read leniently, too, and is written and read
//! back as the same.

#![no_main]

use kms_policy::release::{ReleasePolicy, Strictness, lint};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lenient = ReleasePolicy::parse(text, Strictness::Lenient);
    if let Ok(policy) = ReleasePolicy::parse(text, Strictness::Strict) {
        assert_eq!(lenient.as_ref().ok(), Some(&policy));
        let again = ReleasePolicy::parse(&policy.to_json(), Strictness::Strict);
        assert_eq!(again.ok(), Some(policy));
    }
    if let Ok(policy) = lenient {
        let _ = lint(&policy, Some(false));
    }
});
