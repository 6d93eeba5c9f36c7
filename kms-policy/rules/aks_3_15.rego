package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# Nodes of one pool speak several versions of the OCI runtime specification. They differ in what a
# request can ask for, and all of that is judged.
version_allowed(allowed, version) if {
	allowed != version
	regex.match(`^1\.[0-9]+\.[0-9]+(?:-rc\.[0-9]+)?$`, version)
}
