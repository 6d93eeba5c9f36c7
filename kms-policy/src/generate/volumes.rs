//! Mounts and storages of a pod's volumes.

use super::data::Storage;
use super::{Inputs, Profile, mounts, names};
use crate::manifest::{ClaimSpec, Container, Volume, VolumeMount, VolumeSource, Workload};
use crate::settings::{MountSettings, Settings, VolumeSettings};
use crate::{Error, ErrorKind};

pub(super) struct Volumes<'a> {
    pub(super) settings: &'a Settings,
    pub(super) profile: Profile,
    pub(super) inputs: &'a Inputs,
    pub(super) mounts: &'a mut Vec<MountSettings>,
    pub(super) storages: &'a mut Vec<Storage>,
}

impl Volumes<'_> {
    /// Adds what a container mounts, volume by volume.
    pub(super) fn add_all(
        &mut self,
        workload: &Workload,
        container: &Container,
    ) -> Result<(), Error> {
        for volume in &workload.pod.volumes {
            for mount in mounts_of(container, &volume.name) {
                self.add(volume, mount)?;
            }
        }
        for claim in &workload.claim_templates {
            let name = claim.metadata.name.as_deref().unwrap_or_default();
            for mount in mounts_of(container, name) {
                self.claimed(Some(&claim.spec), mount)?;
            }
        }
        self.check_known(workload, container)
    }

    /// Every mount must be of a volume that there is.
    fn check_known(&self, workload: &Workload, container: &Container) -> Result<(), Error> {
        let volumes = workload.pod.volumes.iter().map(|volume| &*volume.name);
        let claims = workload.claim_templates.iter();
        let claims = claims.filter_map(|claim| claim.metadata.name.as_deref());
        let known: Vec<_> = volumes.chain(claims).collect();
        let mut mounts = container.volume_mounts.iter();
        match mounts.find(|mount| !known.contains(&&*mount.name)) {
            None => Ok(()),
            Some(mount) => Err(Error::new(
                ErrorKind::Manifest,
                format!("names the volume `{}`, which the pod lacks", mount.name),
            )
            .at(format!("{}.volumeMounts", container.name))),
        }
    }

    fn add(&mut self, volume: &Volume, mount: &VolumeMount) -> Result<(), Error> {
        if mount.sub_path.is_some() {
            // The kubelet mounts the part by itself, and the guest sees that alone.
            self.shared(mount, access(mount.read_only));
            return Ok(());
        }
        match &volume.source {
            VolumeSource::EmptyDir { in_memory } => self.empty_dir(volume, mount, *in_memory),
            VolumeSource::HostPath { path } => {
                self.host_path(path, mount);
                Ok(())
            }
            VolumeSource::PersistentVolumeClaim { claim } => {
                let spec = self.inputs.claim(claim).map(|claim| claim.spec.clone());
                self.claimed(spec.as_ref(), mount)
            }
            VolumeSource::Ephemeral(spec) => self.claimed(Some(spec), mount),
            VolumeSource::AzureFile { read_only } => {
                self.shared(mount, access(*read_only));
                Ok(())
            }
            VolumeSource::ConfigMap | VolumeSource::Secret => self.config_map(mount),
            VolumeSource::Projected | VolumeSource::DownwardApi => {
                self.shared(mount, "ro");
                Ok(())
            }
        }
    }

    fn empty_dir(
        &mut self,
        volume: &Volume,
        mount: &VolumeMount,
        in_memory: bool,
    ) -> Result<(), Error> {
        let name = self.empty_dir_template(in_memory);
        let template = self.settings.volume(name)?.clone();
        let is_block = ["emptyDir_encrypted", "emptyDir_plain"].contains(&name);
        let storage_point = if is_block {
            template.mount_point.clone()
        } else {
            format!("{}{}$", template.mount_point, volume.name)
        };
        self.add_storage(&template, storage_point);
        let source = if is_block {
            "^$(spath)/$(b64_device_id)$".to_owned()
        } else {
            format!("{}{}$", template.mount_source, volume.name)
        };
        // A disk of the container's own has nobody to spread mounts to, and the runtime leaves that out.
        let propagation = if is_block {
            "rprivate"
        } else {
            propagation(mount)
        };
        self.put(MountSettings {
            destination: mount.mount_path.clone(),
            source,
            type_: template.mount_type,
            options: options(propagation, access(mount.read_only)),
        });
        Ok(())
    }

    fn empty_dir_template(&self, in_memory: bool) -> &'static str {
        if in_memory {
            return "emptyDir_memory";
        }
        match self.settings.typed.cluster_config.emptydir_type.as_deref() {
            Some("block-encrypted") => "emptyDir_encrypted",
            Some("block-plain") => "emptyDir_plain",
            _ if self.profile == Profile::Aks3_15 => "confidential_emptyDir",
            _ => "emptyDir",
        }
    }

    fn add_storage(&mut self, template: &VolumeSettings, mount_point: String) {
        self.storages.push(Storage {
            driver: template.driver.clone(),
            driver_options: template.driver_options.clone(),
            source: template.source.clone(),
            fstype: template.fstype.clone(),
            options: template.options.clone(),
            mount_point,
            fs_group: None,
        });
    }

    fn host_path(&mut self, path: &str, mount: &VolumeMount) {
        let is_device = ["/dev", "/sys"].iter().any(|root| {
            path.strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let source = if is_device {
            path.to_owned()
        } else {
            mounts::shared_source(&mount.mount_path)
        };
        self.put(MountSettings {
            destination: mount.mount_path.clone(),
            source,
            type_: "bind".to_owned(),
            options: options(propagation(mount), access(mount.read_only)),
        });
    }

    /// A claimed volume reaches the pod as its storage class says.
    fn claimed(&mut self, spec: Option<&ClaimSpec>, mount: &VolumeMount) -> Result<(), Error> {
        let class = spec.and_then(|spec| spec.storage_class_name.as_deref());
        let common = &self.settings.typed.common;
        let is_blk =
            class.is_some_and(|class| common.virtio_blk_storage_classes.iter().any(|c| c == class));
        let smb =
            class.and_then(|class| common.smb_storage_classes.iter().find(|c| c.name == class));
        let direct = match smb {
            _ if is_blk => Some(("blk", "$(blk_fstype)", Vec::new())),
            Some(smb) => Some(("smb", "cifs", smb.mount_options.clone())),
            None => None,
        };
        let Some((driver, fstype, options_of_class)) = direct else {
            self.shared(mount, access(mount.read_only));
            return Ok(());
        };
        let point = format!(
            "^$(cpath)/$(bundle-id)-[a-z0-9]{{16}}-{}$",
            last_name(&mount.mount_path)
        );
        self.storages.push(Storage {
            driver: driver.to_owned(),
            driver_options: Vec::new(),
            source: String::new(),
            fstype: fstype.to_owned(),
            options: options_of_class,
            mount_point: point.clone(),
            fs_group: None,
        });
        self.put(MountSettings {
            destination: mount.mount_path.clone(),
            source: point,
            type_: "bind".to_owned(),
            options: options(propagation(mount), access(mount.read_only)),
        });
        Ok(())
    }

    fn config_map(&mut self, mount: &VolumeMount) -> Result<(), Error> {
        let template = self.settings.volume("configMap")?.clone();
        let name = last_name(&mount.mount_path);
        if self
            .settings
            .typed
            .kata_config
            .enable_configmap_secret_storages
        {
            let point = format!("{}{name}$", template.mount_point);
            self.add_storage(&template, point);
        }
        self.put(MountSettings {
            destination: mount.mount_path.clone(),
            source: format!("{}{name}$", template.mount_source),
            type_: template.mount_type,
            options: template.options,
        });
        Ok(())
    }

    fn shared(&mut self, mount: &VolumeMount, access: &str) {
        self.put(MountSettings {
            destination: mount.mount_path.clone(),
            source: mounts::shared_source(&mount.mount_path),
            type_: "bind".to_owned(),
            options: options(propagation(mount), access),
        });
    }

    /// Volumes of the image. What the pod mounts there hides one, and containerd makes it all the same.
    pub(super) fn of_image(&mut self, paths: &[String]) -> Result<(), Error> {
        if self.profile == Profile::AksAzl3 {
            return Ok(());
        }
        for path in paths {
            let template = self.settings.volume("image_volume")?.clone();
            if self.profile == Profile::Aks3_15 {
                self.add_storage(&template, path.clone());
            }
            if mounts::find(self.mounts, path).is_some() {
                continue;
            }
            let source = format!(
                "{}{}$",
                template.mount_source,
                names::escape(last_name(path))
            );
            self.mounts.push(MountSettings {
                destination: path.clone(),
                source,
                type_: template.mount_type,
                options: template.options,
            });
        }
        Ok(())
    }

    fn put(&mut self, mount: MountSettings) {
        match mounts::find(self.mounts, &mount.destination) {
            Some(known) => *known = mount,
            None => self.mounts.push(mount),
        }
    }
}

fn mounts_of<'c>(container: &'c Container, volume: &str) -> impl Iterator<Item = &'c VolumeMount> {
    let volume = volume.to_owned();
    let mounts = container.volume_mounts.iter();
    mounts.filter(move |mount| mount.name == volume)
}

fn last_name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

const fn access(read_only: bool) -> &'static str {
    if read_only { "ro" } else { "rw" }
}

fn propagation(mount: &VolumeMount) -> &'static str {
    match mount.propagation.as_deref() {
        Some("Bidirectional") => "rshared",
        Some("HostToContainer") => "rslave",
        _ => "rprivate",
    }
}

fn options(propagation: &str, access: &str) -> Vec<String> {
    vec![
        "rbind".to_owned(),
        propagation.to_owned(),
        access.to_owned(),
    ]
}
