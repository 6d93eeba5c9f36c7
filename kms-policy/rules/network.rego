package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# The sandbox's network is the host's to arrange, except for what stays within the guest: the loopback
# device and its addresses. Older settings say nothing; then what newer ones say holds for them too.

default AddARPNeighborsRequest := false

default UpdateInterfaceRequest := false

default UpdateRoutesRequest := false

network_default(name, entry, fallback) := object.get(object.get(policy_data.request_defaults, name, {}), entry, fallback)

loopback_patterns := [
	`^(?:0{0,4}:){0,7}0{0,3}1$`,
	`^127\.(?:[0-9]{1,3}\.){2}[0-9]{1,3}$`,
]

# Whatever the settings say: an address that is surely not one of the loopback's. The surest way to know
# that is to ask for what it must look like, since there are many ways to write an address, and one that
# no engine can judge must not be let through. Each of IPv6 that is the loopback's, or IPv4's in other
# clothes, begins with a group of zeros.
is_elsewhere(address) if address == ""

is_elsewhere(address) if {
	regex.match(`^(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?:/[0-9]{1,2})?$`, address)
	not startswith(address, "127.")
}

is_elsewhere(address) if {
	regex.match(`^0{0,3}[1-9a-fA-F][0-9a-fA-F]{0,3}:[0-9a-fA-F:.]*(?:/[0-9]{1,3})?$`, address)
}

# A pattern that the engine does not understand forbids all.
address_allowed(patterns, address) if {
	is_elsewhere(address)
	every pattern in patterns {
		regex.match(pattern, address) == false
	}
}

# The loopback device has no hardware address, which can be written in more than one way.
is_of_hardware(address) if address == ""

is_of_hardware(address) if regex.match(`[1-9a-fA-F]`, address)

UpdateInterfaceRequest if {
	interface := input.interface
	name := "UpdateInterfaceRequest"
	flags := network_default(name, "allow_raw_flags", 128)
	bits.or(interface.raw_flags, flags) == flags
	not interface.name in network_default(name, "forbidden_names", ["lo"])
	is_of_hardware(interface.hwAddr)
	forbidden := {lower(address) | some address in network_default(name, "forbidden_hw_addrs", [])}
	not lower(interface.hwAddr) in forbidden
	patterns := loopback_patterns
	every one in object.get(interface, "IPAddresses", []) {
		address_allowed(patterns, one.address)
	}
}

UpdateRoutesRequest if {
	name := "UpdateRoutesRequest"
	devices := network_default(name, "forbidden_device_names", ["lo"])
	patterns := network_default(name, "forbidden_source_regex", loopback_patterns)
	every route in input.routes.Routes {
		not route.device in devices
		address_allowed(patterns, route.source)
	}
}

AddARPNeighborsRequest if {
	name := "AddARPNeighborsRequest"
	devices := network_default(name, "forbidden_device_names", ["lo"])
	patterns := network_default(name, "forbidden_cidrs_regex", loopback_patterns)
	states := network_default(name, "allowed_states", [2, 128])
	every neighbor in input.neighbors.ARPNeighbors {
		not neighbor.device in devices
		neighbor.state in states

		# NTF_PROXY and NTF_ROUTER.
		bits.or(neighbor.flags, 136) == 136
		address_allowed(patterns, neighbor.toIPAddress.address)
	}
}
