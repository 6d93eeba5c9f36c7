package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# Devices that are passed through to a container. Each is a VFIO group and is named by one annotation
# of the container device interface; a group is plugged before the container starts or with it.

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

# Plugged before: the agent finds them by the annotations alone.
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
