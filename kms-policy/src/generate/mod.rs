//! Policy data of a pod.

mod budget;
mod data;
mod devices;
mod environment;
mod layers;
mod mounts;
mod names;
mod process;
mod remarks;
mod sections;
#[cfg(test)]
mod support;
mod user;
mod volumes;

use std::collections::BTreeMap;

pub use data::{
    CapabilitySets, ContainerData, Device, ExecCommand, Linux, LinuxDevice, Namespace, OciSpec,
    PolicyData, Process, Root, Storage, User,
};
pub use sections::Section;

use budget::Budget;
use environment::Environment;
use volumes::Volumes;

use crate::image::{ImageFacts, ImageLock};
use crate::initdata::INITDATA_ANNOTATION;
use crate::manifest::{Claim, Container, Document, Entries, Manifest, Workload};
use crate::policy::POLICY_ANNOTATION;
use crate::settings::Settings;
use crate::{Error, ErrorKind};

/// Which agent the policy is for, and so which of genpolicy's versions it is made like.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Profile {
    /// Kata of Azure Linux 3 on AKS, as `az confcom katapolicygen` has it (3.2.0.azl3).
    #[default]
    AksAzl3,
    /// Its successor (3.15.0.aks0), with state between requests.
    Aks3_15,
    /// Kata Containers' main line.
    Kata,
}

impl Profile {
    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AksAzl3 => "aks-azl3",
            Self::Aks3_15 => "aks-3.15",
            Self::Kata => "kata",
        }
    }

    /// The profile of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::AksAzl3, Self::Aks3_15, Self::Kata]
            .into_iter()
            .find(|profile| profile.as_str() == name)
    }

    /// The annotation of pods that brings the policy to the agent.
    #[must_use]
    pub const fn annotation(self) -> &'static str {
        match self {
            Self::AksAzl3 | Self::Aks3_15 => POLICY_ANNOTATION,
            Self::Kata => INITDATA_ANNOTATION,
        }
    }

    /// The version of the OCI runtime specification, where the settings do not say it.
    const fn oci_version(self) -> &'static str {
        match self {
            Self::AksAzl3 => "1.1.0-rc.1",
            Self::Aks3_15 => "1.2.0",
            Self::Kata => "1.1.0",
        }
    }

    /// Whether the agent keeps state from one request to the next.
    #[must_use]
    pub const fn has_state(self) -> bool {
        !matches!(self, Self::AksAzl3)
    }

    /// Whether the agent's engine speaks the older dialect of Rego.
    #[must_use]
    pub const fn is_rego_v0(self) -> bool {
        !matches!(self, Self::Kata)
    }

    /// Whether layers are proved by their dm-verity root hashes.
    const fn has_verity(self) -> bool {
        !matches!(self, Self::Kata)
    }
}

/// Objects that pods take variables and volumes from.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    entries: BTreeMap<(bool, String), Entries>,
    claims: BTreeMap<String, Claim>,
}

impl Inputs {
    /// Takes what a file holds. What was added first counts.
    pub fn add(&mut self, manifest: &Manifest) {
        for document in manifest.documents.iter().flat_map(Document::flatten) {
            match document {
                Document::Entries(entries) => {
                    let name = entries.metadata.name.clone().unwrap_or_default();
                    let key = (entries.is_secret, name);
                    self.entries.entry(key).or_insert_with(|| entries.clone());
                }
                Document::Claim(claim) => {
                    let name = claim.metadata.name.clone().unwrap_or_default();
                    self.claims.entry(name).or_insert_with(|| claim.clone());
                }
                _ => {}
            }
        }
    }

    fn entries(&self, name: &str, is_secret: bool) -> Option<&Entries> {
        self.entries.get(&(is_secret, name.to_owned()))
    }

    fn claim(&self, name: &str) -> Option<&Claim> {
        self.claims.get(name)
    }
}

/// A UUID as a regular expression.
const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";

/// What containerd hides from a container that is not privileged.
const MASKED_PATHS: [&str; 9] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// What it may then not write.
const READONLY_PATHS: [&str; 6] = [
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Makes policy data, offline.
#[derive(Debug)]
pub struct Generator<'a> {
    profile: Profile,
    settings: &'a Settings,
    images: &'a ImageLock,
    inputs: Inputs,
}

