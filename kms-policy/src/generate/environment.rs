//! Variables of a process.

use std::collections::{BTreeMap, HashSet};

use super::budget::Budget;
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
        budget: &mut Budget,
    ) -> Result<Vec<String>, Error> {
        let mut list = match &image.env {
            Some(env) => env.clone(),
            None => vec![DEFAULT_PATH.to_owned()],
        };
        if let Some(container) = container {
            if container.tty {
                list.push("TERM=xterm".to_owned());
            }
            list.push("HOSTNAME=$(host-name)".to_owned());
            let mut env = Variables::of(list, budget)?;
            for variable in &container.env {
                if let Some(value) = self.value(variable)? {
                    env.add(&variable.name, &value)?;
                }
            }
            for from in &container.env_from {
                self.all_of(from, &mut env)?;
            }
            list = env.list;
        }
        substitute_variables(&mut list)?;
        let mut env = Variables::of(list, budget)?;
        let settings = self.settings.container(container.is_none());
        for variable in &settings.process.env {
            env.add_whole(variable.clone())?;
        }
        Ok(env.list)
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

    fn all_of(&self, from: &EnvFrom, env: &mut Variables<'_>) -> Result<(), Error> {
        match self.inputs.entries(&from.name, from.is_secret) {
            Some(entries) => {
                for (name, value) in &entries.data {
                    env.add(&format!("{}{name}", from.prefix), value)?;
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

/// Variables in their order, and which there are.
struct Variables<'b> {
    list: Vec<String>,
    known: HashSet<String>,
    budget: &'b mut Budget,
}

impl<'b> Variables<'b> {
    fn of(list: Vec<String>, budget: &'b mut Budget) -> Result<Self, Error> {
        let len = list.iter().map(String::len);
        budget.take(len.fold(0, usize::saturating_add))?;
        Ok(Self {
            known: list.iter().cloned().collect(),
            list,
            budget,
        })
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), Error> {
        self.add_whole(format!("{name}={value}"))
    }

    /// Adds a variable that is not there in the same words. It counts even if it is: a list may be
    /// named as often as one likes.
    fn add_whole(&mut self, variable: String) -> Result<(), Error> {
        self.budget.take(variable.len())?;
        if !self.known.contains(&variable) {
            self.known.insert(variable.clone());
            self.list.push(variable);
        }
        Ok(())
    }
}

/// The variables by name. A later one of a name counts.
pub(super) fn by_name(env: &[String]) -> BTreeMap<String, String> {
    let pairs = env.iter().filter_map(|variable| variable.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Replaces `$(NAME)` in values until nothing changes.
fn substitute_variables(env: &mut [String]) -> Result<(), Error> {
    for _ in 0..MAX_ROUNDS {
        let mut replaced = Vec::with_capacity(env.len());
        let values = Values::of(env);
        let mut room = MAX_LEN;
        for variable in &*env {
            replaced.push(values.replace(variable, &mut room)?);
        }
        if replaced == env {
            break;
        }
        env.clone_from_slice(&replaced);
    }
    Ok(())
}

/// Replaces `$(NAME)` in the words of a command.
pub(super) fn substitute_words(words: &mut [String], env: &[String]) -> Result<(), Error> {
    let values = Values::of(env);
    let mut room = MAX_LEN;
    for word in words {
        *word = values.replace(word, &mut room)?;
    }
    Ok(())
}

/// The most that all variables may become by naming each other, in bytes: more than an annotation
/// holds, and variables can double each other.
const MAX_LEN: usize = 4 * 1024 * 1024;

/// What can be put in place of a variable's name: values that are known, or whose first unknown is one
/// that the rules know. Values with a further equals sign take no part, as rules can split no others.
struct Values<'e>(BTreeMap<&'e str, &'e str>);

impl<'e> Values<'e> {
    fn of(env: &'e [String]) -> Self {
        let mut values = BTreeMap::new();
        for variable in env {
            if let Some((name, value)) = variable.split_once('=')
                && !value.contains('=')
                && first_name(value).is_none_or(|name| OF_RULES.contains(&name))
            {
                values.entry(name).or_insert(value);
            }
        }
        Self(values)
    }

    fn replace(&self, text: &str, room: &mut usize) -> Result<String, Error> {
        let mut replaced = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("$(") {
            let (before, from) = rest.split_at(at);
            replaced.push_str(before);
            let inner = from.get(2..).unwrap_or_default();
            // Two dollar signs are the sign itself.
            let is_escaped = before.ends_with('$');
            let found = inner.split_once(')').filter(|_| !is_escaped);
            let found = found.and_then(|(name, rest)| Some((self.0.get(name)?, rest)));
            if let Some((value, after)) = found {
                replaced.push_str(value);
                rest = after;
            } else {
                replaced.push_str("$(");
                rest = inner;
            }
            if replaced.len() > *room {
                return Err(too_long());
            }
        }
        replaced.push_str(rest);
        *room = room.checked_sub(replaced.len()).ok_or_else(too_long)?;
        Ok(replaced)
    }
}

fn too_long() -> Error {
    Error::new(
        ErrorKind::Manifest,
        "the variables of a container make each other longer than 4 MiB",
    )
    .with_remedy("let variables name each other less often")
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::support::{ALL, Sample};
    use super::*;

    fn env(sample: &Sample) -> Vec<String> {
        let made = sample.made();
        let env = made["OCI"]["Process"]["Env"].as_array().unwrap().iter();
        env.map(|variable| variable.as_str().unwrap().to_owned())
            .collect()
    }

    /// The value of a variable that is set to this.
    fn value_of(profile: Profile, metadata: &'static str, from: &str) -> Result<String, Error> {
        let sample = Sample::new(profile)
            .metadata(metadata)
            .container(&format!("env: [{{name: X, valueFrom: {from}}}]"));
        sample.data()?;
        let found = env(&sample).into_iter();
        let mut found = found.filter_map(|it| it.strip_prefix("X=").map(str::to_owned));
        Ok(found.next().unwrap_or_default())
    }

    #[test]
    fn variables_stand_in_genpolicys_order() {
        let sample = Sample::new(Profile::AksAzl3)
            .with("{kind: ConfigMap, metadata: {name: m}, data: {b: '2', a: '1'}}")
            .container("tty: true")
            .container("env: [{name: Z, value: z}, {name: EMPTY}, {name: Z, value: z}]")
            .container("envFrom: [{configMapRef: {name: m}}]");
        let expected = [
            "PATH=/bin",
            "TERM=xterm",
            "HOSTNAME=$(host-name)",
            "Z=z",
            "EMPTY=",
            "a=1",
            "b=2",
        ];
        assert_eq!(env(&sample), expected);
        let pause = sample.pause();
        assert_eq!(pause["OCI"]["Process"]["Env"], json!(["PATH=/bin"]));
        let mut bare = Sample::new(Profile::AksAzl3);
        bare.facts.config.env = None;
        assert_eq!(env(&bare)[0], DEFAULT_PATH);
    }

    #[test]
    fn entries_of_config_maps_and_secrets_become_values() {
        let sample = Sample::new(Profile::AksAzl3)
            .with("{kind: ConfigMap, metadata: {name: m}, data: {a: one}}")
            .with("{kind: Secret, metadata: {name: s}, data: {b: dHdv}, stringData: {c: three}}")
            .container("env: [{name: A, valueFrom: {configMapKeyRef: {name: m, key: a}}}, {name: B, valueFrom: {secretKeyRef: {name: s, key: b}}}]")
            .container("envFrom: [{secretRef: {name: s}, prefix: S_}]");
        assert_eq!(
            env(&sample)[2..],
            ["A=one", "B=two", "S_b=two", "S_c=three"]
        );
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_is_optional() {
        let missing = Sample::new(Profile::AksAzl3)
            .container("env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: b}}}]");
        let error = missing.refused();
        assert_eq!(error.kind(), ErrorKind::Manifest);
        assert!(error.remedy().contains("--config-file"));
        assert_eq!(error.path(), Some("spec.containers[0].env[0]"));
        let missing = Sample::new(Profile::AksAzl3).container("envFrom: [{secretRef: {name: s}}]");
        assert_eq!(
            missing.refused().path(),
            Some("spec.containers[0].envFrom[0]")
        );
        let optional = Sample::new(Profile::AksAzl3)
            .container(
                "env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: b, optional: true}}}]",
            )
            .container("envFrom: [{configMapRef: {name: m, optional: true}}]");
        assert_eq!(env(&optional).len(), 2);
    }

    #[test]
    fn fields_of_the_pod_become_what_rules_fill_in() {
        for profile in ALL {
            for (path, expected) in [
                ("metadata.name", "$(sandbox-name)"),
                ("metadata.namespace", "ns"),
                ("metadata.uid", "$(pod-uid)"),
                ("status.hostIP", "$(host-ip)"),
                ("status.podIP", "$(pod-ip)"),
                ("spec.nodeName", "$(node-name)"),
                ("spec.serviceAccountName", "default"),
                ("metadata.labels['a.b/c']", "label"),
                ("metadata.annotations['d']", "note"),
            ] {
                let metadata =
                    "{name: web, namespace: ns, labels: {a.b/c: label}, annotations: {d: note}}";
                let from = format!("{{fieldRef: {{fieldPath: \"{path}\"}}}}");
                assert_eq!(value_of(profile, metadata, &from).unwrap(), expected);
            }
        }
        let from = "{fieldRef: {fieldPath: metadata.namespace}}";
        for (profile, expected) in [
            (Profile::AksAzl3, "default"),
            (Profile::Aks3_15, "$(sandbox-namespace)"),
            (Profile::Kata, "$(sandbox-namespace)"),
        ] {
            assert_eq!(value_of(profile, "{name: a}", from).unwrap(), expected);
        }
        let sample = Sample::new(Profile::AksAzl3)
            .pod("serviceAccountName: robot")
            .container(
                "env: [{name: X, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}]",
            );
        assert_eq!(env(&sample)[2], "X=robot");
    }

    #[test]
    fn what_is_not_known_before_the_pod_runs_is_a_wildcard_or_needs_an_expression() {
        let absent = "{fieldRef: {fieldPath: \"metadata.annotations['x']\"}}";
        let resource = "{resourceFieldRef: {resource: limits.cpu}}";
        for profile in [Profile::AksAzl3, Profile::Kata] {
            let value = |from| value_of(profile, "{name: a}", from).unwrap();
            assert_eq!(value(absent), "$(todo-annotation)");
            assert_eq!(value(resource), "$(resource-field)");
        }
        for from in [absent, resource] {
            let error = value_of(Profile::Aks3_15, "{name: a}", from).unwrap_err();
            assert!(error.remedy().contains("allow_env_regex_map"));
        }
        for path in ["metadata.labels['x']", "status.phase", "metadata.labels"] {
            let from = format!("{{fieldRef: {{fieldPath: \"{path}\"}}}}");
            let error = value_of(Profile::AksAzl3, "{name: a}", &from).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{path}");
        }
    }

    #[test]
    fn names_are_replaced_until_nothing_changes() {
        let mut values: Vec<_> = [
            "A=a",
            "B=$(A)b",
            "C=$(B)c$(LOST)",
            "D=x=$(A)",
            "NODE=$(node-name)",
            "E=$(NODE)",
            "HOST=$(host-name)",
            "F=$(HOST)",
            "G=$(D)",
            "LOOP=$(LOOP)",
            "SIGN=$$(A)",
        ]
        .map(str::to_owned)
        .to_vec();
        substitute_variables(&mut values).unwrap();
        assert_eq!(
            values,
            [
                "A=a",
                "B=ab",
                "C=abc$(LOST)",
                // With two equals signs it cannot be told where the value begins.
                "D=x=a",
                "NODE=$(node-name)",
                "E=$(node-name)",
                "HOST=$(host-name)",
                "F=$(HOST)",
                "G=$(D)",
                "LOOP=$(LOOP)",
                "SIGN=$$(A)",
            ]
        );
    }

    #[test]
    fn variables_that_double_each_other_end() {
        let mut values = vec!["A0=xxxxxxxxxxxxxxxx".to_owned()];
        values.extend((1..60).map(|n| format!("A{n}=$(A{m})$(A{m})", m = n - 1)));
        let error = substitute_variables(&mut values).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Manifest);
    }

    #[test]
    fn many_variables_take_no_longer_than_they_are() {
        // Each compared with all others would be twenty thousand million comparisons.
        let mut budget = Budget::of_workload();
        let mut env = Variables::of(vec!["A0=".to_owned()], &mut budget).unwrap();
        for round in 0..2 {
            for number in 0..200_000 {
                env.add(&format!("A{number}"), "").unwrap();
            }
            assert_eq!(env.list.len(), 200_000, "{round}");
        }
        assert_eq!(env.list[..2], ["A0=", "A1="]);
        assert_eq!(env.list.last().unwrap(), "A199999=");
    }

    #[test]
    fn a_list_that_is_named_again_and_again_is_refused() {
        let text = "x".repeat(64 * 1024);
        let config = format!("{{kind: ConfigMap, metadata: {{name: m}}, data: {{a: {text}}}}}");
        let from = vec!["{configMapRef: {name: m}}"; 300].join(", ");
        let named = Sample::new(Profile::AksAzl3)
            .with(&config)
            .container(&format!("envFrom: [{from}]"));
        let error = named.refused();
        assert_eq!(error.kind(), ErrorKind::Manifest);
        assert!(error.message().contains("over 16 MiB"), "{error}");
    }
}
