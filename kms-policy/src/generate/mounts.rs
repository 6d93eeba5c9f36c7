//! Mounts that every container has.

use crate::manifest::Container;
use crate::settings::{MountSettings, Settings};

/// Mounts that containerd makes for every container, then those of the settings.
pub(super) fn standard(settings: &Settings, container: Option<&Container>) -> Vec<MountSettings> {
    let is_privileged = container.is_some_and(|container| container.security.privileged);
    let mut mounts = of_containerd(container.is_none(), is_privileged);
    for mount in &settings.container(container.is_none()).mounts {
        if is_wanted(settings, mount, container) {
            add(&mut mounts, mount, container);
        }
    }
    mounts
}

fn of_containerd(is_pause: bool, is_privileged: bool) -> Vec<MountSettings> {
    let access = if is_privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount(
            "/dev/shm",
            "shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", access],
        ),
    ];
    if !is_pause {
        mounts.push(mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", access],
        ));
    }
    mounts
}

fn mount(destination: &str, source: &str, type_: &str, options: &[&str]) -> MountSettings {
    MountSettings {
        destination: destination.to_owned(),
        source: source.to_owned(),
        type_: type_.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    }
}

/// One whose destination is in the settings' list, or where the container mounts something itself.
fn is_wanted(settings: &Settings, mount: &MountSettings, container: Option<&Container>) -> bool {
    let destinations = &settings.typed.mount_destinations;
    destinations.contains(&mount.destination)
        || container.is_some_and(|container| {
            let mut mounts = container.volume_mounts.iter();
            mounts.any(|other| other.mount_path == mount.destination)
        })
}

fn add(mounts: &mut Vec<MountSettings>, mount: &MountSettings, container: Option<&Container>) {
    let mut mount = mount.clone();
    let last_words = container.and_then(|container| container.termination_message_path.as_ref());
    if let ("/dev/termination-log", Some(path)) = (&*mount.destination, last_words) {
        mount.destination.clone_from(path);
    }
    if mount.source.is_empty() && mount.type_ == "bind" {
        mount.source = shared_source(&mount.destination);
    }
    if let Some(known) = find(mounts, &mount.destination) {
        known.source = mount.source;
        known.type_ = mount.type_;
        known.options = mount.options;
        return;
    }
    if let Some(container) = container
        && ["/etc/hostname", "/etc/resolv.conf"].contains(&&*mount.destination)
    {
        let read_only = container.security.read_only_root_filesystem;
        mount
            .options
            .push(if read_only { "ro" } else { "rw" }.to_owned());
    }
    mounts.push(mount);
}

pub(super) fn find<'m>(
    mounts: &'m mut [MountSettings],
    destination: &str,
) -> Option<&'m mut MountSettings> {
    mounts
        .iter_mut()
        .find(|mount| mount.destination == destination)
}

/// A file or directory that the shim shares with the guest: all that shows is its last name.
pub(super) fn shared_source(path: &str) -> String {
    let name = path.trim_end_matches('/').rsplit('/').next();
    format!("$(sfprefix){}$", name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Profile;
    use super::super::support::Sample;

    fn destinations(container: &Value) -> Vec<String> {
        let mounts = container["OCI"]["Mounts"].as_array().unwrap().iter();
        mounts
            .map(|mount| mount["destination"].as_str().unwrap().to_owned())
            .collect()
    }

    fn options(container: &Value, destination: &str) -> Value {
        let mounts = container["OCI"]["Mounts"].as_array().unwrap().iter();
        let mut found = mounts.filter(|mount| mount["destination"] == destination);
        found.next().unwrap()["options"].clone()
    }

    #[test]
    fn mounts_stand_in_genpolicys_order() {
        let sample = Sample::new(Profile::AksAzl3);
        let of_all = [
            "/proc",
            "/dev",
            "/dev/pts",
            "/dev/shm",
            "/dev/mqueue",
            "/sys",
        ];
        let pause: Vec<_> = of_all.into_iter().chain(["/etc/resolv.conf"]).collect();
        assert_eq!(destinations(&sample.pause()), pause);
        let others = [
            "/sys/fs/cgroup",
            "/etc/hosts",
            "/dev/termination-log",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/var/run/secrets/kubernetes.io/serviceaccount",
            "/var/run/secrets/azure/tokens",
        ];
        let made: Vec<_> = of_all.into_iter().chain(others).collect();
        assert_eq!(destinations(&sample.made()), made);
    }

    #[test]
    fn a_privileged_container_may_write_to_the_kernel() {
        let made = Sample::new(Profile::AksAzl3)
            .container("securityContext: {privileged: true}")
            .made();
        assert_eq!(options(&made, "/sys")[3], "rw");
        assert_eq!(options(&made, "/sys/fs/cgroup")[4], "rw");
        assert_eq!(made["OCI"]["Linux"]["MaskedPaths"], json!([]));
        assert_eq!(made["OCI"]["Linux"]["ReadonlyPaths"], json!([]));
        let plain = Sample::new(Profile::AksAzl3).made();
        assert_eq!(options(&plain, "/sys")[3], "ro");
        let masked = plain["OCI"]["Linux"]["MaskedPaths"].as_array().unwrap();
        assert!(masked.contains(&json!("/proc/kcore")));
    }

    #[test]
    fn a_root_that_cannot_be_written_makes_its_files_so() {
        let made = Sample::new(Profile::AksAzl3)
            .container("securityContext: {readOnlyRootFilesystem: true}")
            .made();
        assert_eq!(made["OCI"]["Root"]["Readonly"], true);
        for file in ["/etc/hostname", "/etc/resolv.conf"] {
            assert_eq!(options(&made, file), json!(["rbind", "rprivate", "ro"]));
        }
        assert_eq!(
            options(&made, "/etc/hosts"),
            json!(["rbind", "rprivate", "rw"])
        );
    }

    #[test]
    fn last_words_are_where_the_manifest_says() {
        let made = Sample::new(Profile::AksAzl3)
            .container("terminationMessagePath: /tmp/last.log")
            .made();
        assert!(!destinations(&made).contains(&"/dev/termination-log".to_owned()));
        let mounts = made["OCI"]["Mounts"].as_array().unwrap();
        let last = mounts
            .iter()
            .find(|it| it["destination"] == "/tmp/last.log");
        assert_eq!(last.unwrap()["source"], "$(sfprefix)last.log$");
    }
}
