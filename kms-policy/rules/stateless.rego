package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# An agent without state between requests: each is judged by itself.

CreateContainerRequest if {
	some index in allowing
	ids := request_ids(policy_data.containers[index])
	request.container_id == ids.bundle
	count(network_paths) <= 1
}

ExecProcessRequest if {
	some container in policy_data.containers
	exec_allowed(container, {"bundle": "", "sandbox": "", "name": dns_name, "namespace": dns_label})
}

RemoveContainerRequest := true
