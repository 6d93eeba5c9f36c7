package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# An agent with state between requests: `data.pstate`, which a rule changes by the JSON patch in "ops".
# The first container pins the pod's name, namespace and network; each is remembered by its id, with
# its place in the policy data, until it is removed.

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

# As JSON pointers write it.
container_path(id) := concat("", ["/pstate/containers/", replace(replace(id, "~", "~0"), "/", "~1")])
