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

# Whatever the settings say: loopback addresses of both versions, and of one in the clothes of the other.
is_loopback(address) if {
	regex.match(`(?i)^(?:[0:]*(?:ffff:)?127\.|[0:]+ffff:7f[0-9a-f]{2}:|[0:]*:0{0,3}1(?:/[0-9]+)?$)`, address)
}

address_allowed(patterns, address) if {
	not is_loopback(address)
	every pattern in patterns {
		not regex.match(pattern, address)
	}
}

UpdateInterfaceRequest if {
	interface := input.interface
	name := "UpdateInterfaceRequest"
	flags := network_default(name, "allow_raw_flags", 128)
	bits.or(interface.raw_flags, flags) == flags
	not interface.name in network_default(name, "forbidden_names", ["lo"])
	not interface.hwAddr in network_default(name, "forbidden_hw_addrs", ["00:00:00:00:00:00"])
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
