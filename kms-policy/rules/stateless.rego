package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# An agent without state between requests: each is judged by itself.

CreateContainerRequest if {
	count(allowing) > 0
	count(network_paths) <= 1
}

ExecProcessRequest if {
	some container in policy_data.containers
	exec_allowed(container, {"bundle": "", "sandbox": "", "name": dns_name, "namespace": dns_label})
}

RemoveContainerRequest := true
