package agent_policy
import future.keywords.every
import future.keywords.if
import future.keywords.in
default AllowRequestsFailingPolicy := false
DestroySandboxRequest := true
GetOOMEventRequest := true
GuestDetailsRequest := true
OnlineCPUMemRequest := true
RemoveStaleVirtiofsShareMountsRequest := true
SignalProcessRequest := true
StartContainerRequest := true
StatsContainerRequest := true
TtyWinResizeRequest := true
WaitProcessRequest := true
default AddSwapPathRequest := false
default AddSwapRequest := false
default GetIPTablesRequest := false
default GetMetricsRequest := false
default ListInterfacesRequest := false
default ListRoutesRequest := false
default MemAgentCompactConfig := false
default MemAgentMemcgConfig := false
default MemHotplugByProbeRequest := false
default PauseContainerRequest := false
default ReseedRandomDevRequest := false
default ResizeVolumeRequest := false
default ResumeContainerRequest := false
default SetGuestDateTimeRequest := false
default SetIPTablesRequest := false
default SetPolicyRequest := false
default StartTracingRequest := false
default StopTracingRequest := false
default UpdateContainerRequest := false
default VolumeStatsRequest := false
default CloseStdinRequest := false
default GetDiagnosticDataRequest := false
default ReadStreamRequest := false
default UpdateEphemeralMountsRequest := false
default WriteStreamRequest := false
CloseStdinRequest if policy_data.request_defaults.CloseStdinRequest == true
GetDiagnosticDataRequest if policy_data.request_defaults.GetDiagnosticDataRequest == true
ReadStreamRequest if policy_data.request_defaults.ReadStreamRequest == true
UpdateEphemeralMountsRequest if policy_data.request_defaults.UpdateEphemeralMountsRequest == true
WriteStreamRequest if policy_data.request_defaults.WriteStreamRequest == true
expand(text, ids) := replace(replace(expand_settings(text), "$(bundle-id)", ids.bundle), "$(sandbox-id)", ids.sandbox)
expand_settings(text) := replace(replace(replace(replace(
	text,
	"$(root_path)", object.get(policy_data.common, "root_path", "")),
	"$(sfprefix)", policy_data.common.sfprefix),
	"$(cpath)", policy_data.common.cpath),
	"$(spath)", policy_data.common.spath)
escape(text) := regex.replace(text, `[\\.+*?()|\[\]{}^$]`, `\$0`)
fits(template, text, ids) if template == text
fits(template, text, ids) if {
	template != text
	contains(template, "$(")
	regex.match(concat("", ["^(?:", fill(escape(template), ids), ")$"]), text)
}
fill(escaped, ids) := replace(replace(replace(replace(replace(replace(replace(replace(replace(
	escaped,
	`\$\(sandbox-name\)`, ids.name),
	`\$\(sandbox-namespace\)`, ids.namespace),
	`\$\(pod-ip\)`, ipv4),
	`\$\(host-ip\)`, ipv4),
	`\$\(host-name\)`, policy_data.common.dns_label),
	`\$\(node-name\)`, dns_name),
	`\$\(pod-uid\)`, uuid),
	`\$\(resource-field\)`, `[0-9]+`),
	`\$\(todo-annotation\)`, `.*`)
