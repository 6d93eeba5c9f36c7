//! Key-release policies: the grammar, its contradictions, and claims beside it.

use kms_policy::ErrorKind;
use kms_policy::release::{ReleasePolicy, Strictness, lint};
use proptest::prelude::*;
use serde_json::{Value, json};

const HASH: &str = "9bc1a6ed4b2a64a1e2ba1f0d8b9bd32f9a0f6f2b1c6f1a2b3c4d5e6f708192a3";
const AUTHORITY: &str = "https://sharedeus2.eus2.attest.azure.net";

/// A policy with these conditions, all of which must hold.
fn policy(conditions: Value) -> ReleasePolicy {
    let text = json!({
        "version": "1.0.0",
        "anyOf": [{"authority": AUTHORITY, "allOf": conditions}],
    });
    ReleasePolicy::parse(&text.to_string(), Strictness::Strict).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": AUTHORITY,
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-compliance-status": "azure-signed-katacc-uvm",
        "x-ms-sevsnpvm-hostdata": HASH,
        "x-ms-sevsnpvm-is-debuggable": false,
        "x-ms-sevsnpvm-vmpl": 0,
    })
}

/// Whether a condition holds for a claim `c` of this value.
fn holds(operator: &str, value: Value, claim: Value) -> bool {
    let policy = policy(json!([{"claim": "c", operator: value}]));
    policy
        .evaluate(&json!({"iss": AUTHORITY, "c": claim}))
        .released
}

#[test]
fn the_policy_of_a_pod_releases_to_that_pod_alone() {
    let policy = ReleasePolicy::for_pod(HASH, [AUTHORITY]).unwrap();
    assert!(policy.evaluate(&claims()).released);
    for (claim, value) in [
        ("iss", json!("https://other.attest.azure.net")),
        ("x-ms-attestation-type", json!("azurevm")),
        ("x-ms-compliance-status", json!("azure-compliant-cvm")),
        ("x-ms-sevsnpvm-hostdata", json!("0".repeat(64))),
        ("x-ms-sevsnpvm-is-debuggable", json!(true)),
        ("x-ms-sevsnpvm-vmpl", json!(1)),
    ] {
        let mut changed = claims();
        changed[claim] = value;
        let trace = policy.evaluate(&changed);
        assert!(!trace.released, "{claim}");
        if claim != "iss" {
            // And it says which condition failed.
            let failures: Vec<_> = trace.failures().collect();
            assert_eq!(failures.len(), 1);
            assert!(failures[0].condition.starts_with(claim), "{claim}");
        }
        let mut missing = claims();
        missing.as_object_mut().unwrap().remove(claim);
        assert!(!policy.evaluate(&missing).released, "{claim}");
    }
    assert_eq!(lint(&policy, Some(true)), []);
}

#[test]
fn flags_and_integers_are_the_same_as_texts_of_them() {
    for (value, claim, expected) in [
        (json!("false"), json!(false), true),
        (json!(true), json!(true), true),
        (json!(true), json!("true"), true),
        (json!("true"), json!(false), false),
        (json!("False"), json!(false), false),
        (json!("0"), json!(0), true),
        (json!(0), json!("0"), true),
        (json!("00"), json!(0), false),
        (json!("+1"), json!(1), false),
        (json!("1"), json!(1.0), false),
        (json!(1), json!(true), false),
        (json!("0"), json!(false), false),
        (json!("a"), json!("a"), true),
        (json!("a"), json!("A"), false),
        (json!("a"), json!(" a"), false),
        (json!("a"), json!(["a"]), false),
        (json!("a"), json!({"a": 1}), false),
        (json!("null"), json!(null), false),
    ] {
        assert_eq!(
            holds("equals", value.clone(), claim.clone()),
            expected,
            "{value} {claim}"
        );
    }
}

