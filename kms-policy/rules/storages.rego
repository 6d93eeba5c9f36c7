package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# Storages are what the agent itself mounts in the guest: layers of the image, volumes, or an image
# that the guest pulls.

storages_allowed(container, ids) if {
	count(request.storages) == 0
	count(required_storages(container)) == 0
}

storages_allowed(container, ids) if {
	count(request.storages) != 0
	given := [storage | some storage in request.storages; storage.driver != "image_guest_pull"]
	pulled := [storage | some storage in request.storages; storage.driver == "image_guest_pull"]
	mount_points_apart(container)
	every storage in given {
		some allowed in container.storages
		storage_allowed(container, allowed, storage, ids)
	}

	# Each that the container cannot do without is there, once.
	required := required_storages(container)
	every allowed in required {
		some storage in given
		storage_allowed(container, allowed, storage, ids)
	}
	count([storage | some storage in given; storage.fstype != "bind"]) == count(required)
	count(given) <= count(container.storages)
	pulls_allowed(container, pulled)
}

# Nothing is mounted over something else. A volume that the container mounts in two places is given
# twice, and nothing more often than the data have it.
mount_points_apart(container) if {
	once := {storage | some storage in request.storages}
	count({storage.mount_point | some storage in once}) == count(once)
	allowed := {storage | some storage in container.storages}
	count(request.storages) - count(once) <= count(container.storages) - count(allowed)
}

# Without these a container would run on what the host gives it instead. What is a bind mount of a
# shared directory comes from the host either way, and some agents do without the storage.
required_storages(container) := [storage | some storage in container.storages; storage.fstype != "bind"]

storage_allowed(container, allowed, storage, ids) if {
	allowed.driver_options == storage.driver_options
	storage.fs_group == allowed.fs_group
	storage_fits(container, allowed, storage, ids)
}

# What is neither a disk nor a layer.
storage_fits(container, allowed, storage, ids) if {
	allowed.driver in {"ephemeral", "local", "watchable-bind"}
	allowed.driver == storage.driver
	allowed.fstype == storage.fstype
	allowed.options == storage.options
	allowed.source == storage.source
	object.get(storage, "shared", false) == false
	mount_source_allowed(allowed.mount_point, storage.mount_point, ids)
}

# A volume of a storage class that the guest mounts by itself.
storage_fits(container, allowed, storage, ids) if {
	allowed.driver == "blk"
	allowed.fstype == "$(fs-type)"
	storage.driver == "blk"
	storage.fstype in {"ext4", "xfs"}
	allowed.options == storage.options
	is_direct(allowed.mount_point, storage.mount_point)
}

storage_fits(container, allowed, storage, ids) if {
	allowed.driver == "smb"
	allowed.fstype == "$(fs-type)"
	storage.driver == "smb"
	storage.fstype == "cifs"
	count({option | some option in allowed.options} - {option | some option in storage.options}) == 0
	every option in {option | some option in storage.options} - {option | some option in allowed.options} {
		regex.match(`^(?:addr|password|sec|username|vers)=[^,]*$`, option)
	}
	is_direct(allowed.mount_point, storage.mount_point)
}

# Where the guest mounts it: a name that encodes what the host calls it.
is_direct(template, path) if {
	contains(template, "$(b64-direct-vol-path)")
	prefix := expand_settings(replace(template, "$(b64-direct-vol-path)", ""))
	startswith(path, prefix)
	regex.match(`^[A-Za-z0-9_=-]+$`, trim_prefix(path, prefix))
}

mount_source_allowed(allowed, source, ids) if {
	is_direct(allowed, source)
	some storage in request.storages
	storage.driver in {"blk", "smb"}
	storage.mount_point == source
}

# One layer of the image: its place in the data, `$(layerN)` and `$(hashN)`, stands for the N-th name
# and dm-verity root hash that the last of the container's storages lists.
storage_fits(container, allowed, storage, ids) if {
	allowed.driver == "blk"
	allowed.fstype == "tar"
	storage.driver == "blk"
	storage.fstype == "tar"
	some layer in image_layers(container)
	allowed.mount_point == concat("", ["$(layer", layer.place, ")"])
	storage.mount_point == concat("/", ["/run/kata-containers/sandbox/layers", layer.name])
	storage.options == array.concat(["ro"], layer_options(layer.hash))
}