ipv4 := `(?:(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])\.){3}(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])`
dns_label := `[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?`
dns_name := `[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?`
uuid := `[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`
climbs(path) if ".." in split(path, "/")
default CreateContainerRequest := false
request := object.get(input, "base", input)
allowing := [index |
	request_is_plain
	some index, container in policy_data.containers
	names_allowed(container)
	container_allowed(container)
]
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
	args_allowed(container.OCI.Process, oci.Process.Args, ids)
	env_allowed(container, request_env, ids)
	annotations_allowed(container, ids)
	devices_allowed(container)
	mounts_allowed(container, ids)
	storages_allowed(container, ids)
}
version_allowed(allowed, version) if allowed == version
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
	count({path | some path in allowed.MaskedPaths} - masked) == 0
	readonly := {path | some path in linux.ReadonlyPaths} | masked
	count({path | some path in allowed.ReadonlyPaths} - readonly) == 0
	every name, value in linux.Sysctl {
		allowed.Sysctl[name] == value
	}
	every device in linux.Devices {
		some known in allowed.Devices
		known.Path == device.Path
	}
}
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
network_paths := {one.Path |
	some one in request.OCI.Linux.Namespaces
	one.Type == "network"
}
network_path := path if {
	count(network_paths) == 1
	some path in network_paths
}
network_path := "" if count(network_paths) == 0
process_allowed(allowed, process) if {
	process.Terminal == allowed.Terminal
	process.Cwd == allowed.Cwd
	process.NoNewPrivileges == allowed.NoNewPrivileges
	process.SelinuxLabel == ""
	user_allowed(allowed.User, process.User)
	capabilities_allowed(allowed.Capabilities, process.Capabilities)
}
user_allowed(allowed, user) if {
	user.Username == ""
	user.UID == allowed.UID
	user.GID == allowed.GID
	own := {user.GID}
	{gid | some gid in user.AdditionalGids} - own == {gid | some gid in allowed.AdditionalGids} - own
}
capabilities_allowed(allowed, given) if {
	every kind in ["Ambient", "Bounding", "Effective", "Inheritable", "Permitted"] {
		capability_set_allowed(allowed[kind], given[kind])
	}
}
capability_set_allowed(allowed, given) if allowed == given
capability_set_allowed(allowed, given) if {
	allowed != given
	capability_names(allowed) == {trim_prefix(name, "CAP_") | some name in given}
}
capability_names(names) := default_capabilities if names == ["$(default_caps)"]
capability_names(names) := privileged_capabilities if names == ["$(privileged_caps)"]
capability_names(names) := {trim_prefix(name, "CAP_") | some name in names} if {
	not names in [["$(default_caps)"], ["$(privileged_caps)"]]
}
default_capabilities := {trim_prefix(name, "CAP_") | some name in policy_data.common.default_caps}
privileged_capabilities := {trim_prefix(name, "CAP_") | some name in policy_data.common.privileged_caps}
args_allowed(process, args, ids) if words_allowed(object.get(process, "Args", []), args, ids)
args_allowed(process, args, ids) if words_allowed(process.DeprecatedArgs, args, ids)
words_allowed(allowed, args, ids) if allowed == args
words_allowed(allowed, args, ids) if {
	allowed != args
	count(allowed) == count(args)
	every index, word in args {
		word_allowed(allowed[index], word, ids)
	}
}
word_allowed(allowed, word, ids) if fits(allowed, word, ids)
word_allowed(allowed, word, ids) if {
	contains(allowed, "$$")
	fits(replace(allowed, "$$", "$"), word, ids)
}
word_allowed(allowed, word, ids) if {
	contains(allowed, "$(")
	replace(strings.replace_n(request_references, allowed), "$$", "$") == word
}
request_references := {reference: value |
	some variable in request_env
	parts := split(variable, "=")
	reference := concat("", ["$(", parts[0], ")"])
	value := substring(variable, count(parts[0]) + 1, -1)
	not contains(value, "$(")
}
request_env := {variable | some variable in request.OCI.Process.Env} | {variable |
	some name, value in object.get(input, "env_map", {})
	variable := concat("=", [name, value])
}
env_allowed(container, env, ids) if {
	own := object.get(container.OCI.Process, "Env", [])
	rest := env - {variable | some variable in own}
	templates := [template | some template in own; contains(template, "$(")]
	every variable in rest {
		variable_allowed(templates, variable, ids)
	}
}
variable_allowed(templates, variable, ids) if {
	some pattern in env_patterns
	regex.match(pattern, variable)
}
variable_allowed(templates, variable, ids) if {
	some template in templates
	startswith(variable, concat("", [split(template, "=")[0], "="]))
	template_allowed(template, variable, ids)
}
template_allowed(template, variable, ids) if {
	not endswith(template, "=$(validate-from-settings)")
	fits(template, variable, ids)
}
template_allowed(template, variable, ids) if {
	endswith(template, "=$(validate-from-settings)")
	name := split(template, "=")[0]
	pattern := policy_data.request_defaults.CreateContainerRequest.allow_env_regex_map[name]
	value := substring(variable, count(name) + 1, -1)
	regex.match(concat("", ["^(?:", pattern, ")$"]), value)
}
env_patterns := [concat("|", [concat("", ["(?:", pattern, ")"]) |
	some raw in policy_data.request_defaults.CreateContainerRequest.allow_env_regex
	pattern := expand_env(raw)
])]
expand_env(text) := replace(replace(replace(replace(replace(
	text,
	"$(svc_name_downward_env)", object.get(policy_data.common, "svc_name_downward_env", "")),
	"$(svc_name)", object.get(policy_data.common, "svc_name", "")),
	"$(ip_p)", policy_data.common.ip_p),
	"$(ipv4_a)", policy_data.common.ipv4_a),
	"$(dns_label)", policy_data.common.dns_label)