#[test]
fn what_cannot_be_compared_exactly_is_neither_equal_nor_not() {
    let huge = json!(u64::MAX);
    for (value, claim, expected) in [
        // Whole numbers are compared, however long.
        (huge.to_string().into(), huge.clone(), Some(true)),
        ("18446744073709551614".into(), huge.clone(), Some(false)),
        (json!(-1), huge.clone(), Some(false)),
        (json!(i64::MAX), huge, Some(false)),
        ("9".repeat(30).into(), "9".repeat(30).into(), Some(true)),
        (json!(1), "9".repeat(30).into(), Some(false)),
        (json!("a"), json!(1), Some(false)),
        (json!(1), json!("a"), Some(false)),
        (json!(true), json!(1), Some(false)),
        // Fractions, what is longer than JSON keeps, and numbers that are written otherwise.
        (json!("1"), json!(1.0), None),
        (json!(1), json!(1.0), None),
        (json!("1.0"), json!(1.0), None),
        (json!("a"), json!(1.5), None),
        (
            json!("18446744073709551616"),
            json!(18_446_744_073_709_551_616.0),
            None,
        ),
        (json!("1.0"), json!(1), None),
        (json!("1e0"), json!(1), None),
        (json!("01"), json!(1), None),
        (json!(" 1"), json!(1), None),
        (json!("9".repeat(60)), json!(1), None),
        (json!(1), json!("1.0"), None),
        (json!(1), json!("+1"), None),
        (json!(1), json!("01"), None),
    ] {
        let found = ["equals", "notEquals"].map(|it| holds(it, value.clone(), claim.clone()));
        let expected = [expected == Some(true), expected == Some(false)];
        assert_eq!(found, expected, "{value} {claim}");
    }
    assert!(holds("greater", json!(i64::MAX), json!(u64::MAX)));
    assert!(!holds("less", json!(i64::MAX), json!(u64::MAX)));
    assert!(holds(
        "lessOrEquals",
        json!(u64::MAX.to_string()),
        json!(u64::MAX)
    ));
    assert!(!holds("less", json!(2), json!(1.0)));
}

#[test]
fn every_operator_does_what_it_is_called() {
    for (operator, smaller, same, greater) in [
        ("equals", false, true, false),
        ("notEquals", true, false, true),
        ("less", true, false, false),
        ("lessOrEquals", true, true, false),
        ("greater", false, false, true),
        ("greaterOrEquals", false, true, true),
    ] {
        let found = [1, 2, 3].map(|claim| holds(operator, json!(2), json!(claim)));
        assert_eq!(found, [smaller, same, greater], "{operator}");
        let found = [1, 2, 3].map(|claim| holds(operator, json!("2"), json!(claim.to_string())));
        assert_eq!(found, [smaller, same, greater], "{operator} of texts");
        // What is not there fulfils nothing, and what is no number is neither more nor less.
        assert!(!holds(operator, json!(2), json!(null)), "{operator}");
        if operator != "notEquals" {
            assert!(!holds(operator, json!(2), json!("two")), "{operator}");
        }
        assert!(!holds(operator, json!(2), json!([2])), "{operator}");
    }
    assert!(holds("exists", json!(true), json!(0)));
    assert!(holds("exists", json!("true"), json!("")));
    assert!(!holds("exists", json!(true), json!(null)));
    assert!(holds("exists", json!(false), json!(null)));
    assert!(!holds("exists", json!(false), json!(1)));
    assert!(!holds("exists", json!("yes"), json!(1)));
}

#[test]
fn a_dotted_claim_leads_into_objects() {
    let policy = policy(json!([
        {"claim": "x-ms-isolation-tee.x-ms-compliance-status", "equals": "azure-compliant-cvm"},
        {"claim": "x-ms-runtime.vm-configuration.secure-boot", "equals": "true"},
    ]));
    let claims = |status: &str, boot: Value| {
        json!({
            "iss": AUTHORITY,
            "x-ms-isolation-tee": {"x-ms-compliance-status": status},
            "x-ms-runtime": {"vm-configuration": {"secure-boot": boot}},
        })
    };
    assert!(
        policy
            .evaluate(&claims("azure-compliant-cvm", json!(true)))
            .released
    );
    assert!(
        !policy
            .evaluate(&claims("azure-compliant-cvm", json!(false)))
            .released
    );
    assert!(!policy.evaluate(&claims("other", json!(true))).released);
    let flat = json!({"iss": AUTHORITY, "x-ms-compliance-status": "azure-compliant-cvm"});
    assert!(!policy.evaluate(&flat).released);
}

