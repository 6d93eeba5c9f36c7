package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# An agent with state between requests: `data.pstate`, which a rule changes by the JSON patch in "ops".
# The first container pins the pod's name, namespace and network; each is remembered by its id, with
# its place in the policy data, and with its bundle, until it is removed.

CreateContainerRequest := {"allowed": true, "ops": ops} if {
	index := allowing[0]

	id := request.container_id
	bundle := request_ids(policy_data.containers[index]).bundle
	place_is_free(id, index, bundle)
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
	]
	opening := [{"op": "add", "path": concat("/", ["/pstate", what]), "value": {}} |
		some what in ["containers", "bundles"]
		not what in object.keys(data.pstate)
	]
	ops := array.concat(
		array.concat(pinning, opening),
		[
			{"op": "add", "path": entry("containers", id), "value": index},
			{"op": "add", "path": entry("bundles", bundle), "value": id},
		],
	)
}

# One in the place of another would take over what may be run in it, or the root it runs on. Agents
# refuse an empty id.
place_is_free(id, index, bundle) if id == ""

place_is_free(id, index, bundle) if {
	id != ""
	object.get(object.get(data.pstate, "containers", {}), id, index) == index
	object.get(object.get(data.pstate, "bundles", {}), bundle, id) in {id, ""}
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
	id := input.container_id
	containers := [entry("containers", known) |
		some known, _ in object.get(data.pstate, "containers", {})
		known == id
	]
	bundles := [entry("bundles", bundle) |
		some bundle, owner in object.get(data.pstate, "bundles", {})
		owner == id
	]
	ops := [{"op": "remove", "path": path} | some path in array.concat(containers, bundles)]
}

# As JSON pointers write it.
entry(what, name) := concat("/", ["/pstate", what, replace(replace(name, "~", "~0"), "/", "~1")])
