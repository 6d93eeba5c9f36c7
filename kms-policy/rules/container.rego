package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# CreateContainerRequest: some container of the policy data must allow all of the request. What costs
# little and tells most stands first.

default CreateContainerRequest := false

# Some agents put the request in an envelope, beside the variables by name.
request := object.get(input, "base", input)

# Places in the policy data of the containers that allow the request.
allowing := [index |
	request_is_plain
	some index, container in policy_data.containers
	names_allowed(container)
	container_allowed(container)
]

# What no policy data speaks about must not be asked for.
request_is_plain if {
	count(request.shared_mounts) == 0
	request.string_user == null
	oci := request.OCI
	oci.Hooks == null
	oci.Solaris == null
	oci.Windows == null
	linux := oci.Linux
	linux.Seccomp == null
	linux.IntelRdt == null
	linux.MountLabel == ""
	linux.RootfsPropagation == ""
	count(linux.UIDMappings) == 0
	count(linux.GIDMappings) == 0
	resources_are_plain(linux.Resources)
}

resources_are_plain(resources) if resources == null

resources_are_plain(resources) if {
	count(resources.Devices) == 0
	resources.BlockIO == null
	resources.Network == null
	resources.Pids == null
}

container_allowed(container) if {
	oci := request.OCI
	request.sandbox_pidns == container.sandbox_pidns
	version_allowed(container.OCI.Version, oci.Version)
	oci.Root.Readonly == container.OCI.Root.Readonly
	process_allowed(container.OCI.Process, oci.Process)
	linux_allowed(container.OCI.Linux, oci.Linux)
	ids := request_ids(container)
	env_allowed(container, request_env, ids)
	args_allowed(container.OCI.Process, oci.Process.Args, ids)
	annotations_allowed(container, ids)
	devices_allowed(container)
	mounts_allowed(container, ids)
	storages_allowed(container, ids)
}

version_allowed(allowed, version) if allowed == version

# The texts that the container's templates need, taken from the request and each of its own form, so
# that none can be an expression for anything else.
request_ids(container) := {
	"bundle": bundle,
	"sandbox": sandbox,
	"name": replace(request.OCI.Annotations["io.kubernetes.cri.sandbox-name"], ".", `\.`),
	"namespace": request.OCI.Annotations["io.kubernetes.cri.sandbox-namespace"],
} if {
	root := expand_settings(container.OCI.Root.Path)
	pattern := concat("", ["^", replace(root, "$(bundle-id)", "([a-z0-9]{64})"), "$"])
	bundle := regex.find_all_string_submatch_n(pattern, request.OCI.Root.Path, 1)[0][1]
	sandbox := request.OCI.Annotations["io.kubernetes.cri.sandbox-id"]
	identity_is_well_formed
}

identity_is_well_formed if {
	annotations := request.OCI.Annotations
	count(annotations["io.kubernetes.cri.sandbox-name"]) <= 253
	count(annotations["io.kubernetes.cri.sandbox-namespace"]) <= 63
	line := concat(" ", [
		annotations["io.kubernetes.cri.sandbox-id"],
		annotations["io.kubernetes.cri.sandbox-name"],
		annotations["io.kubernetes.cri.sandbox-namespace"],
	])
	regex.match(concat("", ["^[a-z0-9]{64} ", dns_name, " ", dns_label, "$"]), line)
}

linux_allowed(allowed, linux) if {
	namespaces_allowed(allowed.Namespaces, linux.Namespaces)
	masked := {path | some path in linux.MaskedPaths}
	to_mask := {path | some path in allowed.MaskedPaths}
	count(to_mask - masked) == 0
	of_the_kernel(masked - to_mask)

	# What is hidden cannot be written either.
	readonly := {path | some path in linux.ReadonlyPaths}
	to_protect := {path | some path in allowed.ReadonlyPaths}
	count((to_protect - readonly) - masked) == 0
	of_the_kernel(readonly - to_protect)
	every name, value in linux.Sysctl {
		allowed.Sysctl[name] == value
	}
	every device in linux.Devices {
		some known in allowed.Devices
		known.Path == device.Path
	}
}

# Newer nodes hide more of the kernel from a container. What is in its image they have to leave alone.
of_the_kernel(paths) if {
	every path in paths {
		regex.match(`^/(?:proc|sys)/`, path)
		not climbs(path)
	}
}

# New namespaces of the same kinds. The network's is the sandbox's and is judged with the state; a
# cgroup namespace takes nothing away from the guest.
namespaces_allowed(allowed, namespaces) if {
	{namespace_kind(one.Type) | some one in allowed} == {kind |
		some one in namespaces
		kind := namespace_kind(one.Type)
		not kind in {"network", "cgroup"}
	}
	every one in namespaces {
		namespace_is_new(one)
	}
}

namespace_is_new(one) if one.Path == ""

namespace_is_new(one) if one.Type == "network"

namespace_kind(kind) := "mnt" if kind == "mount"

namespace_kind(kind) := kind if kind != "mount"

# Where the sandbox's network is; empty if the request does not say it.
network_paths := {one.Path |
	some one in request.OCI.Linux.Namespaces
	one.Type == "network"
}

network_path := path if {
	count(network_paths) == 1
	some path in network_paths
}

network_path := "" if count(network_paths) == 0
