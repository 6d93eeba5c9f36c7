//! The process of a container.

use std::collections::HashSet;

use super::Profile;
use super::budget::Budget;
use super::data::{CapabilitySets, Process};
use super::environment::{self, Environment};
use super::user::user;
use crate::Error;
use crate::image::ImageFacts;
use crate::manifest::{Container, ContainerSecurity, Workload};
use crate::settings::Settings;

pub(super) fn process(
    environment: &Environment<'_>,
    image: &str,
    facts: &ImageFacts,
    container: Option<&Container>,
    budget: &mut Budget,
) -> Result<Process, Error> {
    let Environment {
        settings,
        profile,
        workload,
        ..
    } = *environment;
    let env = environment.variables(&facts.config, container, budget)?;
    let mut args = words(facts, container);
    for word in &settings.container(container.is_none()).process.args {
        if !args.contains(word) {
            args.push(word.clone());
        }
    }
    let mut substituted = args.clone();
    environment::substitute_words(&mut substituted, &env)?;
    let keeps_both = profile == Profile::Aks3_15;
    let cwd = container
        .and_then(|container| container.working_dir.clone())
        .or_else(|| facts.config.working_dir.clone())
        .filter(|path| !path.is_empty());
    Ok(Process {
        terminal: container.is_some_and(|container| container.tty),
        user: user(settings, profile, image, facts, workload, container)?,
        deprecated_args: keeps_both.then(|| substituted.clone()),
        args: if keeps_both { args } else { substituted },
        env,
        cwd: cwd.unwrap_or_else(|| "/".to_owned()),
        capabilities: capabilities(settings, container),
        no_new_privileges: no_new_privileges(settings, workload, container),
    })
}

/// The command: that of the manifest, else that of the image.
fn words(facts: &ImageFacts, container: Option<&Container>) -> Vec<String> {
    let command = container.and_then(|container| container.command.clone());
    let args = container.and_then(|container| container.args.clone());
    let filled = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let mut words = match &command {
        Some(command) if !command.is_empty() => command.clone(),
        _ => {
            let mut words = filled(&facts.config.entrypoint);
            if args.as_ref().is_none_or(Vec::is_empty) {
                words.extend(filled(&facts.config.cmd));
            }
            words
        }
    };
    words.extend(args.unwrap_or_default());
    words
}

fn capabilities(settings: &Settings, container: Option<&Container>) -> CapabilitySets {
    let known = &settings.typed.common.capabilities;
    let security = container.map(|container| &container.security);
    let is_privileged = security.is_some_and(|security| security.privileged);
    let mut names = if is_privileged {
        known.privileged_caps.clone()
    } else {
        known.default_caps.clone()
    };
    if let Some(security) = security {
        adjust(&mut names, &known.privileged_caps, security);
    }
    // Rules have a short form for both lists.
    if names == known.default_caps {
        names = vec!["$(default_caps)".to_owned()];
    } else if names == known.privileged_caps {
        names = vec!["$(privileged_caps)".to_owned()];
    }
    CapabilitySets {
        bounding: names.clone(),
        effective: names.clone(),
        permitted: names,
        ..CapabilitySets::default()
    }
}

/// Takes away what is dropped, then adds what is added.
fn adjust(names: &mut Vec<String>, all: &[String], security: &ContainerSecurity) {
    for name in &security.dropped_capabilities {
        if name.eq_ignore_ascii_case("ALL") {
            names.clear();
        } else {
            let name = with_prefix(name);
            names.retain(|known| *known != name);
        }
    }
    let mut known: HashSet<_> = names.iter().cloned().collect();
    for name in &security.added_capabilities {
        if name.eq_ignore_ascii_case("ALL") {
            *names = all.to_vec();
            known = all.iter().cloned().collect();
            continue;
        }
        let name = with_prefix(name);
        if known.insert(name.clone()) {
            names.push(name);
        }
    }
}

fn with_prefix(name: &str) -> String {
    let short = name.strip_prefix("CAP_").unwrap_or(name);
    format!("CAP_{short}")
}

