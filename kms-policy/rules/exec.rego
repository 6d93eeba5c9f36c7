package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# ExecProcessRequest: a further process, as the container's own but for what it runs.

default ExecProcessRequest := false

exec_allowed(container, ids) if {
	process := input.process
	input.string_user == null
	exec_command_allowed(container, process.Args)
	allowed := container.OCI.Process
	process.Terminal == allowed.Terminal
	process.Cwd == allowed.Cwd
	process.NoNewPrivileges == allowed.NoNewPrivileges
	process.SelinuxLabel == ""
	process.ApparmorProfile == ""
	no_capabilities(process.Capabilities)
	user_allowed(allowed.User, process.User)
	env_allowed(container, {variable | some variable in process.Env}, ids)
}

no_capabilities(capabilities) if capabilities == null

no_capabilities(capabilities) if {
	capabilities != null
	every kind in ["Ambient", "Bounding", "Effective", "Inheritable", "Permitted"] {
		count(capabilities[kind]) == 0
	}
}

exec_command_allowed(container, args) if args in container.exec_commands

exec_command_allowed(container, args) if args in policy_data.request_defaults.ExecProcessRequest.allowed_commands

# Older data hold commands as one text. Where the words can be told apart they must be the same.
exec_command_allowed(container, args) if concat(" ", args) in container.exec_commands

exec_command_allowed(container, args) if concat(" ", args) in policy_data.request_defaults.ExecProcessRequest.commands

exec_command_allowed(container, args) if {
	some pattern in policy_data.request_defaults.ExecProcessRequest.regex
	regex.match(concat("", ["^(?:", pattern, ")$"]), concat(" ", args))
}