impl<'a> Generator<'a> {
    /// One for this agent, with these settings and images.
    #[must_use]
    pub fn new(profile: Profile, settings: &'a Settings, images: &'a ImageLock) -> Self {
        Self {
            profile,
            settings,
            images,
            inputs: Inputs::default(),
        }
    }

    /// Gives ConfigMaps, Secrets and claims.
    #[must_use]
    pub fn with_inputs(mut self, inputs: Inputs) -> Self {
        self.inputs = inputs;
        self
    }

    /// What a policy has to know of the pods of this workload.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`] if an image has no facts, or too few; [`ErrorKind::Settings`] if the
    /// settings lack something; [`ErrorKind::Unsupported`] and [`ErrorKind::Manifest`] if a field
    /// asks for what the policy could not check; [`ErrorKind::Manifest`] also if all containers
    /// become over 16 MiB.
    pub fn policy_data(&self, workload: &Workload) -> Result<PolicyData, Error> {
        let mut budget = Budget::of_workload();
        let pod = &workload.pod;
        // The data has the init containers in reverse: each was put in behind the pause container.
        let own = pod.init_containers.iter().rev().chain(&pod.containers);
        let mut containers = Vec::new();
        for container in core::iter::once(None).chain(own.map(Some)) {
            let made = self.container(workload, container, &mut budget)?;
            budget.take_json(&made)?;
            containers.push(made);
        }
        Ok(PolicyData {
            containers,
            common: sections::common(self.settings)?,
            sandbox: sections::sandbox(self.settings)?,
            request_defaults: sections::request_defaults(self.settings)?,
            devices: sections::devices(self.settings, self.profile),
            cluster_config: sections::cluster_config(self.settings, self.profile)?,
        })
    }

    /// Every image that the pods of this workload run, the pause image first.
    pub fn images_of<'w>(&'w self, workload: &'w Workload) -> impl Iterator<Item = &'w str> {
        let pod = &workload.pod;
        let containers = pod.init_containers.iter().chain(&pod.containers);
        core::iter::once(self.pause_image()).chain(containers.map(|container| &*container.image))
    }

    fn pause_image(&self) -> &str {
        let config = &self.settings.typed.cluster_config;
        let named = config.pause_container_image.as_deref();
        named.unwrap_or("mcr.microsoft.com/oss/kubernetes/pause:3.6")
    }