/// The pause container never gains rights; another unless it may, which is Kubernetes' default.
fn no_new_privileges(
    settings: &Settings,
    workload: &Workload,
    container: Option<&Container>,
) -> bool {
    let Some(container) = container else {
        return true;
    };
    let own = container.security.allow_privilege_escalation;
    match own.or(workload.pod.security.allow_privilege_escalation) {
        Some(allowed) => !allowed,
        None => settings.container(false).process.no_new_privileges,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::support::Sample;
    use super::*;

    fn made(fields: &[&str]) -> Value {
        let sample = Sample::new(Profile::AksAzl3);
        let sample = fields
            .iter()
            .fold(sample, |sample, field| sample.container(field));
        sample.made()["OCI"]["Process"].clone()
    }

    #[test]
    fn a_command_hides_the_images_and_arguments_hide_its_cmd() {
        for (fields, expected) in [
            (&[][..], json!(["/entry", "serve"])),
            (&["args: [a, b]"], json!(["/entry", "a", "b"])),
            (&["command: [/c]"], json!(["/c"])),
            (&["command: [/c]", "args: [a]"], json!(["/c", "a"])),
            (&["command: []", "args: []"], json!(["/entry", "serve"])),
        ] {
            assert_eq!(made(fields)["Args"], expected, "{fields:?}");
        }
        let pause = Sample::new(Profile::AksAzl3).pause();
        assert_eq!(pause["OCI"]["Process"]["Args"], json!(["/pause"]));
        assert_eq!(pause["OCI"]["Process"]["NoNewPrivileges"], true);
        assert_eq!(pause["OCI"]["Root"]["Readonly"], true);
    }

    #[test]
    fn variables_are_replaced_in_arguments() {
        let sample = Sample::new(Profile::Aks3_15)
            .container("env: [{name: A, value: x}]")
            .container("args: [\"$(A)-$(A)\", $(B)]");
        let process = sample.made()["OCI"]["Process"].clone();
        assert_eq!(process["Args"], json!(["/entry", "$(A)-$(A)", "$(B)"]));
        assert_eq!(process["DeprecatedArgs"], json!(["/entry", "x-x", "$(B)"]));
        let old = made(&["env: [{name: A, value: x}]", "args: [\"$(A)-$(A)\"]"]);
        assert_eq!(old["Args"], json!(["/entry", "x-x"]));
        assert_eq!(old.get("DeprecatedArgs"), None);
    }

    #[test]
    fn the_working_directory_is_the_manifests_then_the_images() {
        assert_eq!(made(&[])["Cwd"], "/");
        assert_eq!(made(&["workingDir: /a"])["Cwd"], "/a");
        let mut sample = Sample::new(Profile::AksAzl3);
        sample.facts.config.working_dir = Some("/srv".to_owned());
        assert_eq!(sample.made()["OCI"]["Process"]["Cwd"], "/srv");
        let sample = sample.container("workingDir: /a");
        assert_eq!(sample.made()["OCI"]["Process"]["Cwd"], "/a");
    }

    #[test]
    fn capabilities_are_dropped_then_added() {
        let caps = |security: &str| {
            let made = made(&[&format!("securityContext: {{{security}}}")]);
            let sets = &made["Capabilities"];
            assert_eq!(sets["Bounding"], sets["Effective"]);
            assert_eq!(sets["Bounding"], sets["Permitted"]);
            assert_eq!(
                (&sets["Ambient"], &sets["Inheritable"]),
                (&json!([]), &json!([]))
            );
            sets["Bounding"].clone()
        };
        let defaults = json!(["$(default_caps)"]);
        let all = json!(["$(privileged_caps)"]);
        assert_eq!(made(&[])["Capabilities"]["Bounding"], defaults);
        assert_eq!(caps("capabilities: {add: [CHOWN]}"), defaults);
        assert_eq!(caps("capabilities: {drop: [SYS_TIME]}"), defaults);
        assert_eq!(caps("capabilities: {drop: [ALL]}"), json!([]));
        assert_eq!(
            caps("capabilities: {drop: [all], add: [NET_ADMIN, CAP_CHOWN]}"),
            json!(["CAP_NET_ADMIN", "CAP_CHOWN"])
        );
        let fewer = caps("capabilities: {drop: [CHOWN]}");
        assert_eq!(fewer.as_array().unwrap().len(), 13);
        assert!(!fewer.as_array().unwrap().contains(&json!("CAP_CHOWN")));
        assert_eq!(caps("privileged: true"), all);
        assert_eq!(caps("capabilities: {add: [ALL]}"), all);
        let fewer = caps("privileged: true, capabilities: {drop: [SYS_ADMIN]}");
        assert_eq!(fewer.as_array().unwrap().len(), 40);
    }

    #[test]
    fn rights_may_be_gained_unless_the_manifest_says_no() {
        for (context, expected) in [
            ("{}", false),
            ("{allowPrivilegeEscalation: true}", false),
            ("{allowPrivilegeEscalation: false}", true),
        ] {
            let made = made(&[&format!("securityContext: {context}")]);
            assert_eq!(made["NoNewPrivileges"], expected, "{context}");
        }
    }

    #[test]
    fn a_terminal_is_there_if_it_is_asked_for() {
        assert_eq!(made(&["tty: true", "stdin: true"])["Terminal"], true);
        assert_eq!(made(&["stdin: true"])["Terminal"], false);
    }
}
