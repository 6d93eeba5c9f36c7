//! A request to create a container, beside each container of the data.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::text::{Filler, matches, quoted, shown};
use super::{Denial, Difference, storages};
use crate::document::{DocumentContainer, DocumentMount, PolicyDocument};

/// A difference in what chooses the container weighs more than any number of others.
const WEIGHT_OF_NAMES: usize = 1000;

pub(super) fn explain(document: &PolicyDocument, body: &Value, state: Option<&Value>) -> Denial {
    let request = body.get("base").unwrap_or(body);
    let containers = document.data.containers.iter();
    let compared = containers.map(|container| {
        let mut comparison = Comparison {
            document,
            container,
            request,
            variables: variables(request, body),
            filler: Filler::new(&document.data.common),
            differences: Vec::new(),
        };
        let weight = comparison.all();
        (weight, container, comparison.differences)
    });
    let nearest = compared.min_by_key(|(weight, ..)| *weight);
    let Some((_, container, mut differences)) = nearest else {
        let none = Difference::new(
            "containers",
            "one that allows the request",
            "none in the data",
        );
        return Denial {
            nearest: None,
            differences: vec![none],
        };
    };
    differences.extend(pinned(request, state));
    Denial {
        nearest: Some(container.name().to_owned()),
        differences,
    }
}

/// The variables of a request, however it brings them.
fn variables(request: &Value, body: &Value) -> Vec<String> {
    let listed = texts(request.pointer("/OCI/Process/Env"));
    let mapped = body.get("env_map").and_then(Value::as_object);
    let mapped = mapped.into_iter().flatten();
    let mapped =
        mapped.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    let mut all: Vec<_> = listed.into_iter().map(str::to_owned).collect();
    all.extend(mapped);
    all
}

/// What an earlier container of the pod decided.
fn pinned(request: &Value, state: Option<&Value>) -> Vec<Difference> {
    let network = list(request.pointer("/OCI/Linux/Namespaces"))
        .iter()
        .find(|one| one.get("Type").and_then(Value::as_str) == Some("network"));
    let network = network.and_then(|one| one.get("Path")?.as_str());
    let found = [
        (
            "sandbox_name",
            annotation(request, "io.kubernetes.cri.sandbox-name"),
        ),
        (
            "sandbox_namespace",
            annotation(request, "io.kubernetes.cri.sandbox-namespace"),
        ),
        ("network_namespace", network.unwrap_or_default()),
    ];
    let found = found.into_iter().filter_map(|(key, got)| {
        let expected = state?.get(key)?.as_str()?;
        (expected != got).then(|| {
            Difference::new(
                format!("{key} (pinned by an earlier container)"),
                quoted(expected),
                quoted(got),
            )
        })
    });
    found.collect()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], |list| list)
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    list(value).iter().filter_map(Value::as_str).collect()
}

fn annotation<'r>(request: &'r Value, key: &str) -> &'r str {
    let annotations = request.pointer("/OCI/Annotations");
    let found = annotations.and_then(|annotations| annotations.get(key));
    found.and_then(Value::as_str).unwrap_or_default()
}

struct Comparison<'a> {
    document: &'a PolicyDocument,
    container: &'a DocumentContainer,
    request: &'a Value,
    variables: Vec<String>,
    filler: Filler<'a>,
    differences: Vec<Difference>,
}

impl<'a> Comparison<'a> {
    /// Compares everything, and says how far apart they are.
    fn all(&mut self) -> usize {
        self.names();
        let by_name = self.differences.len().saturating_mul(WEIGHT_OF_NAMES);
        self.identity();
        self.plain();
        self.scalars();
        self.user_and_capabilities();
        self.args();
        self.env();
        self.annotations();
        self.linux();
        self.mounts();
        self.storages();
        by_name.saturating_add(self.differences.len())
    }

    fn differ(&mut self, field: &str, expected: impl Into<String>, got: impl Into<String>) {
        self.differences.push(Difference::new(field, expected, got));
    }

    fn at(&self, pointer: &str) -> &'a Value {
        self.request.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn names(&mut self) {
        for key in [
            "io.katacontainers.pkg.oci.container_type",
            "io.kubernetes.cri.container-type",
            "io.kubernetes.cri.container-name",
        ] {
            let expected = self.container.oci.annotations.get(key);
            let expected = expected.map(String::as_str).unwrap_or_default();
            let got = annotation(self.request, key);
            if expected != got {
                self.differ(
                    &format!("OCI.Annotations[{key}]"),
                    quoted(expected),
                    quoted(got),
                );
            }
        }
    }

