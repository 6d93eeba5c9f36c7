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
        for mount in &container.volume_mounts {
            for claim in &workload.claim_templates {
                if claim.metadata.name.as_ref() == Some(&mount.name) {
                    self.claimed(Some(&claim.spec), mount, mount.read_only)?;
                }
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
            VolumeSource::PersistentVolumeClaim { claim, read_only } => {
                let spec = self.inputs.claim(claim).map(|claim| claim.spec.clone());
                self.claimed(spec.as_ref(), mount, *read_only || mount.read_only)
            }
            VolumeSource::Ephemeral(spec) => self.claimed(Some(spec), mount, mount.read_only),
            VolumeSource::AzureFile { read_only } => {
                self.shared(mount, access(*read_only || mount.read_only));
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
            _ => self.template("emptyDir", "confidential_emptyDir"),
        }
    }

    /// A template, or the one that the settings have instead for confidential guests.
    fn template(&self, name: &'static str, confidential: &'static str) -> &'static str {
        let settings = &self.settings.typed;
        if settings.kata_config.confidential_guest && settings.volumes.contains_key(confidential) {
            confidential
        } else {
            name
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
    fn claimed(
        &mut self,
        spec: Option<&ClaimSpec>,
        mount: &VolumeMount,
        read_only: bool,
    ) -> Result<(), Error> {
        let class = spec.and_then(|spec| spec.storage_class_name.as_deref());
        let common = &self.settings.typed.common;
        let mut blk = common.virtio_blk_storage_classes.iter();
        let mut smb = common.smb_storage_classes.iter();
        let direct = class.and_then(|class| {
            if blk.any(|known| known == class) {
                return Some(("blk", Vec::new()));
            }
            let smb = smb.find(|known| known.name == class)?;
            Some(("smb", smb.mount_options.clone()))
        });
        let Some((driver, options_of_class)) = direct else {
            self.shared(mount, access(read_only));
            return Ok(());
        };
        // The guest mounts the volume itself, at a path made of what the host calls it.
        const POINT: &str = "$(spath)/$(b64-direct-vol-path)";
        self.storages.push(Storage {
            driver: driver.to_owned(),
            driver_options: Vec::new(),
            source: "$(direct-vol-path)".to_owned(),
            fstype: "$(fs-type)".to_owned(),
            options: options_of_class,
            mount_point: POINT.to_owned(),
            fs_group: None,
        });
        self.put(MountSettings {
            destination: mount.mount_path.clone(),
            source: POINT.to_owned(),
            type_: "bind".to_owned(),
            options: options(propagation(mount), access(read_only)),
        });
        Ok(())
    }

    fn config_map(&mut self, mount: &VolumeMount) -> Result<(), Error> {
        let name = self.template("configMap", "confidential_configMap");
        let template = self.settings.volume(name)?.clone();
        let last = last_name(&mount.mount_path);
        let config = &self.settings.typed.kata_config;
        if config.enable_configmap_secret_storages {
            let point = format!("{}{last}$", template.mount_point);
            self.add_storage(&template, point);
        }
        let prefix = if config.confidential_guest {
            &template.mount_point
        } else {
            &template.mount_source
        };
        self.put(MountSettings {
            destination: mount.mount_path.clone(),
            source: format!("{prefix}{last}$"),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::support::{ALL, Sample};
    use super::*;

    fn sample(profile: Profile, volume: &str, mount: &str) -> Sample {
        Sample::new(profile)
            .pod(&format!("volumes: [{{name: v, {volume}}}]"))
            .container(&format!("volumeMounts: [{{name: v, {mount}}}]"))
    }

    fn mount_at(made: &Value, destination: &str) -> Value {
        let mounts = made["OCI"]["Mounts"].as_array().unwrap().iter();
        let mut found = mounts.filter(|mount| mount["destination"] == destination);
        let mount = found.next().cloned().unwrap_or_default();
        assert!(found.next().is_none(), "{destination} twice");
        mount
    }

    /// Storages that are no layers of the image.
    fn storages(made: &Value) -> Vec<Value> {
        let storages = made["storages"].as_array().unwrap().iter();
        let is_layer = |storage: &&Value| {
            let point = storage["mount_point"].as_str().unwrap();
            point.starts_with("$(layer") || storage["driver"] == "overlayfs"
        };
        storages.filter(|it| !is_layer(it)).cloned().collect()
    }

    #[test]
    fn what_the_host_shares_shows_by_its_last_name() {
        for profile in ALL {
            for (volume, options) in [
                ("hostPath: {path: /srv}", json!(["rbind", "rprivate", "rw"])),
                (
                    "persistentVolumeClaim: {claimName: c}",
                    json!(["rbind", "rprivate", "rw"]),
                ),
                (
                    "persistentVolumeClaim: {claimName: c, readOnly: true}",
                    json!(["rbind", "rprivate", "ro"]),
                ),
                (
                    "ephemeral: {volumeClaimTemplate: {spec: {}}}",
                    json!(["rbind", "rprivate", "rw"]),
                ),
                (
                    "azureFile: {secretName: s, shareName: t}",
                    json!(["rbind", "rprivate", "rw"]),
                ),
                (
                    "azureFile: {secretName: s, shareName: t, readOnly: true}",
                    json!(["rbind", "rprivate", "ro"]),
                ),
                ("configMap: {name: m}", json!(["rbind", "rprivate", "ro"])),
                (
                    "secret: {secretName: s}",
                    json!(["rbind", "rprivate", "ro"]),
                ),
                (
                    "projected: {sources: []}",
                    json!(["rbind", "rprivate", "ro"]),
                ),
                (
                    "downwardAPI: {items: []}",
                    json!(["rbind", "rprivate", "ro"]),
                ),
            ] {
                let made = sample(profile, volume, "mountPath: /a/b.c/").made();
                let mount = mount_at(&made, "/a/b.c/");
                assert_eq!(mount["source"], "$(sfprefix)b.c$", "{volume}");
                assert_eq!(mount["type_"], "bind");
                assert_eq!(mount["options"], options, "{volume} {profile:?}");
                assert_eq!(storages(&made), Vec::<Value>::new(), "{volume}");
            }
        }
    }

    #[test]
    fn a_mount_says_how_it_spreads_and_whether_it_can_be_written() {
        for (fields, options) in [
            (
                "mountPropagation: Bidirectional",
                ["rbind", "rshared", "rw"],
            ),
            (
                "mountPropagation: HostToContainer",
                ["rbind", "rslave", "rw"],
            ),
            ("readOnly: true", ["rbind", "rprivate", "ro"]),
        ] {
            let mount = format!("mountPath: /a, {fields}");
            let made = sample(Profile::AksAzl3, "hostPath: {path: /srv}", &mount).made();
            assert_eq!(mount_at(&made, "/a")["options"], json!(options));
        }
    }

    #[test]
    fn paths_of_devices_keep_their_source() {
        for (path, source) in [
            ("/dev/ttyS0", "/dev/ttyS0"),
            ("/dev", "/dev"),
            ("/sys/class", "/sys/class"),
            ("/device", "$(sfprefix)a$"),
        ] {
            let volume = format!("hostPath: {{path: {path}}}");
            let made = sample(Profile::AksAzl3, &volume, "mountPath: /a").made();
            assert_eq!(mount_at(&made, "/a")["source"], source);
        }
        // One of the container's own mounts is replaced in its place.
        let made = sample(
            Profile::AksAzl3,
            "hostPath: {path: /dev}",
            "mountPath: /dev",
        )
        .made();
        assert_eq!(mount_at(&made, "/dev")["type_"], "bind");
        assert_eq!(made["OCI"]["Mounts"][1]["destination"], "/dev");
    }

    #[test]
    fn an_empty_directory_is_a_storage_and_a_mount() {
        for (profile, medium, driver, source) in [
            (
                Profile::AksAzl3,
                "",
                "local",
                "^$(cpath)/$(sandbox-id)/local/v$",
            ),
            (
                Profile::Aks3_15,
                "",
                "local",
                "^$(cpath)/$(sandbox-id)/local/v$",
            ),
            (
                Profile::AksAzl3,
                "medium: Memory, sizeLimit: 1Gi",
                "ephemeral",
                "^/run/kata-containers/sandbox/ephemeral/v$",
            ),
        ] {
            let volume = format!("emptyDir: {{{medium}}}");
            let made = sample(profile, &volume, "mountPath: /a").made();
            assert_eq!(mount_at(&made, "/a")["source"], source);
            let storages = storages(&made);
            assert_eq!(storages.len(), 1);
            assert_eq!(storages[0]["driver"], driver);
            assert_eq!(storages[0]["mount_point"], source);
        }
        let made = sample(Profile::Kata, "emptyDir: {}", "mountPath: /a").made();
        assert_eq!(
            mount_at(&made, "/a")["source"],
            "^$(spath)/$(b64_device_id)$"
        );
        assert_eq!(storages(&made).len(), 1);
    }

    #[test]
    fn a_part_of_a_volume_is_shared_whatever_the_volume_is() {
        for part in ["subPath: x", "subPathExpr: $(X)/y"] {
            let mount = format!("mountPath: /a, {part}");
            let made = sample(Profile::AksAzl3, "emptyDir: {}", &mount).made();
            assert_eq!(mount_at(&made, "/a")["source"], "$(sfprefix)a$");
            assert_eq!(mount_at(&made, "/a")["type_"], "bind");
            assert_eq!(storages(&made), Vec::<Value>::new());
        }
    }

    #[test]
    fn a_storage_class_decides_how_a_claim_comes() {
        let direct = |sample: &Sample, driver: &str, options: usize| {
            let made = sample.made();
            let point = "$(spath)/$(b64-direct-vol-path)";
            assert_eq!(mount_at(&made, "/a")["source"], point);
            let storages = storages(&made);
            assert_eq!(storages[0]["driver"], driver);
            assert_eq!(storages[0]["mount_point"], point);
            assert_eq!(storages[0]["source"], "$(direct-vol-path)");
            assert_eq!(storages[0]["options"].as_array().unwrap().len(), options);
        };
        let claim = |class: &str| {
            format!(
                "{{kind: PersistentVolumeClaim, metadata: {{name: c}}, spec: {{storageClassName: {class}}}}}"
            )
        };
        let claimed = sample(
            Profile::AksAzl3,
            "persistentVolumeClaim: {claimName: c}",
            "mountPath: /a",
        );
        direct(&claimed.clone().with(&claim("cc-local-csi")), "blk", 0);
        direct(
            &claimed.clone().with(&claim("azurefile-csi-kata-cc")),
            "smb",
            7,
        );
        let other = claimed.with(&claim("standard")).made();
        assert_eq!(mount_at(&other, "/a")["source"], "$(sfprefix)a$");
        let ephemeral = sample(
            Profile::Aks3_15,
            "ephemeral: {volumeClaimTemplate: {spec: {storageClassName: cc-managed-csi}}}",
            "mountPath: /a",
        );
        direct(&ephemeral, "blk", 0);
        let template = Sample::new(Profile::AksAzl3)
            .kind("StatefulSet")
            .container("volumeMounts: [{name: claim, mountPath: /a}]");
        direct(&template, "blk", 0);
    }

    #[test]
    fn volumes_of_the_image_are_there_unless_the_pod_mounts_over_them() {
        let mut image = sample(Profile::Aks3_15, "configMap: {name: m}", "mountPath: /b");
        image.facts.config.volumes = vec!["/a.d".to_owned(), "/b".to_owned()];
        let made = image.made();
        assert_eq!(mount_at(&made, "/a.d")["source"], r"$(sfprefix)a\.d$");
        assert_eq!(
            mount_at(&made, "/b")["options"],
            json!(["rbind", "rprivate", "ro"])
        );
        assert_eq!(storages(&made).len(), 2);
        image.profile = Profile::AksAzl3;
        image.settings = Settings::built_in(Profile::AksAzl3).unwrap();
        assert_eq!(mount_at(&image.made(), "/a.d"), Value::Null);
    }

    #[test]
    fn a_mount_of_no_volume_is_refused() {
        let lost =
            Sample::new(Profile::AksAzl3).container("volumeMounts: [{name: lost, mountPath: /a}]");
        let error = lost.refused();
        assert_eq!(error.kind(), ErrorKind::Manifest);
        assert_eq!(error.path(), Some("c.volumeMounts"));
    }
}