names_allowed(container) if {
	allowed := container.OCI.Annotations
	given := request.OCI.Annotations
	every key in [
		"io.katacontainers.pkg.oci.container_type",
		"io.kubernetes.cri.container-type",
	] {
		given[key] == allowed[key]
	}
	object.get(given, "io.kubernetes.cri.container-name", "") == object.get(allowed, "io.kubernetes.cri.container-name", "")
}
annotations_allowed(container, ids) if {
	given := request.OCI.Annotations
	given["io.katacontainers.pkg.oci.bundle_path"]
	every key, value in given {
		annotation_allowed(container, key, value, ids)
	}
}
annotation_allowed(container, key, value, ids) if container.OCI.Annotations[key] == value
annotation_allowed(container, key, value, ids) if {
	allowed := container.OCI.Annotations[key]
	allowed != value
	annotation_fits(key, allowed, value, ids)
}
annotation_allowed(container, key, value, ids) if {
	startswith(key, "io.kubernetes.cri.")
	not container.OCI.Annotations[key]
}
annotation_allowed(container, key, value, ids) if {
	not startswith(key, "io.kubernetes.cri.")
	some key_pattern, value_pattern in object.get(container, "runtime_anno_patterns", {})
	regex.match(key_pattern, key)
	regex.match(value_pattern, value)
}
annotation_fits(key, allowed, value, ids) if {
	key in {
		"io.kubernetes.cri.sandbox-id",
		"io.kubernetes.cri.sandbox-log-directory",
		"io.kubernetes.cri.sandbox-name",
		"nerdctl/network-namespace",
	}
	startswith(allowed, "^")
	pattern := replace(replace(expand(allowed, ids), "$(sandbox-name)", ids.name), "$(sandbox-namespace)", ids.namespace)
	regex.match(pattern, value)
}
annotation_fits(key, allowed, value, ids) if {
	key == "io.kubernetes.cri.sandbox-name"
	allowed == "$(generated-name)"
}
annotation_fits(key, allowed, value, ids) if {
	key == "io.kubernetes.cri.sandbox-namespace"
	allowed == ""
}
annotation_fits(key, allowed, value, ids) if {
	key == "io.katacontainers.pkg.oci.bundle_path"
	replace(allowed, "$(bundle-id)", ids.bundle) == value
}
annotation_fits(key, allowed, value, ids) if key == "io.kubernetes.cri.image-name"
mounts_allowed(container, ids) if {
	mounts := request.OCI.Mounts
	count({mount.destination | some mount in mounts}) == count(mounts)
	rest := {mount | some mount in mounts} - {mount | some mount in container.OCI.Mounts}
	every mount in rest {
		some allowed in container.OCI.Mounts
		allowed.destination == mount.destination
		allowed.type_ == mount.type_
		mount_options_allowed(container, allowed, mount)
		mount_source_allowed(allowed.source, mount.source, ids)
	}
}
mount_options_allowed(container, allowed, mount) if allowed.options == mount.options
mount_options_allowed(container, allowed, mount) if {
	mount.type_ == "sysfs"
	[writable(option) | some option in mount.options] == allowed.options
}
mount_options_allowed(container, allowed, mount) if {
	mount.type_ == "sysfs"
	container.OCI.Annotations["io.kubernetes.cri.container-type"] == "sandbox"
	mount.options == [writable(option) | some option in allowed.options]
	some other in policy_data.containers
	other.OCI.Process.Capabilities.Bounding == ["$(privileged_caps)"]
}
writable(option) := "rw" if option == "ro"
writable(option) := option if option != "ro"
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
storages_allowed(container, ids) if {
	count(request.storages) == 0
	count(required_storages(container)) == 0
}
storages_allowed(container, ids) if {
	count(request.storages) != 0
	given := [storage | some storage in request.storages; storage.driver != "image_guest_pull"]
	pulled := [storage | some storage in request.storages; storage.driver == "image_guest_pull"]
	count({storage.mount_point | some storage in request.storages}) == count(request.storages)
	every storage in given {
		some allowed in container.storages
		storage_allowed(container, allowed, storage, ids)
	}
	required := required_storages(container)
	every allowed in required {
		some storage in given
		storage_allowed(container, allowed, storage, ids)
	}
	count([storage | some storage in given; storage.fstype != "bind"]) == count(required)
	count(given) <= count(container.storages)
	pulls_allowed(container, pulled)
}
required_storages(container) := [storage | some storage in container.storages; storage.fstype != "bind"]
storage_allowed(container, allowed, storage, ids) if {
	allowed.driver_options == storage.driver_options
	storage.fs_group == allowed.fs_group
	storage_fits(container, allowed, storage, ids)
}
storage_fits(container, allowed, storage, ids) if {
	allowed.driver in {"ephemeral", "local", "watchable-bind"}
	allowed.driver == storage.driver
	allowed.fstype == storage.fstype
	allowed.options == storage.options
	allowed.source == storage.source
	object.get(storage, "shared", false) == false
	mount_source_allowed(allowed.mount_point, storage.mount_point, ids)
}
storage_fits(container, allowed, storage, ids) if {
	allowed.driver == "blk"
	allowed.fstype == "$(blk_fstype)"
	storage.driver == "blk"
	storage.fstype in {"ext4", "xfs"}
	allowed.options == storage.options
	mount_source_allowed(allowed.mount_point, storage.mount_point, ids)
}
storage_fits(container, allowed, storage, ids) if {
	allowed.driver == "smb"
	storage.driver == "smb"
	allowed.fstype == storage.fstype
	count({option | some option in allowed.options} - {option | some option in storage.options}) == 0
	every option in {option | some option in storage.options} - {option | some option in allowed.options} {
		regex.match(`^(?:addr|password|sec|username|vers)=`, option)
	}
	mount_source_allowed(allowed.mount_point, storage.mount_point, ids)
}
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
	image_allowed(container, storage.source)
}
image_allowed(container, image) if {
	container.OCI.Annotations["io.kubernetes.cri.container-type"] == "sandbox"
	image == "pause"
}
image_allowed(container, image) if {
	allowed := container.OCI.Annotations["io.kubernetes.cri.image-name"]
	image_name(allowed) == image_name(image)
	image_version_allowed(allowed, image)
}
image_version_allowed(allowed, image) if {
	contains(allowed, "@")
	split(allowed, "@")[1] == split(image, "@")[1]
}
image_version_allowed(allowed, image) if {
	not contains(allowed, "@")
	not contains(image, "@")
	image_tag(allowed) == image_tag(image)
}
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
image_tag_given(named) := concat("", array.slice(split(last, ":"), 1, 2)) if {
	parts := split(named, "/")
	last := parts[count(parts) - 1]
}
devices_allowed(container) if {
	count(object.get(container, "devices", [])) == 0
	count(request.devices) == 0
}
devices_allowed(container) if {
	number := count(container.devices)
	number > 0
	groups := {group |
		some key, _ in request.OCI.Annotations
		some pattern, _ in container.runtime_anno_patterns
		regex.match(pattern, key)
		group := regex.find_n(`[0-9]+$`, key, 1)[0]
	}
	count(groups) == number
	devices_of_groups(container, groups)
}
devices_of_groups(container, groups) if count(request.devices) == 0
devices_of_groups(container, groups) if {
	count(request.devices) == count(container.devices)
	groups == {group |
		some device in request.devices
		group := device_group(container, device)
	}
}
device_group(container, device) := group if {
	some allowed in container.devices
	allowed.type_ == device.type_
	allowed.vm_path == device.vm_path
	startswith(device.container_path, allowed.container_path)
	group := substring(device.container_path, count(allowed.container_path), -1)
	regex.match(`^[0-9]+$`, group)
	device.id == concat("", ["vfio", group])
}
default ExecProcessRequest := false
exec_allowed(container, ids) if {
	process := input.process
	input.string_user == null
	exec_command_allowed(container, process.Args)
	allowed := container.OCI.Process
	process.Terminal == allowed.Terminal
	process.Cwd == allowed.Cwd
	process.NoNewPrivileges == allowed.NoNewPrivileges
	process.SelinuxLabel == ""
	process.ApparmorProfile == ""
	no_capabilities(process.Capabilities)
	user_allowed(allowed.User, process.User)
	env_allowed(container, {variable | some variable in process.Env}, ids)
}
no_capabilities(capabilities) if capabilities == null
no_capabilities(capabilities) if {
	capabilities != null
	every kind in ["Ambient", "Bounding", "Effective", "Inheritable", "Permitted"] {
		count(capabilities[kind]) == 0
	}
}
exec_command_allowed(container, args) if args in container.exec_commands
exec_command_allowed(container, args) if args in policy_data.request_defaults.ExecProcessRequest.allowed_commands
exec_command_allowed(container, args) if concat(" ", args) in container.exec_commands
exec_command_allowed(container, args) if concat(" ", args) in policy_data.request_defaults.ExecProcessRequest.commands
exec_command_allowed(container, args) if {
	some pattern in policy_data.request_defaults.ExecProcessRequest.regex
	regex.match(concat("", ["^(?:", pattern, ")$"]), concat(" ", args))
}
default CopyFileRequest := false
CopyFileRequest if {
	not climbs(input.path)
	some prefix in policy_data.request_defaults.CopyFileRequest
	pattern := expand(prefix, {"bundle": "[a-z0-9]{64}", "sandbox": "[a-z0-9]{64}"})
	found := regex.find_n(pattern, input.path, 1)
	file_allowed(trim_prefix(input.path, found[0]))
}
file_allowed(rest) if object.get(input, "file_type", "") in {"Regular", "Directory"}
file_allowed(rest) if {
	input.file_type == "Symlink"
	count(split(rest, "/")) > 1
	not endswith(rest, "/")
	target_allowed(input.symlink_target)
}
file_allowed(rest) if {
	not input.file_type
	object.get(input, "symlink_src", "") == ""
	kind(object.get(input, "file_mode", 0)) in {0, 4, 8}
}
file_allowed(rest) if {
	not input.file_type
	kind(input.file_mode) == 10
	count(split(rest, "/")) > 1
	target_allowed(input.symlink_src)
	some pattern in [policy_data.common.s_source1, policy_data.common.s_source2]
	regex.match(pattern, input.symlink_src)
}
kind(mode) := bits.rsh(bits.and(mode, 61440), 12)
target_allowed(target) if {
	target != ""
	every part in split(target, "/") {
		not part in {"", ".", ".."}
	}
}
default AddARPNeighborsRequest := false
default UpdateInterfaceRequest := false
default UpdateRoutesRequest := false
network_default(name, entry, fallback) := object.get(object.get(policy_data.request_defaults, name, {}), entry, fallback)
loopback_patterns := [
	`^(?:0{0,4}:){0,7}0{0,3}1$`,
	`^127\.(?:[0-9]{1,3}\.){2}[0-9]{1,3}$`,
]
is_loopback(address) if regex.match(`(?i)^[0:]*(?:ffff:)?(?:127\.|7f[0-9a-f]{2}:)`, address)
address_allowed(patterns, address) if {
	not is_loopback(address)
	every pattern in patterns {
		not regex.match(pattern, address)
	}
}
UpdateInterfaceRequest if {
	interface := input.interface
	name := "UpdateInterfaceRequest"
	flags := network_default(name, "allow_raw_flags", 128)
	bits.or(interface.raw_flags, flags) == flags
	not interface.name in network_default(name, "forbidden_names", ["lo"])
	not interface.hwAddr in network_default(name, "forbidden_hw_addrs", ["00:00:00:00:00:00"])
	patterns := loopback_patterns
	every one in object.get(interface, "IPAddresses", []) {
		address_allowed(patterns, one.address)
	}
}
UpdateRoutesRequest if {
	name := "UpdateRoutesRequest"
	devices := network_default(name, "forbidden_device_names", ["lo"])
	patterns := network_default(name, "forbidden_source_regex", loopback_patterns)
	every route in input.routes.Routes {
		not route.device in devices
		address_allowed(patterns, route.source)
	}
}
AddARPNeighborsRequest if {
	name := "AddARPNeighborsRequest"
	devices := network_default(name, "forbidden_device_names", ["lo"])
	patterns := network_default(name, "forbidden_cidrs_regex", loopback_patterns)
	states := network_default(name, "allowed_states", [2, 128])
	every neighbor in input.neighbors.ARPNeighbors {
		not neighbor.device in devices
		neighbor.state in states
		bits.or(neighbor.flags, 136) == 136
		address_allowed(patterns, neighbor.toIPAddress.address)
	}
}
default CreateSandboxRequest := false
CreateSandboxRequest if {
	input.guest_hook_path == ""
	count(input.kernel_modules) == 0
	input.sandbox_pidns == false
	every storage in input.storages {
		some allowed in policy_data.sandbox.storages
		sandbox_storage_allowed(allowed, storage)
	}
	count({storage.mount_point | some storage in input.storages}) == count(input.storages)
}
sandbox_storage_allowed(allowed, storage) if {
	object.get(storage, "shared", false) == false
	every key, value in allowed {
		storage[key] == value
	}
}
storage_fits(container, allowed, storage, ids) if {
	allowed.driver == ""
	storage.driver in {"blk", "blk-ccw", "mmioblk", "scsi"}
	allowed.fstype == storage.fstype
	allowed.options == storage.options
	object.get(storage, "shared", false) == true
	storage.mount_point == disk_mount_point(allowed.mount_point, storage)
}
mount_source_allowed(allowed, source, ids) if {
	contains(allowed, "$(b64_device_id)")
	some storage in request.storages
	storage.mount_point == source
	source == disk_mount_point("$(spath)/$(b64_device_id)", storage)
}
disk_mount_point(template, storage) := replace(
	expand_settings(template),
	"$(b64_device_id)", base64url.encode(storage.source),
)
CreateContainerRequest := {"allowed": true, "ops": ops} if {
	index := allowing[0]
	annotations := request.OCI.Annotations
	pins := {
		"network_namespace": network_path,
		"sandbox_name": annotations["io.kubernetes.cri.sandbox-name"],
		"sandbox_namespace": annotations["io.kubernetes.cri.sandbox-namespace"],
	}
	every key, value in pins {
		object.get(data.pstate, key, value) == value
	}
	pinning := [{"op": "add", "path": concat("/", ["/pstate", key]), "value": value} |
		some key, value in pins
		not key in object.keys(data.pstate)
	]
	opening := [{"op": "add", "path": "/pstate/containers", "value": {}} | not data.pstate.containers]
	ops := array.concat(
		array.concat(pinning, opening),
		[{"op": "add", "path": container_path(request.container_id), "value": index}],
	)
}
ExecProcessRequest if {
	container := policy_data.containers[data.pstate.containers[input.container_id]]
	exec_allowed(container, {
		"bundle": "",
		"sandbox": "",
		"name": replace(data.pstate.sandbox_name, ".", `\.`),
		"namespace": data.pstate.sandbox_namespace,
	})
}
RemoveContainerRequest := {"allowed": true, "ops": ops} if {
	ops := [{"op": "remove", "path": container_path(input.container_id)} |
		input.container_id in object.keys(object.get(data.pstate, "containers", {}))
	]
}
container_path(id) := concat("", ["/pstate/containers/", replace(replace(id, "~", "~0"), "/", "~1")])
