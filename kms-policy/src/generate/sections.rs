//! Parts of the settings that become parts of a policy, in the order that genpolicy writes.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Profile;
use crate::settings::Settings;
use crate::{Error, ErrorKind};

/// A part of the settings whose entries have an order.
#[derive(Clone, Debug)]
pub struct Section(Vec<(&'static str, SectionValue)>);

#[derive(Clone, Debug)]
enum SectionValue {
    Plain(Value),
    Ordered(Section),
    List(Vec<Self>),
}

impl Serialize for SectionValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(value) => value.serialize(serializer),
            Self::Ordered(section) => section.serialize(serializer),
            Self::List(values) => values.serialize(serializer),
        }
    }
}

impl Section {
    /// The value of an entry, if that is no section by itself.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        let entry = self.0.iter().find(|(known, _)| *known == name)?;
        match &entry.1 {
            SectionValue::Plain(value) => Some(value),
            SectionValue::Ordered(_) | SectionValue::List(_) => None,
        }
    }
}

impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The name of an entry, and the names in it where these have an order of their own.
type Entry = (&'static str, &'static [&'static str]);

const COMMON: &[Entry] = &[
    ("cpath", &[]),
    ("mount_source_cpath", &[]),
    ("root_path", &[]),
    ("sfprefix", &[]),
    ("spath", &[]),
    ("ipv4_a", &[]),
    ("ip_p", &[]),
    ("svc_name", &[]),
    ("svc_name_downward_env", &[]),
    ("dns_label", &[]),
    ("s_source1", &[]),
    ("s_source2", &[]),
    ("dns_subdomain", &[]),
    ("pod_uid", &[]),
    ("default_caps", &[]),
    ("privileged_caps", &[]),
    ("virtio_blk_storage_classes", &[]),
    ("smb_storage_classes", &["name", "mount_options"]),
];

/// Entries of `common` that decide how a policy is made and are no part of it.
const NOT_IN_COMMON: [&str; 1] = ["image_layer_verification"];

const CLUSTER_CONFIG: &[Entry] = &[
    ("pause_container_image", &[]),
    ("guest_pull", &[]),
    ("emptydir_type", &[]),
    ("cgroup_mount_extras_allowed", &[]),
];

const REQUEST_DEFAULTS: &[Entry] = &[
    (
        "CreateContainerRequest",
        &["allow_env_regex", "allow_env_regex_map"],
    ),
    ("CopyFileRequest", &[]),
    (
        "ExecProcessRequest",
        &["allowed_commands", "commands", "regex"],
    ),
    (
        "UpdateRoutesRequest",
        &["forbidden_device_names", "forbidden_source_regex"],
    ),
    (
        "UpdateInterfaceRequest",
        &["allow_raw_flags", "forbidden_names", "forbidden_hw_addrs"],
    ),
    (
        "AddARPNeighborsRequest",
        &[
            "forbidden_device_names",
            "forbidden_cidrs_regex",
            "allowed_states",
        ],
    ),
    ("CloseStdinRequest", &[]),
    ("GetDiagnosticDataRequest", &[]),
    ("ReadStreamRequest", &[]),
    ("UpdateEphemeralMountsRequest", &[]),
    ("WriteStreamRequest", &[]),
];

const SANDBOX: &[Entry] = &[(
    "storages",
    &[
        "driver",
        "driver_options",
        "source",
        "fstype",
        "options",
        "mount_point",
        "fs_group",
    ],
)];

pub(super) fn sandbox(settings: &Settings) -> Result<Section, Error> {
    section(settings, "sandbox", SANDBOX)
}

pub(super) fn common(settings: &Settings) -> Result<Section, Error> {
    section(settings, "common", COMMON)
}

pub(super) fn request_defaults(settings: &Settings) -> Result<Section, Error> {
    section(settings, "request_defaults", REQUEST_DEFAULTS)
}

/// Which paths are devices. What counts them in a manifest is no part of a policy.
pub(super) fn devices(settings: &Settings, profile: Profile) -> Option<Section> {
    let vfio = settings.typed.devices.as_ref().map(|devices| &devices.vfio);
    let vfio = vfio.filter(|_| profile == Profile::Kata)?;
    let path = Value::String(vfio.device_path.clone());
    let vfio = Section(vec![
        ("device_path", SectionValue::Plain(path)),
        ("nvidia", SectionValue::Ordered(Section(Vec::new()))),
    ]);
    Some(Section(vec![("vfio", SectionValue::Ordered(vfio))]))
}

/// How the cluster runs pods.
pub(super) fn cluster_config(
    settings: &Settings,
    profile: Profile,
) -> Result<Option<Section>, Error> {
    let is_there = settings.document.get("cluster_config").is_some();
    (profile == Profile::Kata && is_there)
        .then(|| section(settings, "cluster_config", CLUSTER_CONFIG))
        .transpose()
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::Settings, "is missing").at(name)
}

fn section(settings: &Settings, name: &str, entries: &[Entry]) -> Result<Section, Error> {
    let found = settings.document.get(name).ok_or_else(|| missing(name))?;
    let unknown = found.as_object().and_then(|map| {
        map.keys()
            .filter(|key| !NOT_IN_COMMON.contains(&&***key))
            .find(|key| entries.iter().all(|(known, _)| known != *key))
    });
    if let Some(key) = unknown {
        // Rules may read it, and genpolicy would have left it out: neither is to be guessed.
        return Err(
            Error::new(ErrorKind::Settings, "is not known to any profile")
                .at(format!("{name}.{key}")),
        );
    }
    let taken = entries.iter().filter_map(|(entry, inner)| {
        let value = found.get(entry)?;
        Some((*entry, ordered(value, inner)))
    });
    Ok(Section(taken.collect()))
}

fn ordered(value: &Value, names: &[&'static str]) -> SectionValue {
    match value {
        Value::Object(map) if !names.is_empty() => {
            let entries = names.iter().filter_map(|name| {
                let value = map.get(*name)?;
                Some((*name, SectionValue::Plain(value.clone())))
            });
            SectionValue::Ordered(Section(entries.collect()))
        }
        Value::Array(values) if !names.is_empty() => {
            SectionValue::List(values.iter().map(|value| ordered(value, names)).collect())
        }
        value => SectionValue::Plain(value.clone()),
    }
}
