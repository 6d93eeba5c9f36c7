package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# Texts of the policy data that stand for others.
#
# `ids` are the texts that belong to one request: "bundle", "sandbox", "name" and "namespace", each as a
# regular expression that fits what it stands for.

# What the settings name, then what the request names.
expand(text, ids) := replace(replace(expand_settings(text), "$(bundle-id)", ids.bundle), "$(sandbox-id)", ids.sandbox)

expand_settings(text) := replace(replace(replace(replace(
	text,
	"$(root_path)", object.get(policy_data.common, "root_path", "$(root_path)")),
	"$(sfprefix)", object.get(policy_data.common, "sfprefix", "$(sfprefix)")),
	"$(cpath)", object.get(policy_data.common, "cpath", "$(cpath)")),
	"$(spath)", object.get(policy_data.common, "spath", "$(spath)"))

# A text as a regular expression that fits it alone.
escape(text) := regex.replace(text, `[\\.+*?()|\[\]{}^$]`, `\$0`)

# Whether a text is what the template says, placeholders filled in.
fits(template, text, ids) if template == text

fits(template, text, ids) if {
	template != text
	contains(template, "$(")
	count(template) <= 1000
	regex.match(concat("", ["^(?:", fill(escape(template), ids), ")$"]), text)
}

# Engines bound what an expression may grow to. So what is long between placeholders is first replaced by
# a mark, in both: neither holds one of its own.
fits(template, text, ids) if {
	template != text
	contains(template, "$(")
	count(template) > 1000
	not contains(concat("", [template, text]), mark)
	marks := {part: concat("", [mark, format_int(place, 10), mark]) |
		some place, part in regex.split(`\$\([a-z-]+\)`, template)
		count(part) > 50
	}
	expression := fill(escape(strings.replace_n(marks, template)), ids)
	regex.match(concat("", ["^(?:", expression, ")$"]), strings.replace_n(marks, text))
}

mark := "\u0002"

fill(escaped, ids) := replace(replace(replace(replace(replace(replace(replace(replace(replace(
	escaped,
	`\$\(sandbox-name\)`, ids.name),
	`\$\(sandbox-namespace\)`, ids.namespace),
	`\$\(pod-ip\)`, ipv4),
	`\$\(host-ip\)`, ipv4),
	`\$\(host-name\)`, dns_name),
	`\$\(node-name\)`, dns_name),
	`\$\(pod-uid\)`, uuid),
	`\$\(resource-field\)`, `[0-9]+`),
	`\$\(todo-annotation\)`, `.*`)

ipv4 := `(?:(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])\.){3}(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])`

# Without their lengths, which are counted where they matter: engines bound what an expression may grow
# to, and a repetition of hundreds comes near it.
dns_label := `[a-z0-9](?:[-a-z0-9]*[a-z0-9])?`

dns_name := `[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?`

uuid := `[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`

# Whether a path leaves where it starts.
climbs(path) if ".." in split(path, "/")
