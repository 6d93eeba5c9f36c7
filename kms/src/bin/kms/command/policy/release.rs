//! `kms policy release`

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kms::{Failure, read_text};
use kms_policy::release::{ReleasePolicy, Strictness, lint};
use serde_json::{Value, json};

use super::print_line;
use crate::args::policy::{PolicyRelease, ReleaseCheck, ReleaseCommand};

pub(super) fn run(args: &PolicyRelease) -> Result<(), Failure> {
    if let Some(ReleaseCommand::Check(args)) = &args.command {
        return check(args);
    }
    let hash = args.hash.as_deref().unwrap_or_default();
    let authorities = args.authority.iter().map(String::as_str);
    let policy = ReleasePolicy::for_pod(hash, authorities)?;
    let findings = lint(&policy, Some(args.immutable));
    let object = policy.to_key_vault(args.immutable);
    if args.json {
        let text: Value = serde_json::from_str(&policy.to_json()).unwrap_or_default();
        return print_line(&json!({
            "schema_version": 1,
            "policy": text,
            "release_policy": object,
            "findings": findings,
        }));
    }
    for finding in &findings {
        eprintln!("kms: {finding}");
    }
    print_line(&policy.to_pretty_json())?;
    print_line(&format!("{:#}", json!({ "release_policy": object })))
}

/// The policy in a file: by itself, in what `kms policy release` prints, or as Key Vault holds it.
fn policy_in(text: &str) -> Cow<'_, str> {
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let Some(Ok(first)) = documents.next() else {
        return Cow::Borrowed(text);
    };
    let end = documents.byte_offset();
    let object = first.get("release_policy").unwrap_or(&first);
    let encoded = object.get("data").and_then(Value::as_str);
    let decoded =
        encoded.and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok());
    if let Some(decoded) = decoded.and_then(|decoded| String::from_utf8(decoded).ok()) {
        return Cow::Owned(decoded);
    }
    let is_followed_by_object = matches!(
        documents.next(),
        Some(Ok(second)) if second.get("release_policy").is_some()
    );
    match text.get(..end) {
        Some(policy) if is_followed_by_object => Cow::Borrowed(policy),
        _ => Cow::Borrowed(text),
    }
}

fn check(args: &ReleaseCheck) -> Result<(), Failure> {
    let strictness = if args.lenient {
        Strictness::Lenient
    } else {
        Strictness::Strict
    };
    let text = read_text(&args.policy)?;
    let policy = ReleasePolicy::parse(&policy_in(&text), strictness)
        .map_err(|error| Failure::from(error).at(args.policy.display()))?;
    let claims: Value = serde_json::from_str(&read_text(&args.claims)?).map_err(|error| {
        Failure::new(
            "invalid_input",
            format!("{}: no JSON of claims: {error}", args.claims.display()),
            "give the middle part of the token, decoded",
        )
    })?;
    let trace = policy.evaluate(&claims);
    if args.json {
        print_line(&json!({
            "schema_version": 1,
            "released": trace.released,
            "authorities": trace.authorities,
            "findings": lint(&policy, None),
        }))?;
    } else {
        print_line(&trace)?;
    }
    if trace.released {
        return Ok(());
    }
    let why = match trace.failures().next() {
        Some(first) => format!("{}: {} does not hold", first.path, first.condition),
        None => "no authority of the policy issued the claims".to_owned(),
    };
    Err(Failure::new(
        "release",
        why,
        "attest the pod that the policy is for, or change the policy",
    ))
}
