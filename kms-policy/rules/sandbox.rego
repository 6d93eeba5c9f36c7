package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# CreateSandboxRequest.

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
