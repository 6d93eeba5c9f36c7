//! Variables of a process.

use std::collections::BTreeMap;

use super::{Inputs, Profile, names};
use crate::image::ImageConfig;
use crate::manifest::{Container, EnvFrom, EnvValue, EnvVar, KeyOf, Workload};
use crate::settings::Settings;
use crate::{Error, ErrorKind};

/// What containerd sets where an image sets nothing.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often one variable may name another that names another.
const MAX_ROUNDS: usize = 64;

pub(super) struct Environment<'a> {
    pub(super) settings: &'a Settings,
    pub(super) profile: Profile,
    pub(super) inputs: &'a Inputs,
    pub(super) workload: &'a Workload,
}

impl Environment<'_> {
    /// `NAME=VALUE` of everything that the image, the manifest and the settings set; the pause
    /// container has no manifest.
    pub(super) fn variables(
        &self,
        image: &ImageConfig,
        container: Option<&Container>,
    ) -> Result<Vec<String>, Error> {
        let mut env = match &image.env {
            Some(env) => env.clone(),
            None => vec![DEFAULT_PATH.to_owned()],
        };
        if let Some(container) = container {
            if container.tty {
                env.push("TERM=xterm".to_owned());
            }
            env.push("HOSTNAME=$(host-name)".to_owned());
            for variable in &container.env {
                if let Some(value) = self.value(variable)? {
                    add(&mut env, format!("{}={value}", variable.name));
                }
            }
            for from in &container.env_from {
                self.all_of(from, &mut env)?;
            }
        }
        substitute_variables(&mut env);
        let settings = self.settings.container(container.is_none());
        for variable in &settings.process.env {
            add(&mut env, variable.clone());
        }
        Ok(env)
    }

    /// The value of a variable; none if it need not be there.
    fn value(&self, variable: &EnvVar) -> Result<Option<String>, Error> {
        match &variable.value {
            EnvValue::Literal(text) => Ok(Some(text.clone())),
            EnvValue::ConfigMapKey(key) => self.entry(key, false, variable),
            EnvValue::SecretKey(key) => self.entry(key, true, variable),
            EnvValue::Field(path) => self.field(path, variable),
            EnvValue::Resource(_) => self.unforeseeable(variable, "$(resource-field)"),
        }
    }

    fn entry(
        &self,
        key: &KeyOf,
        is_secret: bool,
        variable: &EnvVar,
    ) -> Result<Option<String>, Error> {
        let found = self.inputs.entries(&key.name, is_secret);
        match found.and_then(|entries| entries.data.get(&key.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if key.optional => Ok(None),
            None => Err(missing_entries(&key.name, Some(&key.key), is_secret).at(&*variable.path)),
        }
    }

    fn all_of(&self, from: &EnvFrom, env: &mut Vec<String>) -> Result<(), Error> {
        match self.inputs.entries(&from.name, from.is_secret) {
            Some(entries) => {
                for (name, value) in &entries.data {
                    add(env, format!("{}{name}={value}", from.prefix));
                }
                Ok(())
            }
            None if from.optional => Ok(()),
            None => Err(missing_entries(&from.name, None, from.is_secret).at(&*from.path)),
        }
    }

    fn field(&self, path: &str, variable: &EnvVar) -> Result<Option<String>, Error> {
        let text = match path {
            "metadata.name" => "$(sandbox-name)".to_owned(),
            "metadata.namespace" => self.namespace(),
            "metadata.uid" => "$(pod-uid)".to_owned(),
            "status.hostIP" => "$(host-ip)".to_owned(),
            "status.podIP" => "$(pod-ip)".to_owned(),
            "spec.nodeName" => "$(node-name)".to_owned(),
            "spec.serviceAccountName" => {
                let named = self.workload.pod.service_account_name.as_deref();
                named.unwrap_or("default").to_owned()
            }
            path => return self.metadata_field(path, variable),
        };
        Ok(Some(text))
    }

    fn namespace(&self) -> String {
        let default = self
            .settings
            .typed
            .cluster_config
            .default_namespace
            .as_deref();
        let default = default.filter(|_| self.profile == Profile::AksAzl3);
        let namespace = names::namespace(self.workload, default);
        if namespace.is_empty() {
            "$(sandbox-namespace)".to_owned()
        } else {
            namespace
        }
    }

    fn metadata_field(&self, path: &str, variable: &EnvVar) -> Result<Option<String>, Error> {
        let within = |prefix: &str| {
            let rest = path.strip_prefix(prefix)?;
            rest.strip_suffix("']")
        };
        let pod = &self.workload.pod_metadata;
        if let Some(name) = within("metadata.annotations['") {
            return match pod.annotations.get(name) {
                Some(value) => Ok(Some(value.clone())),
                None => self.unforeseeable(variable, "$(todo-annotation)"),
            };
        }
        let unsupported =
            |what: String| Error::new(ErrorKind::Unsupported, what).at(&*variable.path);
        if let Some(name) = within("metadata.labels['") {
            return pod.labels.get(name).cloned().map(Some).ok_or_else(|| {
                unsupported(format!("names the label `{name}`, which the pod lacks"))
            });
        }
        Err(unsupported(format!(
            "takes the field `{path}`, whose value the policy could not check"
        )))
    }

    /// A variable whose value is not known before the pod runs.
    fn unforeseeable(&self, variable: &EnvVar, wildcard: &str) -> Result<Option<String>, Error> {
        if self.profile != Profile::Aks3_15 {
            return Ok(Some(wildcard.to_owned()));
        }
        let defaults = &self
            .settings
            .typed
            .request_defaults
            .create_container_request;
        let map = defaults.allow_env_regex_map.as_ref();
        if map.is_some_and(|map| map.contains_key(&variable.name)) {
            // The rules compare it with that expression.
            return Ok(Some("$(validate-from-settings)".to_owned()));
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("the value of `{}` is not known before the pod runs", variable.name),
        )
        .with_remedy(
            "give a regular expression for it in the settings, under request_defaults.CreateContainerRequest.allow_env_regex_map",
        )
        .at(&*variable.path))
    }
}