    /// Ids that the rest is filled in with.
    fn identity(&mut self) {
        let root = self.filler.of_settings(&self.container.oci.root.path);
        let pattern = format!("^{}$", root.replace("$(bundle-id)", "[a-z0-9]{64}"));
        let path = self.at("/OCI/Root/Path").as_str().unwrap_or_default();
        if matches(&pattern, path) {
            let ids = path.split('/').find(|part| part.len() == 64);
            self.filler.bundle = ids.unwrap_or_default().to_owned();
        } else {
            self.differ("OCI.Root.Path", quoted(&root), quoted(path));
        }
        self.filler.sandbox = annotation(self.request, "io.kubernetes.cri.sandbox-id").to_owned();
        self.filler.name = annotation(self.request, "io.kubernetes.cri.sandbox-name").to_owned();
        let namespace = annotation(self.request, "io.kubernetes.cri.sandbox-namespace");
        self.filler.namespace = namespace.to_owned();
    }

    /// What no policy allows.
    fn plain(&mut self) {
        for field in [
            "OCI.Hooks",
            "OCI.Solaris",
            "OCI.Windows",
            "OCI.Linux.Seccomp",
            "OCI.Linux.IntelRdt",
            "OCI.Linux.MountLabel",
            "OCI.Linux.RootfsPropagation",
            "OCI.Linux.UIDMappings",
            "OCI.Linux.GIDMappings",
            "OCI.Linux.Resources.Devices",
            "OCI.Linux.Resources.BlockIO",
            "OCI.Linux.Resources.Network",
            "OCI.Linux.Resources.Pids",
            "OCI.Process.SelinuxLabel",
            "OCI.Process.User.Username",
            "shared_mounts",
            "string_user",
        ] {
            let got = self.at(&format!("/{}", field.replace('.', "/")));
            let is_empty = match got {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                _ => false,
            };
            if !is_empty {
                self.differ(field, "nothing", shown(got));
            }
        }
        let wanted = self.container.devices.len();
        let given = list(Some(self.at("/devices"))).len();
        if given > wanted {
            self.differ("devices", format!("{wanted}"), format!("{given}"));
        }
    }

    fn scalars(&mut self) {
        let oci = &self.container.oci;
        let process = &oci.process;
        for (field, expected) in [
            ("sandbox_pidns", Value::from(self.container.sandbox_pidns)),
            ("OCI.Version", Value::from(&*oci.version)),
            ("OCI.Root.Readonly", Value::from(oci.root.readonly)),
            ("OCI.Process.Terminal", Value::from(process.terminal)),
            ("OCI.Process.Cwd", Value::from(&*process.cwd)),
            (
                "OCI.Process.NoNewPrivileges",
                Value::from(process.no_new_privileges),
            ),
            ("OCI.Process.User.UID", Value::from(process.user.uid)),
            ("OCI.Process.User.GID", Value::from(process.user.gid)),
        ] {
            let got = self.at(&format!("/{}", field.replace('.', "/")));
            if *got != expected {
                self.differ(field, shown(&expected), shown(got));
            }
        }
    }

    fn user_and_capabilities(&mut self) {
        let process = &self.container.oci.process;
        let own = process.user.gid;
        let others = |gids: &mut dyn Iterator<Item = u64>| -> BTreeSet<u64> {
            gids.filter(|gid| *gid != own).collect()
        };
        let expected = others(&mut process.user.additional_gids.iter().copied());
        let given = list(Some(self.at("/OCI/Process/User/AdditionalGids")));
        let got = others(&mut given.iter().filter_map(Value::as_u64));
        if expected != got {
            self.differ(
                "OCI.Process.User.AdditionalGids",
                format!("{expected:?}"),
                format!("{got:?}"),
            );
        }
        for kind in [
            "Ambient",
            "Bounding",
            "Effective",
            "Inheritable",
            "Permitted",
        ] {
            let listed = process
                .capabilities
                .get(kind)
                .map_or(&[][..], Vec::as_slice);
            let short = |name: &str| name.strip_prefix("CAP_").unwrap_or(name).to_owned();
            let mut expected = BTreeSet::new();
            for name in listed {
                let set = name
                    .strip_prefix("$(")
                    .and_then(|name| name.strip_suffix(')'));
                match set.and_then(|set| self.document.data.common.get(set)) {
                    Some(names) => expected.extend(texts(Some(names)).into_iter().map(short)),
                    None => drop(expected.insert(short(name))),
                }
            }
            let given = texts(Some(self.at(&format!("/OCI/Process/Capabilities/{kind}"))));
            let got: BTreeSet<_> = given.into_iter().map(short).collect();
            let more: Vec<_> = got.difference(&expected).cloned().collect();
            let less: Vec<_> = expected.difference(&got).cloned().collect();
            if !more.is_empty() || !less.is_empty() {
                self.differ(
                    &format!("OCI.Process.Capabilities.{kind}"),
                    if less.is_empty() {
                        "no more".to_owned()
                    } else {
                        format!("also {}", less.join(", "))
                    },
                    if more.is_empty() {
                        "no more".to_owned()
                    } else {
                        format!("also {}", more.join(", "))
                    },
                );
            }
        }
    }