    fn facts(&self, image: &str) -> Result<&'a ImageFacts, Error> {
        let found = self.images.facts(image);
        let latest = || self.images.facts(&with_tag(image));
        found.or_else(latest).ok_or_else(|| {
            Error::new(
                ErrorKind::Image,
                format!("the lock file knows nothing of the image `{image}`"),
            )
            .with_remedy("add it with `kms policy images lock`")
        })
    }

    /// Data of one container; the pause container has no manifest.
    fn container(
        &self,
        workload: &Workload,
        container: Option<&Container>,
        budget: &mut Budget,
    ) -> Result<ContainerData, Error> {
        let settings = self.settings.container(container.is_none());
        let image = container.map_or_else(|| self.pause_image(), |container| &*container.image);
        let facts = self.facts(image)?;
        let root = Root {
            path: settings.root.path.clone(),
            readonly: container
                .is_none_or(|container| container.security.read_only_root_filesystem),
        };
        let mut storages = if self.profile.has_verity() {
            layers::storages(image, facts, &root.path)?
        } else {
            Vec::new()
        };
        let mut mounts = mounts::standard(self.settings, container);
        if let Some(container) = container {
            let mut volumes = Volumes {
                settings: self.settings,
                profile: self.profile,
                inputs: &self.inputs,
                mounts: &mut mounts,
                storages: &mut storages,
            };
            volumes.add_all(workload, container)?;
            volumes.of_image(&facts.config.volumes)?;
        }
        let environment = Environment {
            settings: self.settings,
            profile: self.profile,
            inputs: &self.inputs,
            workload,
        };
        let process = process::process(&environment, image, facts, container, budget)?;
        let is_aks_3_15 = self.profile == Profile::Aks3_15;
        let env_map = is_aks_3_15.then(|| environment::by_name(&process.env));
        let config = &self.settings.typed.kata_config;
        let by_profile = self.profile.oci_version();
        let version = config.oci_version.as_deref().unwrap_or(by_profile);
        Ok(ContainerData {
            oci: OciSpec {
                version: version.to_owned(),
                process,
                root,
                mounts,
                annotations: self.annotations(workload, container),
                linux: self.linux(workload, container),
            },
            storages,
            devices: (self.profile != Profile::AksAzl3)
                .then(|| devices::of_container(self.settings, container)),
            sandbox_pidns: container.is_some() && workload.pod.share_process_namespace,
            exec_commands: container
                .map(|it| self.exec_commands(it))
                .unwrap_or_default(),
            env_map,
            runtime_anno_patterns: (self.profile == Profile::Kata)
                .then(|| devices::annotations(self.settings, container)),
        })
    }

    fn exec_commands(&self, container: &Container) -> Vec<ExecCommand> {
        let commands = container.exec_commands.iter();
        if self.profile == Profile::AksAzl3 {
            return commands
                .map(|words| ExecCommand::Joined(words.join(" ")))
                .collect();
        }
        commands.cloned().map(ExecCommand::Words).collect()
    }

    fn annotations(
        &self,
        workload: &Workload,
        container: Option<&Container>,
    ) -> BTreeMap<String, String> {
        let mut annotations = self
            .settings
            .container(container.is_none())
            .annotations
            .clone();
        let default = &self.settings.typed.cluster_config.default_namespace;
        let default = default
            .as_deref()
            .filter(|_| self.profile == Profile::AksAzl3);
        annotations.insert(
            "io.kubernetes.cri.sandbox-namespace".to_owned(),
            names::namespace(workload, default),
        );
        if let Some(name) = names::sandbox_name(self.profile, workload) {
            annotations.insert("io.kubernetes.cri.sandbox-name".to_owned(), name);
        }
        match container {
            None => {
                let maker = if workload.pod.host_network {
                    "cnitest"
                } else {
                    "cni"
                };
                annotations.insert(
                    "nerdctl/network-namespace".to_owned(),
                    format!("^/var/run/netns/{maker}-{UUID}$"),
                );
            }
            Some(container) => {
                annotations.insert(
                    "io.kubernetes.cri.container-name".to_owned(),
                    container.name.clone(),
                );
                annotations.insert(
                    "io.kubernetes.cri.image-name".to_owned(),
                    self.image_name(&container.image),
                );
            }
        }
        if self.profile == Profile::Kata {
            annotations.extend(devices::annotations(self.settings, container));
        }
        annotations.extend(workload.pod_metadata.annotations.clone());
        annotations
    }

    /// The image's name, as containerd will have it. No rules compare it.
    fn image_name(&self, image: &str) -> String {
        if self.profile == Profile::Kata || image.contains(':') {
            image.to_owned()
        } else {
            format!("{image}:latest")
        }
    }

    fn linux(&self, workload: &Workload, container: Option<&Container>) -> Linux {
        let settings = &self.settings.container(container.is_none()).linux;
        let is_privileged = container.is_some_and(|container| container.security.privileged);
        let paths = |configured: &[String], of_containerd: &[&str]| {
            if !configured.is_empty() {
                configured.to_vec()
            } else if is_privileged {
                Vec::new()
            } else {
                of_containerd
                    .iter()
                    .map(|path| (*path).to_owned())
                    .collect()
            }
        };
        let mut sysctl = settings.sysctl.clone();
        sysctl.extend(workload.pod.security.sysctls.iter().cloned());
        let is_newer = self.profile != Profile::AksAzl3;
        let kinds = if container.is_none() && workload.pod.host_network {
            &["ipc", "mount"][..]
        } else {
            &["ipc", "uts", "mount"]
        };
        let namespaces = kinds.iter().map(|kind| Namespace {
            r#type: kind,
            path: "",
        });
        Linux {
            namespaces: namespaces.collect(),
            masked_paths: paths(&settings.masked_paths, &MASKED_PATHS),
            readonly_paths: paths(&settings.readonly_paths, &READONLY_PATHS),
            devices: is_newer.then(|| devices::files(settings, container)),
            sysctl: is_newer
                .then_some(sysctl)
                .filter(|sysctl| !sysctl.is_empty()),
        }
    }
}

