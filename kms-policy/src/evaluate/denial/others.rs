//! Requests that create no container.

use serde_json::Value;

use super::text::{Filler, matches, quoted, shown};
use super::{Denial, Difference};
use crate::document::{DocumentContainer, PolicyDocument, words};

pub(super) fn exec(document: &PolicyDocument, body: &Value, state: Option<&Value>) -> Denial {
    let id = body
        .get("container_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let known = state.and_then(|state| state.get("containers")?.get(id)?.as_u64());
    let containers = &document.data.containers;
    let chosen: Vec<_> = match (state, known) {
        (Some(_), None) => {
            let field = "container_id";
            let differences = vec![Difference::new(
                field,
                "a container that was created",
                quoted(id),
            )];
            return Denial {
                nearest: None,
                differences,
            };
        }
        (_, Some(index)) => {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            containers.get(index).into_iter().collect()
        }
        (None, None) => containers.iter().collect(),
    };
    let compared = chosen
        .into_iter()
        .map(|it| (it, exec_differences(document, it, body)));
    match compared.min_by_key(|(_, differences)| differences.len()) {
        Some((container, differences)) => Denial {
            nearest: Some(container.name().to_owned()),
            differences,
        },
        None => Denial {
            nearest: None,
            differences: vec![Difference::new(
                "containers",
                "one with this command",
                "none",
            )],
        },
    }
}

fn exec_differences(
    document: &PolicyDocument,
    container: &DocumentContainer,
    body: &Value,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let at = |pointer: &str| body.pointer(pointer).unwrap_or(&Value::Null);
    let command = words(at("/process/Args"));
    let mut allowed = container.commands();
    if let Some(defaults) = document.data.request_defaults.get("ExecProcessRequest") {
        for name in ["allowed_commands", "commands"] {
            let listed = defaults.get(name).and_then(Value::as_array);
            allowed.extend(listed.into_iter().flatten().map(words));
        }
        let patterns = defaults.get("regex").and_then(Value::as_array);
        let mut patterns = patterns.into_iter().flatten().filter_map(Value::as_str);
        if patterns.any(|pattern| matches(pattern, &command)) {
            allowed.push(command.clone());
        }
    }
    if !allowed.contains(&command) {
        let expected = if allowed.is_empty() {
            "no command at all".to_owned()
        } else {
            format!("one of {allowed:?}")
        };
        differences.push(Difference::new("process.Args", expected, quoted(&command)));
    }
    let process = &container.oci.process;
    for (field, expected) in [
        ("Cwd", Value::from(&*process.cwd)),
        ("Terminal", Value::from(process.terminal)),
        ("NoNewPrivileges", Value::from(process.no_new_privileges)),
        ("SelinuxLabel", Value::from("")),
        ("ApparmorProfile", Value::from("")),
        ("User/UID", Value::from(process.user.uid)),
        ("User/GID", Value::from(process.user.gid)),
    ] {
        let got = at(&format!("/process/{field}"));
        if *got != expected {
            let field = format!("process.{}", field.replace('/', "."));
            differences.push(Difference::new(field, shown(&expected), shown(got)));
        }
    }
    if !at("/string_user").is_null() {
        differences.push(Difference::new(
            "string_user",
            "nothing",
            shown(at("/string_user")),
        ));
    }
    let filler = Filler::new(&document.data.common);
    let defaults = document.data.request_defaults.get("CreateContainerRequest");
    let patterns = defaults.and_then(|defaults| defaults.get("allow_env_regex")?.as_array());
    let env = at("/process/Env").as_array();
    for variable in env.into_iter().flatten().filter_map(Value::as_str) {
        let is_own = process.env.iter().any(|own| filler.fits(own, variable));
        let mut patterns = patterns.into_iter().flatten().filter_map(Value::as_str);
        if !is_own && !patterns.any(|pattern| matches(&filler.of_settings(pattern), variable)) {
            let name = variable.split('=').next().unwrap_or_default();
            let field = format!("process.Env[{name}]");
            differences.push(Difference::new(
                field,
                "no such variable, or another value",
                "it",
            ));
        }
    }
    differences
}

pub(super) fn explain(document: &PolicyDocument, kind: &str, body: &Value) -> Vec<Difference> {
    let defaults = document.data.request_defaults.get(kind);
    match kind {
        "CopyFileRequest" => {
            let prefixes = defaults.and_then(Value::as_array);
            let prefixes: Vec<_> = prefixes
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            vec![Difference::new(
                "path",
                format!(
                    "a file, directory or link within a volume, below one of {prefixes:?}, without `..`"
                ),
                format!(
                    "{} of type {}",
                    shown(&body["path"]),
                    shown(&body["file_type"])
                ),
            )]
        }
        "CreateSandboxRequest" => {
            let fields = ["guest_hook_path", "kernel_modules", "sandbox_pidns"].into_iter();
            let plain = [
                Value::from(""),
                Value::Array(Vec::new()),
                Value::from(false),
            ];
            let fields = fields.zip(plain).filter_map(|(field, expected)| {
                let got = body.get(field).unwrap_or(&Value::Null);
                (*got != expected).then(|| Difference::new(field, shown(&expected), shown(got)))
            });
            let mut differences: Vec<_> = fields.collect();
            if differences.is_empty() {
                let storages = body.get("storages").unwrap_or(&Value::Null);
                differences.push(Difference::new(
                    "storages",
                    "those of sandbox.storages, each once",
                    shown(storages),
                ));
            }
            differences
        }
        _ => match defaults {
            Some(Value::Bool(_)) => vec![Difference::new(
                format!("request_defaults.{kind}"),
                "true, for this request to be served",
                "false",
            )],
            Some(limits) => vec![Difference::new(
                format!("request_defaults.{kind}"),
                shown(limits),
                shown(body),
            )],
            None => vec![Difference::new(
                kind,
                "no such request: the policy never opens it",
                "it",
            )],
        },
    }
}
