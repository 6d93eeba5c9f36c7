//! A policy as fields with names: what is a list of things with names becomes one field for each, so
//! that order does not matter where it means nothing.

use std::collections::BTreeMap;

use ring::digest;
use serde::Serialize;
use serde_json::Value;

use crate::document::{DocumentContainer, PolicyDocument};
use crate::policy::hex;

/// Fields by name.
pub(super) type Fields = BTreeMap<String, Field>;

/// A field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Field {
    /// What a person is shown.
    pub(super) shown: String,
    /// What is compared.
    value: String,
}

fn plain(value: &impl Serialize) -> Field {
    let text = serde_json::to_string(value).unwrap_or_default();
    Field {
        shown: text.clone(),
        value: text,
    }
}

/// A value that may be a secret.
fn hidden(value: &str) -> Field {
    Field {
        shown: format!("a value of {} bytes", value.len()),
        value: value.to_owned(),
    }
}

pub(super) fn of_policy(document: &PolicyDocument) -> Fields {
    let data = &document.data;
    let mut fields = Fields::new();
    let digest = digest::digest(&digest::SHA256, document.rules.as_bytes());
    let rules = format!("sha256:{}", hex(digest.as_ref()));
    fields.insert("rules".to_owned(), plain(&rules));
    let config = data.cluster_config.clone().unwrap_or_default();
    for (section, entries) in [
        ("common", &data.common),
        ("sandbox", &data.sandbox),
        ("request_defaults", &data.request_defaults),
        ("cluster_config", &config),
    ] {
        for (name, value) in entries {
            match value {
                Value::Object(inner) => fields.extend(
                    inner
                        .iter()
                        .map(|(entry, value)| (format!("{section}.{name}.{entry}"), plain(value))),
                ),
                value => drop(fields.insert(format!("{section}.{name}"), plain(value))),
            }
        }
    }
    fields
}

pub(super) fn of_container(container: &DocumentContainer) -> Fields {
    let oci = &container.oci;
    let process = &oci.process;
    let mut fields = Fields::new();
    let mut put = |name: &str, field: Field| drop(fields.insert(name.to_owned(), field));
    put("OCI.Version", plain(&oci.version));
    put("OCI.Root.Path", plain(&oci.root.path));
    put("OCI.Root.Readonly", plain(&oci.root.readonly));
    put("OCI.Process.Args", plain(&process.args));
    put("OCI.Process.Cwd", plain(&process.cwd));
    put("OCI.Process.Terminal", plain(&process.terminal));
    put(
        "OCI.Process.NoNewPrivileges",
        plain(&process.no_new_privileges),
    );
    put("OCI.Process.User", plain(&process.user));
    put("OCI.Linux.MaskedPaths", plain(&oci.linux.masked_paths));
    put("OCI.Linux.ReadonlyPaths", plain(&oci.linux.readonly_paths));
    let namespaces = oci.linux.namespaces.iter().map(|one| &one.r#type);
    put(
        "OCI.Linux.Namespaces",
        plain(&namespaces.collect::<Vec<_>>()),
    );
    put("exec_commands", plain(&container.exec_commands));
    put("devices", plain(&container.devices));
    put("sandbox_pidns", plain(&container.sandbox_pidns));
    for variable in &process.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        put(&format!("OCI.Process.Env[{name}]"), hidden(value));
    }
    for (kind, names) in &process.capabilities {
        put(&format!("OCI.Process.Capabilities.{kind}"), plain(names));
    }
    for mount in &oci.mounts {
        put(&format!("OCI.Mounts[{}]", mount.destination), plain(mount));
    }
    for (key, value) in &oci.annotations {
        put(&format!("OCI.Annotations[{key}]"), plain(value));
    }
    for (name, value) in &oci.linux.sysctl {
        put(&format!("OCI.Linux.Sysctl[{name}]"), plain(value));
    }
    for (index, storage) in container.storages.iter().enumerate() {
        put(&format!("storages[{index}]"), plain(storage));
    }
    fields
}