/// The reference with the tag that it means.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::support::{ALL, IMAGE, Sample};
    use super::*;

    fn annotations(container: &Value) -> Value {
        container["OCI"]["Annotations"].clone()
    }

    #[test]
    fn annotations_say_what_a_container_is() {
        let sample = Sample::new(Profile::AksAzl3).metadata(
            "{name: web, annotations: {note: mine, io.katacontainers.config.agent.policy: old}}",
        );
        let (pause, made) = (annotations(&sample.pause()), annotations(&sample.made()));
        assert_eq!(pause["io.kubernetes.cri.container-type"], "sandbox");
        assert_eq!(made["io.kubernetes.cri.container-type"], "container");
        assert_eq!(
            made["io.katacontainers.pkg.oci.container_type"],
            "pod_container"
        );
        assert_eq!(made["io.kubernetes.cri.container-name"], "c");
        assert_eq!(made["io.kubernetes.cri.image-name"], IMAGE);
        assert_eq!(
            pause["nerdctl/network-namespace"],
            format!("^/var/run/netns/cni-{UUID}$")
        );
        for found in [&pause, &made] {
            assert_eq!(found["note"], "mine");
            assert_eq!(found.get(POLICY_ANNOTATION), None);
        }
    }

    #[test]
    fn a_pod_on_the_nodes_network_has_another_namespace_of_it() {
        let sample = Sample::new(Profile::AksAzl3).pod("hostNetwork: true");
        let name = annotations(&sample.pause())["nerdctl/network-namespace"].clone();
        assert_eq!(name, format!("^/var/run/netns/cnitest-{UUID}$"));
        let kinds = |container: &Value| {
            let kinds = container["OCI"]["Linux"]["Namespaces"]
                .as_array()
                .unwrap()
                .iter();
            kinds.map(|kind| kind["Type"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&sample.pause()), ["ipc", "mount"]);
        assert_eq!(kinds(&sample.made()), ["ipc", "uts", "mount"]);
    }

    #[test]
    fn processes_are_shared_by_workloads_alone() {
        let sample = Sample::new(Profile::AksAzl3).pod("shareProcessNamespace: true");
        assert_eq!(sample.pause()["sandbox_pidns"], false);
        assert_eq!(sample.made()["sandbox_pidns"], true);
    }

    #[test]
    fn kernel_parameters_are_added_to_those_of_the_settings() {
        let sample = Sample::new(Profile::Kata)
            .pod("securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: '1'}]}");
        let sysctl = sample.made()["OCI"]["Linux"]["Sysctl"].clone();
        assert_eq!(sysctl["kernel.shm_rmid_forced"], "1");
        assert_eq!(sysctl["net.ipv4.ip_unprivileged_port_start"], "0");
        let old = Sample::new(Profile::AksAzl3).made();
        assert_eq!(old["OCI"]["Linux"].get("Sysctl"), None);
    }

    #[test]
    fn probes_and_hooks_may_be_run() {
        let fields = "livenessProbe: {exec: {command: [a, b]}}\n  readinessProbe: {httpGet: {path: /, port: 80}}\n  startupProbe: {exec: {command: [c]}}\n  lifecycle: {preStop: {exec: {command: [e]}}, postStart: {exec: {command: [d]}}}";
        for (profile, expected) in [
            (Profile::AksAzl3, json!(["a b", "c", "d", "e"])),
            (Profile::Aks3_15, json!([["a", "b"], ["c"], ["d"], ["e"]])),
            (Profile::Kata, json!([["a", "b"], ["c"], ["d"], ["e"]])),
        ] {
            let sample = Sample::new(profile).container(fields);
            assert_eq!(sample.made()["exec_commands"], expected);
            assert_eq!(sample.pause()["exec_commands"], json!([]));
        }
    }

    #[test]
    fn init_containers_stand_behind_the_pause_container_the_last_one_first() {
        let sample = Sample::new(Profile::AksAzl3).pod(&format!(
            "initContainers: [{{name: one, image: {IMAGE}}}, {{name: two, image: {IMAGE}}}]"
        ));
        let names = sample.containers().into_iter().skip(1);
        let names = names.map(|it| annotations(&it)["io.kubernetes.cri.container-name"].clone());
        assert_eq!(names.collect::<Vec<_>>(), ["two", "one", "c"]);
    }

    #[test]
    fn a_reference_means_its_tag_and_is_named_as_it_is_written() {
        for (image, with_tag_, name) in [
            ("a/b", "a/b:latest", "a/b:latest"),
            ("a/b:1", "a/b:1", "a/b:1"),
            ("a/b@sha256:00", "a/b@sha256:00", "a/b@sha256:00"),
            ("host:5000/b", "host:5000/b:latest", "host:5000/b"),
        ] {
            assert_eq!(with_tag(image), with_tag_);
            let settings = Settings::built_in(Profile::AksAzl3).unwrap();
            let images = ImageLock::default();
            let generator = Generator::new(Profile::AksAzl3, &settings, &images);
            assert_eq!(generator.image_name(image), name);
        }
    }

    #[test]
    fn the_runtimes_version_is_the_settings_or_the_profiles() {
        for (profile, version) in [
            (Profile::AksAzl3, "1.1.0-rc.1"),
            (Profile::Aks3_15, "1.2.0"),
            (Profile::Kata, "1.1.0"),
        ] {
            assert_eq!(Sample::new(profile).made()["OCI"]["Version"], version);
        }
        let mut sample = Sample::new(Profile::AksAzl3);
        sample.settings.typed.kata_config.oci_version = Some("1.3.0".to_owned());
        assert_eq!(sample.made()["OCI"]["Version"], "1.3.0");
    }

    #[test]
    fn layers_are_proved_where_the_profile_does() {
        for profile in ALL {
            let count = Sample::new(profile).made()["storages"]
                .as_array()
                .unwrap()
                .len();
            assert_eq!(count, if profile == Profile::Kata { 0 } else { 2 });
        }
        let mut sample = Sample::new(Profile::AksAzl3);
        sample.facts.layers[0].verity = None;
        assert_eq!(sample.refused().kind(), ErrorKind::Image);
        sample.facts.layers.clear();
        assert_eq!(sample.refused().kind(), ErrorKind::Image);
    }

    #[test]
    fn sections_are_those_of_the_profile_in_their_order() {
        let keys = |profile| {
            let data = Sample::new(profile).data().unwrap();
            let keys = data
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>();
            (keys, data)
        };
        let (aks, _) = keys(Profile::AksAzl3);
        assert_eq!(aks, ["common", "containers", "request_defaults", "sandbox"]);
        let (kata, data) = keys(Profile::Kata);
        assert_eq!(kata.len(), 6);
        assert_eq!(
            data["devices"],
            json!({"vfio": {"device_path": "/dev/vfio/devices/vfio", "nvidia": {}}})
        );
        assert_eq!(data["common"].get("image_layer_verification"), None);
        assert_eq!(data["cluster_config"]["guest_pull"], true);
    }

    #[test]
    fn all_containers_of_a_workload_have_one_budget() {
        let note = format!(
            "{{name: web, annotations: {{n: {}}}}}",
            "x".repeat(1024 * 1024)
        );
        let sample = |others: usize| {
            let one = format!("{{name: i, image: {IMAGE}}}");
            Sample::new(Profile::AksAzl3)
                .metadata(String::leak(note.clone()))
                .pod(&format!(
                    "initContainers: [{}]",
                    vec![&*one; others].join(", ")
                ))
        };
        assert!(sample(10).data().is_ok());
        let error = sample(20).refused();
        assert_eq!(error.kind(), ErrorKind::Manifest);
        assert!(error.message().contains("over 16 MiB"), "{error}");
    }
}