    fn args(&mut self) {
        let expected = &self.container.oci.process.args;
        let got = texts(Some(self.at("/OCI/Process/Args")));
        if expected.len() != got.len() {
            self.differ(
                "OCI.Process.Args",
                format!("{expected:?}"),
                format!("{got:?}"),
            );
            return;
        }
        for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
            let expanded = self
                .variables
                .iter()
                .fold(expected.clone(), |text, variable| {
                    let (name, value) = variable.split_once('=').unwrap_or_default();
                    text.replace(&format!("$({name})"), value)
                });
            if !self.filler.fits(expected, got) && expanded.replace("$$", "$") != got {
                self.differ(
                    &format!("OCI.Process.Args[{index}]"),
                    quoted(expected),
                    quoted(got),
                );
            }
        }
    }

    fn env(&mut self) {
        let own = &self.container.oci.process.env;
        let defaults = self
            .document
            .data
            .request_defaults
            .get("CreateContainerRequest");
        let patterns = texts(defaults.and_then(|defaults| defaults.get("allow_env_regex")));
        let patterns: Vec<_> = patterns
            .into_iter()
            .map(|it| self.filler.of_settings(it))
            .collect();
        for variable in self.variables.clone() {
            let is_own = own.iter().any(|own| self.filler.fits(own, &variable));
            if is_own || patterns.iter().any(|pattern| matches(pattern, &variable)) {
                continue;
            }
            let name = variable.split('=').next().unwrap_or_default();
            let is_known = own.iter().any(|own| own.split('=').next() == Some(name));
            let expected = if is_known {
                "another value"
            } else {
                "no such variable"
            };
            // The value may be a secret.
            let len = variable.len().saturating_sub(name.len()).saturating_sub(1);
            self.differ(
                &format!("OCI.Process.Env[{name}]"),
                expected,
                format!("a value of {len} bytes"),
            );
        }
    }

    fn annotations(&mut self) {
        let none = Map::new();
        let given = self.at("/OCI/Annotations").as_object().unwrap_or(&none);
        for (key, value) in given {
            let value = value.as_str().unwrap_or_default();
            let is_name = key.ends_with("container-name")
                || key.ends_with("container_type")
                || key.ends_with("container-type");
            if is_name || key == "io.kubernetes.cri.image-name" {
                continue;
            }
            let field = format!("OCI.Annotations[{key}]");
            match self.container.oci.annotations.get(key) {
                Some(expected) => {
                    let pattern = self.filler.pattern(expected);
                    let is_pattern = expected.starts_with('^');
                    let fits = expected == value
                        || pattern == value
                        || (is_pattern && matches(&pattern, value))
                        || (expected.is_empty() && key.ends_with("sandbox-namespace"))
                        || expected == "$(generated-name)";
                    if !fits {
                        self.differ(&field, quoted(&pattern), quoted(value));
                    }
                }
                None if key.starts_with("io.kubernetes.cri.") => {}
                None => {
                    let mut patterns = self.container.runtime_anno_patterns.iter();
                    if !patterns.any(|(k, v)| matches(k, key) && matches(v, value)) {
                        self.differ(&field, "no such annotation", quoted(value));
                    }
                }
            }
        }
    }

    fn linux(&mut self) {
        let linux = &self.container.oci.linux;
        let kind = |kind: &str| {
            if kind == "mount" {
                "mnt".to_owned()
            } else {
                kind.to_owned()
            }
        };
        let expected: BTreeSet<_> = linux
            .namespaces
            .iter()
            .map(|one| kind(&one.r#type))
            .collect();
        let given = list(Some(self.at("/OCI/Linux/Namespaces"))).iter();
        let given =
            given.map(|one| kind(one.get("Type").and_then(Value::as_str).unwrap_or_default()));
        let got: BTreeSet<_> = given
            .filter(|kind| kind != "network" && kind != "cgroup")
            .collect();
        if expected != got {
            self.differ(
                "OCI.Linux.Namespaces",
                format!("{expected:?}"),
                format!("{got:?}"),
            );
        }
        for one in list(Some(self.at("/OCI/Linux/Namespaces"))) {
            let of = |field: &str| one.get(field).and_then(Value::as_str).unwrap_or_default();
            if of("Type") != "network" && !of("Path").is_empty() {
                let field = format!("OCI.Linux.Namespaces[{}].Path", of("Type"));
                self.differ(&field, "a new namespace", quoted(of("Path")));
            }
        }
        let masked = texts(Some(self.at("/OCI/Linux/MaskedPaths")));
        let readonly = texts(Some(self.at("/OCI/Linux/ReadonlyPaths")));
        for path in &linux.masked_paths {
            if !masked.contains(&&**path) {
                self.differ("OCI.Linux.MaskedPaths", format!("also {path}"), "no more");
            }
        }
        for path in &linux.readonly_paths {
            if !readonly.contains(&&**path) && !masked.contains(&&**path) {
                self.differ("OCI.Linux.ReadonlyPaths", format!("also {path}"), "no more");
            }
        }
        let none = Map::new();
        let sysctls = self.at("/OCI/Linux/Sysctl").as_object().unwrap_or(&none);
        for (name, value) in sysctls {
            let expected = linux.sysctl.get(name);
            if expected.map(String::as_str) != value.as_str() {
                let expected =
                    expected.map_or_else(|| "no such parameter".to_owned(), |it| quoted(it));
                self.differ(&format!("OCI.Linux.Sysctl[{name}]"), expected, shown(value));
            }
        }
        let devices = list(Some(self.at("/OCI/Linux/Devices"))).len();
        if devices > 0 {
            self.differ("OCI.Linux.Devices", "none", format!("{devices}"));
        }
    }

    fn mounts(&mut self) {
        let mut seen = BTreeSet::new();
        for mount in list(Some(self.at("/OCI/Mounts"))) {
            let got = DocumentMount::from_json(mount);
            let field = format!("OCI.Mounts[{}]", got.destination);
            if !seen.insert(got.destination.clone()) {
                self.differ(&field, "one", "two");
                continue;
            }
            let mounts = &self.container.oci.mounts;
            let known = mounts
                .iter()
                .find(|known| known.destination == got.destination);
            let Some(known) = known else {
                self.differ(&field, "no such mount", quoted(&got.source));
                continue;
            };
            if known.type_ != got.type_ {
                self.differ(
                    &format!("{field}.type_"),
                    quoted(&known.type_),
                    quoted(&got.type_),
                );
            }
            if known.options != got.options && !self.are_extras(known, &got) {
                let expected = format!("{:?}", known.options);
                self.differ(
                    &format!("{field}.options"),
                    expected,
                    format!("{:?}", got.options),
                );
            }
            let fits = if known.source.contains("$(b64_device_id)") {
                let storages = list(Some(self.at("/storages"))).iter();
                let mut points = storages.filter_map(|it| it.get("mount_point")?.as_str());
                points.any(|point| point == got.source)
            } else {
                self.source_fits(&known.source, &got.source)
            };
            if !fits {
                let expected = self.filler.pattern(&known.source);
                self.differ(
                    &format!("{field}.source"),
                    quoted(&expected),
                    quoted(&got.source),
                );
            }
        }
    }

    fn source_fits(&self, expected: &str, got: &str) -> bool {
        let pattern = self.filler.pattern(expected);
        expected == got || (pattern.starts_with('^') && matches(&pattern, got))
    }

    /// Options of cgroups that the settings allow.
    fn are_extras(&self, known: &DocumentMount, got: &DocumentMount) -> bool {
        let config = self.document.data.cluster_config.as_ref();
        let extras = texts(config.and_then(|config| config.get("cgroup_mount_extras_allowed")));
        let rest = got.options.strip_prefix(&*known.options);
        got.type_ == "cgroup"
            && rest.is_some_and(|rest| rest.iter().all(|option| extras.contains(&&**option)))
    }

    fn storages(&mut self) {
        let given = list(Some(self.at("/storages")));
        let root = self.at("/OCI/Root/Path").as_str().unwrap_or_default();
        let found = storages::compare(self.container, given, root, &|expected, got| {
            self.source_fits(expected, got)
        });
        self.differences.extend(found);
    }
}
