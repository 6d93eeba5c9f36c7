//! `EncryptionConfiguration` files, good and bad.

mod accepted;
mod arbitrary;
mod refused;
mod secrets;
mod selection;

use kms_envelope::kubernetes::EncryptionConfiguration;

/// The configuration of a cluster that went through every provider there is.
const SNAPSHOT: &str = include_str!("snapshot.yaml");

/// 32 bytes of 0x2a, and their base64.
const KEY_32: [u8; 32] = [0x2a; 32];
const SECRET_32: &str = "KioqKioqKioqKioqKioqKioqKioqKioqKioqKioqKio=";

/// A whole file around the `resources` list.
fn file(resources: &str) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: {resources}\n"
    )
}

/// A whole file with one entry for these resources, stored as they are.
fn with_names(names: &str) -> String {
    file(&format!(
        "[{{resources: {names}, providers: [{{identity: {{}}}}]}}]"
    ))
}

/// A whole file with one entry for `secrets` and these providers.
fn with_providers(providers: &str) -> String {
    file(&format!(
        "[{{resources: [secrets], providers: {providers}}}]"
    ))
}

/// A whole file with one `kms` provider of these fields.
fn with_kms(fields: &str) -> String {
    with_providers(&format!("[{{kms: {{{fields}}}}}]"))
}

/// A whole file with one `aescbc` key of these fields.
fn with_key(fields: &str) -> String {
    with_providers(&format!("[{{aescbc: {{keys: [{{{fields}}}]}}}}]"))
}

fn parse(text: &str) -> EncryptionConfiguration {
    EncryptionConfiguration::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
