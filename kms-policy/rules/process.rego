package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# The process of a container: whom it runs as, with which rights, what, and with which variables.

process_allowed(allowed, process) if {
	process.Terminal == allowed.Terminal
	process.Cwd == allowed.Cwd
	process.NoNewPrivileges == allowed.NoNewPrivileges
	process.SelinuxLabel == ""
	user_allowed(allowed.User, process.User)
	capabilities_allowed(allowed.Capabilities, process.Capabilities)
}

# The own group counts once, wherever it is named: some versions of containerd add it to the others.
user_allowed(allowed, user) if {
	user.Username == ""
	user.UID == allowed.UID
	user.GID == allowed.GID
	own := {user.GID}
	{gid | some gid in user.AdditionalGids} - own == {gid | some gid in allowed.AdditionalGids} - own
}

capabilities_allowed(allowed, given) if {
	every kind in ["Ambient", "Bounding", "Effective", "Inheritable", "Permitted"] {
		capability_set_allowed(allowed[kind], given[kind])
	}
}

capability_set_allowed(allowed, given) if allowed == given

capability_set_allowed(allowed, given) if {
	allowed != given
	capability_names(allowed) == {trim_prefix(name, "CAP_") | some name in given}
}

capability_names(names) := default_capabilities if names == ["$(default_caps)"]

capability_names(names) := privileged_capabilities if names == ["$(privileged_caps)"]

capability_names(names) := short if {
	not names in [["$(default_caps)"], ["$(privileged_caps)"]]
	short := {trim_prefix(name, "CAP_") | some name in names}
}

default_capabilities := {trim_prefix(name, "CAP_") | some name in policy_data.common.default_caps}

privileged_capabilities := {trim_prefix(name, "CAP_") | some name in policy_data.common.privileged_caps}

# Word by word. Where the data hold the command twice, with variables and without, either counts.
args_allowed(process, args, ids) if words_allowed(object.get(process, "Args", []), args, ids)

args_allowed(process, args, ids) if words_allowed(process.DeprecatedArgs, args, ids)

words_allowed(allowed, args, ids) if allowed == args

words_allowed(allowed, args, ids) if {
	allowed != args
	count(allowed) == count(args)
	every index, word in args {
		word_allowed(allowed[index], word, ids)
	}
}

word_allowed(allowed, word, ids) if fits(allowed, word, ids)

# `$$` is Kubernetes' way to write `$`.
word_allowed(allowed, word, ids) if {
	contains(allowed, "$$")
	fits(replace(allowed, "$$", "$"), word, ids)
}

word_allowed(allowed, word, ids) if resolved(allowed, request_references) == word

# What Kubernetes makes of `$(NAME)`, the value of a variable, which is judged by itself; and of `$$`,
# which it reads first: `$$(NAME)` is no reference.
resolved(text, values) := replace(strings.replace_n(values, replace(text, "$$", dollar)), dollar, "$") if {
	contains(text, "$")
	not contains(text, dollar)
}

dollar := "\u0001"

request_references := references(request_env)

references(env) := {reference: value |
	some variable in env
	parts := split(variable, "=")
	reference := concat("", ["$(", parts[0], ")"])
	value := substring(variable, count(parts[0]) + 1, -1)
	not contains(value, "$(")
	count([other | some other in env; startswith(other, concat("", [parts[0], "="]))]) == 1
}

# The variables of the request, however it brings them.
request_env := {variable | some variable in request.OCI.Process.Env} | {variable |
	some name, value in object.get(input, "env_map", {})
	variable := concat("=", [name, value])
}

# Each must be one of the container's, or of a name that those have not and the settings allow; and each
# name once: of two values it would be the program that chooses. One that lacks is listed by `lint`.
env_allowed(container, env, ids) if {
	count({split(variable, "=")[0] | some variable in env}) == count(env)
	own := effective(object.get(container.OCI.Process, "Env", []))
	rest := env - {variable | some variable in own}
	templates := [template | some template in own; contains(template, "$")]
	made := {resolved(template, literals(own)) | some template in templates}
	names := {split(variable, "=")[0] | some variable in own}
	free := {variable | some variable in rest; not split(variable, "=")[0] in names}
	every variable in (rest - made) - settings_allow(free) {
		variable_allowed(templates, free, variable, ids)
	}
}

# A variable may be made of others that the data give a value. Not of the request's: two that stand for
# each other could then be anything.
literals(own) := {reference: value |
	some variable in own
	not contains(variable, "$")
	name := split(variable, "=")[0]
	reference := concat("", ["$(", name, ")"])
	value := substring(variable, count(name) + 1, -1)
}

# Of a variable that stands twice, in the image and in the manifest, the last counts.
effective(own) := own if count({split(variable, "=")[0] | some variable in own}) == count(own)

effective(own) := last if {
	names := [split(variable, "=")[0] | some variable in own]
	count({name | some name in names}) != count(own)
	last := [variable |
		some place, variable in own
		not names[place] in array.slice(names, place + 1, count(names))
	]
}

# Those that the settings allow, found at once: an expression is made ready anew whenever it is used. A
# variable of several lines is judged by itself.
settings_allow(env) := found if {
	lines := concat("\n", [variable | some variable in env; not contains(variable, "\n")])
	lines != ""
	found := {line |
		some pattern in env_patterns
		some line in regex.find_n(concat("", ["(?m)", pattern]), lines, -1)
	}
}

settings_allow(env) := set() if concat("", [variable | some variable in env; not contains(variable, "\n")]) == ""

variable_allowed(templates, free, variable, ids) if {
	variable in free
	some pattern in env_patterns
	regex.match(pattern, variable)
}

variable_allowed(templates, free, variable, ids) if {
	some template in templates
	startswith(variable, concat("", [split(template, "=")[0], "="]))
	template_allowed(template, variable, ids)
}

template_allowed(template, variable, ids) if {
	not endswith(template, "=$(validate-from-settings)")
	fits(template, variable, ids)
}

template_allowed(template, variable, ids) if {
	endswith(template, "=$(validate-from-settings)")
	name := split(template, "=")[0]
	pattern := policy_data.request_defaults.CreateContainerRequest.allow_env_regex_map[name]
	value := substring(variable, count(name) + 1, -1)
	regex.match(concat("", ["^(?:", pattern, ")$"]), value)
}

# What the settings allow. Not joined to one expression: engines bound what one may grow to.
env_patterns := [expand_env(raw) |
	some raw in policy_data.request_defaults.CreateContainerRequest.allow_env_regex
]

expand_env(text) := replace(replace(replace(replace(replace(
	text,
	"$(svc_name_downward_env)", object.get(policy_data.common, "svc_name_downward_env", "$(svc_name_downward_env)")),
	"$(svc_name)", object.get(policy_data.common, "svc_name", "$(svc_name)")),
	"$(ip_p)", object.get(policy_data.common, "ip_p", "$(ip_p)")),
	"$(ipv4_a)", object.get(policy_data.common, "ipv4_a", "$(ipv4_a)")),
	"$(dns_label)", object.get(policy_data.common, "dns_label", "$(dns_label)"))