fn missing_entries(name: &str, key: Option<&str>, is_secret: bool) -> Error {
    let kind = if is_secret { "Secret" } else { "ConfigMap" };
    let what = match key {
        Some(key) => format!("takes the entry `{key}` of the {kind} `{name}`, which was not given"),
        None => format!("takes the {kind} `{name}`, which was not given"),
    };
    Error::new(ErrorKind::Manifest, what)
        .with_remedy("give the file that it is in, by --config-file, or in the same file")
}

/// Adds a variable that is not there in the same words.
fn add(env: &mut Vec<String>, variable: String) {
    if !env.contains(&variable) {
        env.push(variable);
    }
}

/// The variables by name. A later one of a name counts.
pub(super) fn by_name(env: &[String]) -> BTreeMap<String, String> {
    let pairs = env.iter().filter_map(|variable| variable.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Replaces `$(NAME)` in values until nothing changes. Only variables with exactly one equals sign
/// take part, as the rules can split no others.
fn substitute_variables(env: &mut [String]) {
    for _ in 0..MAX_ROUNDS {
        let values = simple(env);
        let mut changed = false;
        for variable in env.iter_mut() {
            let replaced = replace(variable, &values);
            if replaced != *variable {
                *variable = replaced;
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

/// Replaces `$(NAME)` in the words of a command.
pub(super) fn substitute_words(words: &mut [String], env: &[String]) {
    let values = simple(env);
    for word in words {
        *word = replace(word, &values);
    }
}

/// What can be put in place of a variable's name: values that are known, or whose first unknown is one
/// that the rules know.
fn simple(env: &[String]) -> Vec<(String, String)> {
    let pairs = env.iter().filter_map(|variable| {
        let (name, value) = variable.split_once('=')?;
        let is_known = match first_name(value) {
            Some(name) => OF_RULES.contains(&name),
            None => true,
        };
        (is_known && !value.contains('=')).then(|| (format!("$({name})"), value.to_owned()))
    });
    pairs.collect()
}

/// Names that rules put a value in place of.
const OF_RULES: [&str; 8] = [
    "bundle-id",
    "host-ip",
    "node-name",
    "pod-ip",
    "pod-uid",
    "sandbox-id",
    "sandbox-name",
    "sandbox-namespace",
];

/// The first name in `$(…)`.
fn first_name(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("$(")?;
    rest.split_once(')').map(|(name, _)| name)
}

/// The longest text that replacing may make, in bytes: variables can double each other.
const MAX_TEXT: usize = 1024 * 1024;

fn replace(text: &str, values: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (name, value) in values {
        if text.contains(name) && !value.contains(&**name) && text.len() < MAX_TEXT {
            text = text.replace(name, value);
        }
    }
    text
}