#[test]
fn an_issuer_is_the_same_with_and_without_a_slash_at_its_end() {
    for (authority, issuer, expected) in [
        (
            "https://a.attest.azure.net",
            "https://a.attest.azure.net/",
            true,
        ),
        (
            "https://a.attest.azure.net/",
            "https://a.attest.azure.net",
            true,
        ),
        (
            "https://A.attest.azure.net",
            "https://a.attest.azure.net",
            true,
        ),
        (
            "https://a.attest.azure.net",
            "http://a.attest.azure.net",
            false,
        ),
        (
            "https://a.attest.azure.net",
            "https://a.attest.azure.net.evil.example",
            false,
        ),
        (
            "https://a.attest.azure.net/x",
            "https://a.attest.azure.net/X",
            false,
        ),
    ] {
        let text = json!({"version": "1.0.0", "anyOf": [
            {"authority": authority, "allOf": [{"claim": "c", "equals": "1"}]},
        ]});
        let policy = ReleasePolicy::parse(&text.to_string(), Strictness::Strict).unwrap();
        let claims = json!({"iss": issuer, "c": 1});
        assert_eq!(
            policy.evaluate(&claims).released,
            expected,
            "{authority} {issuer}"
        );
    }
}

#[test]
fn any_authority_releases_and_conditions_stand_in_each_other() {
    let text = json!({"version": "1.0.0", "anyOf": [
        {"authority": "https://one.example", "allOf": [{"claim": "c", "equals": "1"}]},
        {"authority": AUTHORITY, "anyOf": [
            {"allOf": [{"claim": "a", "equals": "1"}, {"claim": "b", "equals": "1"}]},
            {"claim": "c", "equals": "1"},
        ]},
    ]});
    let policy = ReleasePolicy::parse(&text.to_string(), Strictness::Strict).unwrap();
    let of = |claims: Value| policy.evaluate(&claims);
    assert!(of(json!({"iss": AUTHORITY, "a": 1, "b": 1})).released);
    assert!(of(json!({"iss": AUTHORITY, "c": 1})).released);
    assert!(of(json!({"iss": "https://one.example/", "c": 1})).released);
    let trace = of(json!({"iss": AUTHORITY, "a": 1}));
    assert!(!trace.released);
    let paths: Vec<_> = trace.failures().map(|failure| &*failure.path).collect();
    assert_eq!(paths, ["anyOf[1].anyOf[0].allOf[1]", "anyOf[1].anyOf[1]"]);
    assert_eq!(of(json!({"iss": AUTHORITY, "c": 1})).failures().count(), 0);
}

