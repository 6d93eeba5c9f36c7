//! The process of a container.

use super::Profile;
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
) -> Result<Process, Error> {
    let Environment {
        settings,
        profile,
        workload,
        ..
    } = *environment;
    let env = environment.variables(&facts.config, container)?;
    let mut args = words(facts, container);
    for word in &settings.container(container.is_none()).process.args {
        if !args.contains(word) {
            args.push(word.clone());
        }
    }
    let mut substituted = args.clone();
    environment::substitute_words(&mut substituted, &env);
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
    for name in &security.added_capabilities {
        if name.eq_ignore_ascii_case("ALL") {
            *names = all.to_vec();
            continue;
        }
        let name = with_prefix(name);
        if !names.contains(&name) {
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
