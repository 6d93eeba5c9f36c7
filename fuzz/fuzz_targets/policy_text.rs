//! The text of a policy: read back, linted, put to work.

#![no_main]

use kms_policy::Policy;
use kms_policy::diff::diff;
use kms_policy::document::PolicyDocument;
use kms_policy::evaluate::{Evaluator, Request};
use kms_policy::explain::explain;
use kms_policy::generate::Profile;
use kms_policy::lint::lint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let policy = Policy::from_text(text);
    let _ = lint(&policy);
    if let Ok(document) = PolicyDocument::parse(&policy) {
        assert!(diff(&document, &document).is_empty());
        let _ = explain(&document).to_string();
    }
    for profile in [Profile::AksAzl3, Profile::Kata] {
        if let Ok(mut evaluator) = Evaluator::new(profile, &policy) {
            let request = Request::parse("SetPolicyRequest", "{}").expect("a request");
            let _ = evaluator.judge(&request);
        }
    }
});