#[test]
fn what_the_grammar_does_not_have_is_refused_with_its_place() {
    let authority = |conditions: &str| {
        format!(
            r#"{{"version":"1.0.0","anyOf":[{{"authority":"https://a","allOf":[{conditions}]}}]}}"#
        )
    };
    for (text, path) in [
        ("{".to_owned(), None),
        ("[]".to_owned(), Some("")),
        (r#"{"anyOf":[]}"#.to_owned(), None),
        (r#"{"version":"1.0.0"}"#.to_owned(), None),
        (
            r#"{"version":"1.0.0","anyOf":[]}"#.to_owned(),
            Some("anyOf"),
        ),
        // One page of the documents has this.
        (
            r#"{"version":"1.0.0","allOf":[]}"#.to_owned(),
            Some("allOf"),
        ),
        (
            r#"{"version":"1.0.0","anyOf":[{"authority":"https://a"}]}"#.to_owned(),
            Some("anyOf[0]"),
        ),
        (
            r#"{"version":"1.0.0","anyOf":[{"authority":"https://a","allOf":[],"anyOf":[]}]}"#
                .to_owned(),
            Some("anyOf[0].allOf"),
        ),
        (authority(""), Some("anyOf[0].allOf")),
        (authority(r#"{"claim":"c"}"#), Some("anyOf[0].allOf[0]")),
        (authority(r#"{"equals":"c"}"#), Some("anyOf[0].allOf[0]")),
        (
            authority(r#"{"claim":"c","contains":"x"}"#),
            Some("anyOf[0].allOf[0]"),
        ),
        (
            authority(r#"{"claim":"c","Equals":"x"}"#),
            Some("anyOf[0].allOf[0]"),
        ),
        (
            authority(r#"{"claim":"c","equals":"x","equals":"y"}"#),
            Some("anyOf[0].allOf[0]"),
        ),
        (
            authority(r#"{"claim":"c","equals":"x","less":1}"#),
            Some("anyOf[0].allOf[0]"),
        ),
        (
            authority(r#"{"claim":"c","equals":["x"]}"#),
            Some("anyOf[0].allOf[0]"),
        ),
        (
            authority(r#"{"claim":"c","equals":{"x":1}}"#),
            Some("anyOf[0].allOf[0]"),
        ),
        (
            authority(r#"{"claim":"c","equals":null}"#),
            Some("anyOf[0].allOf[0]"),
        ),
        (
            authority(r#"{"claim":"c","equals":1.5}"#),
            Some("anyOf[0].allOf[0]"),
        ),
        (
            authority(r#"{"claim":"c..d","equals":"x"}"#),
            Some("anyOf[0].allOf[0]"),
        ),
        (
            authority(r#"{"claim":"c","equals":"x"},{"anyOf":[],"claim":"c"}"#),
            Some("anyOf[0].allOf[1]"),
        ),
    ] {
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            let error = ReleasePolicy::parse(&text, strictness).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Release, "{text}");
            assert_eq!(error.path(), path, "{text} {error}");
        }
    }
    let deep = format!(
        "{}{}{}",
        r#"{"anyOf":["#.repeat(20),
        r#"{"claim":"c","equals":"x"}"#,
        "]}".repeat(20)
    );
    assert!(ReleasePolicy::parse(&authority(&deep), Strictness::Strict).is_err());
    let contains = authority(r#"{"claim":"c","contains":"x"}"#);
    let error = ReleasePolicy::parse(&contains, Strictness::Strict).unwrap_err();
    assert!(error.remedy().contains("anyOf"));
}

#[test]
fn what_people_write_is_read_on_request() {
    // The script of the sidecar writes a comma behind the last condition.
    let comma = format!(
        r#"{{"version":"1.0.0","anyOf":[{{"authority":"{AUTHORITY}","allOf":[
            {{"claim":"x-ms-attestation-type","equals":"sevsnpvm"}},
            {{"claim":"x-ms-note","equals":"a,] b"}},
        ]}}]}}"#
    );
    let version = comma
        .replace("},\n        ]", "}\n        ]")
        .replace("1.0.0", "0.2");
    let legacy = json!({"version": "1.0", "anyOf": [{"authority": AUTHORITY, "allOf": [
        {"claim": "x-ms-attestation-type", "condition": "equals", "value": "sevsnpvm"},
        {"claim": "x-ms-note", "condition": "equals", "value": "a,] b"},
    ]}]});
    for text in [comma, version, legacy.to_string()] {
        assert!(
            ReleasePolicy::parse(&text, Strictness::Strict).is_err(),
            "{text}"
        );
        let policy = ReleasePolicy::parse(&text, Strictness::Lenient).unwrap();
        let claims =
            json!({"iss": AUTHORITY, "x-ms-attestation-type": "sevsnpvm", "x-ms-note": "a,] b"});
        assert!(policy.evaluate(&claims).released, "{text}");
    }
    for condition in [
        json!({"claim": "c", "condition": "equals"}),
        json!({"claim": "c", "value": "x"}),
        json!({"claim": "c", "condition": "contains", "value": "x"}),
        json!({"claim": "c", "condition": "equals", "value": "x", "equals": "x"}),
    ] {
        let text =
            json!({"version": "1.0.0", "anyOf": [{"authority": AUTHORITY, "allOf": [condition]}]});
        assert!(
            ReleasePolicy::parse(&text.to_string(), Strictness::Lenient).is_err(),
            "{text}"
        );
    }
}

#[test]
fn the_vault_gets_base64url_without_padding() {
    use base64::Engine as _;
    let policy = ReleasePolicy::for_pod(HASH, [AUTHORITY]).unwrap();
    let object = policy.to_key_vault(true);
    assert_eq!(object["contentType"], "application/json; charset=utf-8");
    assert_eq!(object["immutable"], true);
    let data = object["data"].as_str().unwrap();
    let data = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(data)
        .unwrap();
    assert_eq!(String::from_utf8(data).unwrap(), policy.to_json());
}

#[test]
fn a_policy_for_everyone_is_not_made() {
    for hash in ["", &HASH[1..], &HASH.to_uppercase(), &"0".repeat(64)] {
        assert!(ReleasePolicy::for_pod(hash, [AUTHORITY]).is_err(), "{hash}");
    }
    for authority in ["http://a", "a", "https://", "https:///x", "https://a b"] {
        assert!(
            ReleasePolicy::for_pod(HASH, [authority]).is_err(),
            "{authority}"
        );
    }
    assert!(ReleasePolicy::for_pod(HASH, []).is_err());
}

#[test]
fn doubtful_policies_are_told() {
    let codes = |policy: &ReleasePolicy, immutable| {
        let findings = lint(policy, immutable);
        findings
            .into_iter()
            .map(|finding| finding.code)
            .collect::<Vec<_>>()
    };
    // A machine with trusted launch alone gets tokens with this.
    let weak = policy(json!([{"claim": "secureboot", "equals": "true"}]));
    let found = codes(&weak, Some(false));
    assert_eq!(
        found,
        [
            "mutable",
            "no-tee",
            "hostdata-missing",
            "debuggable-missing",
            "vmpl-missing"
        ]
    );
    let full = ReleasePolicy::for_pod(HASH, [AUTHORITY, &format!("{AUTHORITY}/")]).unwrap();
    assert_eq!(codes(&full, None), ["authority-twice"]);
    let odd = policy(json!([
        {"claim": "x-ms-attestation-type", "equals": "azurevm"},
        {"claim": "x-ms-sevsnpvm-hostdata", "equals": HASH.to_uppercase()},
        {"claim": "x-ms-sevsnpvm-is-debuggable", "equals": "false"},
        {"claim": "x-ms-sevsnpvm-vmpl", "equals": "0"},
        {"anyOf": [{"claim": "x-ms-sgx-svn", "greater": 1}]},
    ]));
    assert_eq!(
        codes(&odd, None),
        ["impossible", "hostdata-form", "operator", "nesting"]
    );
    // One of two branches lacks it.
    let either = policy(json!([{"anyOf": [
        {"claim": "x-ms-sevsnpvm-hostdata", "equals": HASH},
        {"claim": "x-ms-attestation-type", "equals": "sevsnpvm"},
    ]}]));
    assert!(codes(&either, None).contains(&"hostdata-missing"));
}

#[test]
fn values_that_let_in_too_much_or_nothing_are_told() {
    for (claim, value, expected) in [
        ("x-ms-sevsnpvm-is-debuggable", json!("false"), None),
        ("x-ms-sevsnpvm-is-debuggable", json!(false), None),
        (
            "x-ms-sevsnpvm-is-debuggable",
            json!("true"),
            Some("debuggable-allowed"),
        ),
        (
            "x-ms-sevsnpvm-is-debuggable",
            json!(true),
            Some("debuggable-allowed"),
        ),
        (
            "x-ms-sevsnpvm-is-debuggable",
            json!("False"),
            Some("debuggable-form"),
        ),
        (
            "x-ms-sevsnpvm-is-debuggable",
            json!(0),
            Some("debuggable-form"),
        ),
        ("x-ms-sevsnpvm-vmpl", json!("0"), None),
        ("x-ms-sevsnpvm-vmpl", json!(0), None),
        ("x-ms-sevsnpvm-vmpl", json!("3"), Some("vmpl-unexpected")),
        ("x-ms-sevsnpvm-vmpl", json!(1), Some("vmpl-unexpected")),
        ("x-ms-sevsnpvm-vmpl", json!("00"), Some("vmpl-unexpected")),
        (
            "x-ms-compliance-status",
            json!("azure-signed-katacc-uvm"),
            None,
        ),
        ("x-ms-compliance-status", json!("azure-compliant-cvm"), None),
        ("x-ms-compliance-status", json!("azure-compliant-uvm"), None),
        (
            "x-ms-compliance-status",
            json!("whatever"),
            Some("compliance-unknown"),
        ),
        (
            "x-ms-compliance-status",
            json!(true),
            Some("compliance-unknown"),
        ),
        ("x-ms-sevsnpvm-hostdata", json!(HASH), None),
        ("x-ms-sevsnpvm-hostdata", json!(0), Some("hostdata-form")),
        ("x-ms-sevsnpvm-hostdata", json!(true), Some("hostdata-form")),
        (
            "x-ms-sevsnpvm-hostdata",
            json!(&HASH[1..]),
            Some("hostdata-form"),
        ),
        (
            "x-ms-sevsnpvm-hostdata",
            json!("0".repeat(64)),
            Some("hostdata-zero"),
        ),
    ] {
        for within in ["", "x-ms-isolation-tee."] {
            let mut conditions: Vec<_> = claims()
                .as_object()
                .unwrap()
                .iter()
                .filter(|(name, _)| *name != "iss" && *name != claim)
                .map(|(name, value)| json!({"claim": format!("{within}{name}"), "equals": value}))
                .collect();
            let one = json!({"claim": format!("{within}{claim}"), "equals": value});
            conditions.push(one.clone());
            let findings = lint(&policy(json!(conditions)), None);
            let codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
            assert_eq!(codes, expected.into_iter().collect::<Vec<_>>(), "{one}");
        }
    }
    // With other operators, a value means something else.
    let codes = |condition: Value| {
        let findings = lint(&policy(json!([condition])), None);
        findings
            .into_iter()
            .map(|it| it.code)
            .filter(|code| !code.ends_with("-missing") && *code != "no-tee")
            .collect::<Vec<_>>()
    };
    for (claim, operator, value, expected) in [
        (
            "x-ms-sevsnpvm-is-debuggable",
            "notEquals",
            json!("false"),
            Some("debuggable-allowed"),
        ),
        (
            "x-ms-sevsnpvm-is-debuggable",
            "notEquals",
            json!(true),
            None,
        ),
        ("x-ms-sevsnpvm-is-debuggable", "exists", json!(true), None),
        ("x-ms-sevsnpvm-hostdata", "exists", json!(true), None),
        (
            "x-ms-sevsnpvm-hostdata",
            "notEquals",
            json!("0".repeat(64)),
            None,
        ),
        (
            "x-ms-sevsnpvm-hostdata",
            "notEquals",
            json!("0"),
            Some("hostdata-form"),
        ),
        ("x-ms-sevsnpvm-vmpl", "less", json!(1), None),
    ] {
        let expected: Vec<_> = core::iter::once("operator").chain(expected).collect();
        let mut condition = json!({"claim": claim});
        condition[operator] = value;
        assert_eq!(codes(condition.clone()), expected, "{condition}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(hash in "[0-9a-f]{63}[1-9a-f]", host in "[a-z]{1,12}(\\.[a-z]{1,8}){1,3}") {
        let policy = ReleasePolicy::for_pod(&hash, [&*format!("https://{host}")]).unwrap();
        for text in [policy.to_json(), policy.to_pretty_json()] {
            prop_assert_eq!(&ReleasePolicy::parse(&text, Strictness::Strict).unwrap(), &policy);
            prop_assert_eq!(&ReleasePolicy::parse(&text, Strictness::Lenient).unwrap(), &policy);
        }
    }

    #[test]
    fn no_text_makes_the_reader_fail_otherwise(text in "[{}\\[\\]\",:a-z0-9 ]{0,60}") {
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            if let Err(error) = ReleasePolicy::parse(&text, strictness) {
                prop_assert_eq!(error.kind(), ErrorKind::Release);
            }
        }
    }
}
