//! Texts that stand for others, as the rules fill them in.

use regex::RegexBuilder;
use serde_json::{Map, Value};

/// The longest text that is shown whole, in letters.
const MAX_SHOWN: usize = 160;
/// The largest expression that is made ready, in bytes: the limit of the agent's engine, twenty fold.
const MAX_EXPRESSION: usize = 2 * 1024 * 1024;

const DNS_NAME: &str = "[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?";
const IPV4: &str = "(?:[0-9]{1,3}\\.){3}[0-9]{1,3}";
const UUID: &str = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";

pub(super) fn shorten(text: String) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A value of JSON for a person: texts in quotes, nothing as `nothing`.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut builder = RegexBuilder::new(pattern);
    let built = builder.size_limit(MAX_EXPRESSION).build();
    built.is_ok_and(|expression| expression.is_match(text))
}

/// What the templates of a request stand for.
#[derive(Debug, Default)]
pub(super) struct Filler<'a> {
    common: Option<&'a Map<String, Value>>,
    /// The bundle, once the root file system told it.
    pub(super) bundle: String,
    pub(super) sandbox: String,
    pub(super) name: String,
    pub(super) namespace: String,
}

impl<'a> Filler<'a> {
    pub(super) fn new(common: &'a Map<String, Value>) -> Self {
        Self {
            common: Some(common),
            ..Self::default()
        }
    }

    /// What the settings name.
    pub(super) fn of_settings(&self, template: &str) -> String {
        let names = [
            "root_path",
            "sfprefix",
            "cpath",
            "spath",
            "svc_name_downward_env",
            "svc_name",
            "ip_p",
            "ipv4_a",
            "dns_label",
        ];
        names.into_iter().fold(template.to_owned(), |text, name| {
            let value = self.common.and_then(|common| common.get(name)?.as_str());
            match value {
                Some(value) => text.replace(&format!("$({name})"), value),
                None => text,
            }
        })
    }

    /// All of it, as a regular expression.
    pub(super) fn pattern(&self, template: &str) -> String {
        self.of_settings(template)
            .replace("$(bundle-id)", &self.bundle)
            .replace("$(sandbox-id)", &self.sandbox)
            .replace("$(sandbox-name)", &regex::escape(&self.name))
            .replace("$(sandbox-namespace)", &self.namespace)
    }

    /// Whether a text is what a template of words or variables says.
    pub(super) fn fits(&self, template: &str, text: &str) -> bool {
        if template == text || template.replace("$$", "$") == text {
            return true;
        }
        if !template.contains("$(") {
            return false;
        }
        let name = if self.name.is_empty() {
            DNS_NAME.to_owned()
        } else {
            regex::escape(&self.name)
        };
        let escaped = regex::escape(&template.replace("$$", "$"));
        let classes = [
            ("sandbox-name", &*name),
            ("sandbox-namespace", &self.namespace),
            ("pod-ip", IPV4),
            ("host-ip", IPV4),
            ("host-name", DNS_NAME),
            ("node-name", DNS_NAME),
            ("pod-uid", UUID),
            ("resource-field", "[0-9]+"),
            ("todo-annotation", ".*"),
            ("validate-from-settings", ".*"),
        ];
        let pattern = classes.into_iter().fold(escaped, |pattern, (name, class)| {
            pattern.replace(&regex::escape(&format!("$({name})")), class)
        });
        matches(&format!("^(?:{pattern})$"), text)
    }
}
