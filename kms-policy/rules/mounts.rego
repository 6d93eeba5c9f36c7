package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# Each mount of the request must be one of the container's, and no two the same. One may lack, as with
# genpolicy's rules, which `lint` says.

mounts_allowed(container, ids) if {
	mounts := request.OCI.Mounts
	count({mount.destination | some mount in mounts}) == count(mounts)
	rest := {mount | some mount in mounts} - {mount | some mount in container.OCI.Mounts}
	disks_are_apart(container, rest)
	every mount in rest {
		some allowed in container.OCI.Mounts
		allowed.destination == mount.destination
		allowed.type_ == mount.type_
		mount_options_allowed(container, allowed, mount)
		mount_source_allowed(allowed.source, mount.source, ids)
	}
}

# Volumes that are disks of their own are not one disk.
disks_are_apart(container, mounts) if {
	disks := [mount.source |
		some mount in mounts
		some allowed in container.OCI.Mounts
		allowed.destination == mount.destination
		contains(allowed.source, "$(b64")
	]
	count({disk | some disk in disks}) == count(disks)
}

mount_options_allowed(container, allowed, mount) if allowed.options == mount.options

# To write the kernel's settings is allowed: only to read them is less.
mount_options_allowed(container, allowed, mount) if {
	mount.type_ == "sysfs"
	[writable(option) | some option in mount.options] == allowed.options
}

# containerd lets the pause container of a pod with a privileged container write there, and that runs
# nothing but /pause.
mount_options_allowed(container, allowed, mount) if {
	mount.type_ == "sysfs"
	container.OCI.Annotations["io.kubernetes.cri.container-type"] == "sandbox"
	mount.options == [writable(option) | some option in allowed.options]
	some other in policy_data.containers
	other.OCI.Process.Capabilities.Bounding == ["$(privileged_caps)"]
}

writable(option) := "rw" if option == "ro"

writable(option) := option if option != "ro"

# What a newer kernel adds to cgroups, where the settings allow it.
mount_options_allowed(container, allowed, mount) if {
	mount.type_ == "cgroup"
	mount.destination == "/sys/fs/cgroup"
	number := count(allowed.options)
	array.slice(mount.options, 0, number) == allowed.options
	every extra in array.slice(mount.options, number, count(mount.options)) {
		extra in policy_data.cluster_config.cgroup_mount_extras_allowed
	}
}

mount_source_allowed(allowed, source, ids) if allowed == source

mount_source_allowed(allowed, source, ids) if {
	allowed != source
	not contains(allowed, "$(b64_device_id)")
	pattern := expand(allowed, ids)
	startswith(pattern, "^")
	not climbs(source)
	regex.match(pattern, source)
}
