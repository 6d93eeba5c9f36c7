//! Policy data of a pod.

mod data;
mod devices;
mod environment;
mod layers;
mod mounts;
mod names;
mod process;
mod sections;
mod user;
mod volumes;

use std::collections::BTreeMap;

pub use data::{
    CapabilitySets, ContainerData, ExecCommand, Linux, Namespace, OciSpec, PassedDevice,
    PolicyData, Process, Root, Storage, User,
};
pub use sections::Section;

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
    /// asks for what the policy could not check.
    pub fn policy_data(&self, workload: &Workload) -> Result<PolicyData, Error> {
        let mut containers = vec![self.container(workload, None)?];
        // The data has the init containers in reverse: each was put in behind the pause container.
        for container in workload.pod.init_containers.iter().rev() {
            containers.push(self.container(workload, Some(container))?);
        }
        for container in &workload.pod.containers {
            containers.push(self.container(workload, Some(container))?);
        }
        Ok(PolicyData {
            containers,
            common: sections::common(self.settings)?,
            sandbox: sections::sandbox(self.settings)?,
            request_defaults: sections::request_defaults(self.settings)?,
            devices: sections::of_kata(self.settings, self.profile, "devices"),
            cluster_config: sections::of_kata(self.settings, self.profile, "cluster_config"),
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
        let process = process::process(&environment, image, facts, container)?;
        let is_aks_3_15 = self.profile == Profile::Aks3_15;
        let env_map = is_aks_3_15.then(|| environment::by_name(&process.env));
        let passed = devices::devices(self.settings, self.profile, container)?;
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
            devices: passed.devices,
            sandbox_pidns: container.is_some() && workload.pod.share_process_namespace,
            exec_commands: container
                .map(|it| self.exec_commands(it))
                .unwrap_or_default(),
            env_map,
            runtime_anno_patterns: passed.annotations,
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
        annotations.extend(workload.pod_metadata.annotations.clone());
        annotations
    }

    /// The image's name, as containerd will have it.
    fn image_name(&self, image: &str) -> String {
        if self.profile == Profile::Kata {
            image.to_owned()
        } else {
            with_tag(image)
        }
    }

    fn linux(&self, workload: &Workload, container: Option<&Container>) -> Linux {
        let settings = &self.settings.container(container.is_none()).linux;
        let is_privileged = container.is_some_and(|container| container.security.privileged);
        let paths = |configured: &[String], of_containerd: &[&str]| {
            if is_privileged {
                Vec::new()
            } else if configured.is_empty() {
                of_containerd
                    .iter()
                    .map(|path| (*path).to_owned())
                    .collect()
            } else {
                configured.to_vec()
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
            devices: is_newer.then(Vec::new),
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
