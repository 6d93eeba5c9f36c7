package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# Annotations tell the guest what a container is.

# Those that choose the container.
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

# The node's own notes. Nothing in the guest acts on those that the policy data lack.
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

# No namespace was named: any, but the same for all containers where there is state.
annotation_fits(key, allowed, value, ids) if {
	key == "io.kubernetes.cri.sandbox-namespace"
	allowed == ""
}

annotation_fits(key, allowed, value, ids) if {
	key == "io.katacontainers.pkg.oci.bundle_path"
	replace(allowed, "$(bundle-id)", ids.bundle) == value
}

# A name says nothing of what is in an image. What proves that, or pulls it, is judged with storages.
annotation_fits(key, allowed, value, ids) if key == "io.kubernetes.cri.image-name"