# All layers as one file system, where the container's root is.
storage_fits(container, allowed, storage, ids) if {
	allowed.driver == "overlayfs"
	storage.driver == "overlayfs"
	allowed.fstype == storage.fstype
	storage.source == "none"
	storage.mount_point == request.OCI.Root.Path
	storage.options == overlay_options(container)
}

image_layers(container) := [{"place": format_int(place, 10), "name": name, "hash": hashes[place]} |
	some overlay in container.storages
	overlay.driver == "overlayfs"
	hashes := split(overlay.options[1], ":")
	some place, name in split(overlay.options[0], ":")
]

layer_options(hash) := [
	"io.katacontainers.fs-opt.block_device=file",
	"io.katacontainers.fs-opt.is-layer",
	concat("", ["io.katacontainers.fs-opt.root-hash=", hash]),
]

overlay_options(container) := array.concat(
	array.concat(
		["io.katacontainers.fs-opt.layer-src-prefix=/var/lib/containerd/io.containerd.snapshotter.v1.tardev/layers"],
		[concat("", ["io.katacontainers.fs-opt.layer=", base64.encode(line)]) |
			some layer in image_layers(container)
			line := concat(",", array.concat([layer.name, "tar", "ro"], layer_options(layer.hash)))
		],
	),
	[
		"io.katacontainers.fs-opt.overlay-rw",
		concat("", ["lowerdir=", concat(":", [layer.name | some layer in image_layers(container)])]),
	],
)

# An image that the guest pulls: at most one, onto the container's root, of the name in the policy data.
# Never beside layers that are proved.
pulls_allowed(container, pulled) if count(pulled) == 0

pulls_allowed(container, pulled) if {
	count(pulled) == 1
	policy_data.cluster_config.guest_pull == true
	some storage in pulled
	storage.fstype == "overlay"
	storage.options == []
	storage.fs_group == null
	object.get(storage, "shared", false) == false
	storage.mount_point == request.OCI.Root.Path
	count(storage.driver_options) == 1
	startswith(storage.driver_options[0], "image_guest_pull=")
	pulled_as(container, json.unmarshal(trim_prefix(storage.driver_options[0], "image_guest_pull=")))
	image_allowed(container, storage.source)
}

# The agent takes its own pause image for whatever is said to be the sandbox, and pulls all else.
pulled_as(container, told) if {
	metadata := object.get(told, "metadata", {})
	kinds := {metadata[key] | some key in ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"]}
	is_told_so(container.OCI.Annotations["io.kubernetes.cri.container-type"], kinds)
}

is_told_so(kind, told) if {
	kind == "sandbox"
	told == {kind}
}

is_told_so(kind, told) if {
	kind != "sandbox"
	not "sandbox" in told
}

# The pause image is part of the guest.
image_allowed(container, image) if {
	container.OCI.Annotations["io.kubernetes.cri.container-type"] == "sandbox"
	image == "pause"
}

image_allowed(container, image) if {
	allowed := container.OCI.Annotations["io.kubernetes.cri.image-name"]
	image_name(allowed) == image_name(image)
	image_version_allowed(allowed, image)
}

# A digest in the data is the only thing that counts; without one the tag is.
image_version_allowed(allowed, image) if {
	contains(allowed, "@")
	split(allowed, "@")[1] == split(image, "@")[1]
}

image_version_allowed(allowed, image) if {
	not contains(allowed, "@")
	not contains(image, "@")
	image_tag(allowed) == image_tag(image)
}

# The repository's full name.
image_name(image) := concat("/", array.concat(image_registry(parts), parts)) if {
	named := split(image, "@")[0]
	parts := split(trim_suffix(named, concat("", [":", image_tag_given(named)])), "/")
}

image_registry(parts) := ["docker.io", "library"] if count(parts) == 1

image_registry(parts) := ["docker.io"] if {
	count(parts) > 1
	not regex.match(`[.:]|^localhost$`, parts[0])
}

image_registry(parts) := [] if {
	count(parts) > 1
	regex.match(`[.:]|^localhost$`, parts[0])
}

image_tag(image) := tag if {
	tag := image_tag_given(split(image, "@")[0])
	tag != ""
}

image_tag(image) := "latest" if image_tag_given(split(image, "@")[0]) == ""

# Behind the last slash, so that a registry's port is no tag.
image_tag_given(named) := concat("", array.slice(split(last, ":"), 1, 2)) if {
	parts := split(named, "/")
	last := parts[count(parts) - 1]
}
