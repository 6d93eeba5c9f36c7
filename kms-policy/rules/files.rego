package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# CopyFileRequest: what is in a file is never part of the request, so only its place can be judged.

default CopyFileRequest := false

CopyFileRequest if {
	not climbs(input.path)
	some prefix in policy_data.request_defaults.CopyFileRequest
	pattern := expand(prefix, {"bundle": "[a-z0-9]{64}", "sandbox": "[a-z0-9]{64}"})
	found := regex.find_n(pattern, input.path, 1)
	file_allowed(trim_prefix(input.path, found[0]))
}

# `rest` is the path behind the prefix: the shared name, then what is in it.
file_allowed(rest) if object.get(input, "file_type", "") in {"Regular", "Directory"}

file_allowed(rest) if {
	input.file_type == "Symlink"
	is_below(rest)
	target_allowed(input.symlink_target)
}

# Agents that do not name the type say the mode. 0 is a file, from those that leave it out.
file_allowed(rest) if {
	not input.file_type
	object.get(input, "symlink_src", "") == ""
	kind(object.get(input, "file_mode", 0)) in {0, 4, 8}
}

# A volume of the kubelet: `..data` and what leads through it.
file_allowed(rest) if {
	not input.file_type
	kind(input.file_mode) == 10
	is_below(rest)
	target_allowed(input.symlink_src)
	some pattern in [policy_data.common.s_source1, policy_data.common.s_source2]
	regex.match(pattern, input.symlink_src)
}

# The type in a mode of POSIX: 4 is a directory, 8 a file, 10 a symbolic link.
kind(mode) := bits.rsh(bits.and(mode, 61440), 12)

# In a shared directory, by the only way to write it.
is_below(rest) if {
	count(split(rest, "/")) > 1
	is_straight(rest)
}

# Relative, and no way up or around.
target_allowed(target) if is_straight(target)

is_straight(path) if {
	every part in split(path, "/") {
		not part in {"", ".", ".."}
	}
}
