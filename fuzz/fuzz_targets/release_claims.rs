//! Claims beside a release policy: a release has an issuer and no failure.

#![no_main]

use kms_policy::release::{ReleasePolicy, Strictness};
use libfuzzer_sys::fuzz_target;

const POLICY: &str = r#"{"version":"1.0.0","anyOf":[{"authority":"https://a.example","anyOf":[
    {"allOf":[{"claim":"a","equals":"1"},{"claim":"b.c","notEquals":"x"}]},
    {"claim":"d","less":7},{"claim":"e","exists":true}]}]}"#;

fuzz_target!(|text: &str| {
    let Ok(claims) = serde_json::from_str(text) else {
        return;
    };
    let policy = ReleasePolicy::parse(POLICY, Strictness::Strict).expect("our own");
    let trace = policy.evaluate(&claims);
    assert_eq!(
        trace.released,
        trace.authorities.iter().any(|it| it.is_issuer && it.holds)
    );
    if trace.authorities.iter().any(|it| it.is_issuer) {
        assert_eq!(trace.released, trace.failures().next().is_none());
    }
    let _ = trace.to_string();
});
