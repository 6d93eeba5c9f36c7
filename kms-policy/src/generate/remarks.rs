//! What whoever makes a policy should know of it.

use std::collections::BTreeSet;

use super::{ContainerData, Generator, PolicyData, Profile};
use crate::manifest::{Container, Workload};

impl Generator<'_> {
    /// What is made as genpolicy makes it and yet may surprise, for whoever reads the log: with
    /// [`Profile::AksAzl3`] a user that an image names becomes root; a disk that a container mounts in
    /// two places is taken for two disks by [`Rules::built_in`](crate::rules::Rules::built_in).
    ///
    /// `data` is what [`policy_data`](Self::policy_data) gave for the workload.
    #[must_use]
    pub fn remarks(&self, workload: &Workload, data: &PolicyData) -> Vec<String> {
        let pod = &workload.pod;
        let containers = || pod.init_containers.iter().rev().chain(&pod.containers);
        let users = containers().filter_map(|container| self.named_user(workload, container));
        // The pause container comes first.
        let made = containers().zip(data.containers.iter().skip(1));
        let disks = made.filter_map(|(container, data)| disk_in_two_places(container, data));
        users.chain(disks).collect()
    }

    fn named_user(&self, workload: &Workload, container: &Container) -> Option<String> {
        let own = container.security.run_as_user;
        let is_spelled = own.or(workload.pod.security.run_as_user).is_some();
        let facts = self.facts(&container.image).ok()?;
        let user = facts.config.user.as_deref()?.split(':').next()?;
        let is_named = !user.is_empty() && user.parse::<u32>().is_err();
        let is_told = is_named && self.profile == Profile::AksAzl3 && !is_spelled;
        is_told.then(|| {
            format!(
                "{}: the image names its user `{user}`, and this profile knows numbers alone: the policy says 0, so set runAsUser",
                container.name
            )
        })
    }
}

/// The data do not tell one disk in two places from two disks, so rules have to choose.
fn disk_in_two_places(container: &Container, data: &ContainerData) -> Option<String> {
    let is_disk = |place: &str| {
        let mut mounts = data.oci.mounts.iter();
        mounts.any(|mount| mount.destination == place && mount.source.contains("$(b64"))
    };
    let disks = container.volume_mounts.iter();
    let disks = disks.filter(|mount| is_disk(&mount.mount_path));
    let mut seen = BTreeSet::new();
    let twice = disks
        .map(|mount| &*mount.name)
        .find(|name| !seen.insert(*name))?;
    Some(format!(
        "{}: the volume `{twice}` is a disk and mounted in two places, which the rules of kms take for two disks and deny: mount it once",
        container.name
    ))
}
