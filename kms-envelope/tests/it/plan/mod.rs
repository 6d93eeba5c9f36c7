//! From one configuration to another, and nothing that cannot be read on the way (R12, R23, R24,
//! R34, R37, R40).

mod fleet;
mod laws;
mod refused;
mod scenarios;
mod writing;

use kms_envelope::kubernetes::EncryptionConfiguration;
use kms_envelope::kubernetes::plan::{
    Action, Plan, PlanRequest, Purpose, StoredObjects, plan as make,
};
use serde_json::{Value, json};

use crate::{identity, local};

/// Entries: names of resources, and providers.
type Entries<'a> = &'a [(&'a [&'a str], &'a [Value])];

fn file(entries: Entries<'_>) -> String {
    let entries: Vec<_> = entries
        .iter()
        .map(|(resources, providers)| json!({ "resources": resources, "providers": providers }))
        .collect();
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": entries,
    })
    .to_string()
}

fn config(entries: Entries<'_>) -> EncryptionConfiguration {
    EncryptionConfiguration::parse(&file(entries)).unwrap()
}

/// A KMS whose plugin has a socket of the same name.
fn v2(name: &str) -> Value {
    v2_at(name, name)
}

fn v2_at(name: &str, socket: &str) -> Value {
    json!({ "kms": { "apiVersion": "v2", "name": name, "endpoint": format!("unix:///{socket}") } })
}

fn v1(name: &str) -> Value {
    json!({ "kms": { "apiVersion": "v1", "name": name, "endpoint": format!("unix:///{name}") } })
}

/// A key of its own for each name.
fn secret(name: &str) -> [u8; 32] {
    let mut secret = [0; 32];
    for (to, from) in secret.iter_mut().zip(name.bytes().cycle()) {
        *to = from;
    }
    secret
}

fn keys(provider: &str, names: &[&str]) -> Value {
    let secrets: Vec<_> = names.iter().map(|name| (*name, secret(name))).collect();
    let keys: Vec<_> = secrets
        .iter()
        .map(|(name, secret)| (*name, secret.as_slice()))
        .collect();
    local(provider, &keys)
}

fn gcm(names: &[&str]) -> Value {
    keys("aesgcm", names)
}

fn purposes(plan: &Plan) -> Vec<Purpose> {
    plan.steps.iter().map(|step| step.purpose).collect()
}

fn kinds(plan: &Plan) -> Vec<&'static str> {
    plan.objections.iter().map(|it| it.kind()).collect()
}

fn planned(from: Option<&EncryptionConfiguration>, to: &EncryptionConfiguration) -> Plan {
    make(&PlanRequest::new(from, to))
}

/// The text of a step's file.
fn text_of(action: &Action) -> Option<&str> {
    match action {
        Action::Configure(file) => Some(std::str::from_utf8(file.text.expose()).unwrap()),
        _ => None,
    }
}

fn stored(rows: &[(&str, &str, u64)]) -> StoredObjects {
    let rows = rows.iter().map(|(resource, prefix, objects)| {
        kms_envelope::kubernetes::plan::StoredRow::new(*resource, *prefix, *objects)
    });
    StoredObjects::new(rows.collect())
}
