package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# Devices that are passed through to a container: disks, which the data name by their path, and cards.
# Each card is a VFIO group and is named by one annotation of the container device interface; a group
# is plugged before the container starts or with it.

devices_allowed(container) if {
	allowed := object.get(container, "devices", [])
	paths := {one.container_path | some one in allowed; one.type_ == ""}
	cards := [one | some one in allowed; one.type_ != ""]
	disks := [device | some device in request.devices; device.container_path in paths]
	count({device.container_path | some device in disks}) == count(disks)
	every device in disks {
		device.type_ in {"blk", "blk-ccw", "mmioblk", "scsi"}
	}
	cards_allowed(container, cards, [device | some device in request.devices; not device.container_path in paths])
}

cards_allowed(container, cards, given) if {
	count(cards) == 0
	count(given) == 0
}

cards_allowed(container, cards, given) if {
	count(cards) > 0
	groups := {group |
		some key, _ in request.OCI.Annotations
		some pattern, _ in container.runtime_anno_patterns
		regex.match(pattern, key)
		group := regex.find_n(`[0-9]+$`, key, 1)[0]
	}
	count(groups) == count(cards)
	cards_of_groups(cards, given, groups)
}

# Plugged before: the agent finds them by the annotations alone.
cards_of_groups(cards, given, groups) if count(given) == 0

cards_of_groups(cards, given, groups) if {
	count(given) == count(cards)
	groups == {group |
		some device in given
		group := card_group(cards, device)
	}
}

card_group(cards, device) := group if {
	some allowed in cards
	allowed.type_ == device.type_
	allowed.vm_path == device.vm_path
	startswith(device.container_path, allowed.container_path)
	group := substring(device.container_path, count(allowed.container_path), -1)
	device.id == concat("", ["vfio", group])
}
