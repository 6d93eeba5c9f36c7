//! The file as it is written.
//!
//! Fields that are not known are passed over, as `kubectl` does; those that are known and not
//! supported are here, so that they can be refused and not be passed over.

use std::collections::BTreeMap;

use kms_core::{Error, ErrorKind};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::api::secret_text::SecretText;

/// The longest file, in bytes. One with a hundred clusters and inline certificates has half as
/// many.
pub(super) const MAX_LEN: usize = 1 << 20;
const MAX_NODES: usize = 50_000;
const MAX_DEPTH: usize = 32;
/// An alias in a kubeconfig is a rarity.
const MAX_ALIASES: usize = 100;

#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(default, rename = "apiVersion")]
    pub(super) api_version: Option<String>,
    #[serde(default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) clusters: Option<Vec<NamedCluster>>,
    #[serde(default)]
    pub(super) users: Option<Vec<NamedUser>>,
    #[serde(default)]
    pub(super) contexts: Option<Vec<NamedContext>>,
    #[serde(default, rename = "current-context")]
    pub(super) current_context: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct NamedCluster {
    pub(super) name: String,
    #[serde(default)]
    pub(super) cluster: Option<Cluster>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Cluster {
    #[serde(default)]
    pub(super) server: Option<String>,
    #[serde(default)]
    pub(super) tls_server_name: Option<String>,
    #[serde(default)]
    pub(super) insecure_skip_tls_verify: Option<bool>,
    #[serde(default)]
    pub(super) certificate_authority: Option<String>,
    #[serde(default)]
    pub(super) certificate_authority_data: Option<String>,
    #[serde(default)]
    pub(super) proxy_url: Option<SecretText>,
    #[serde(default)]
    pub(super) extensions: Option<Vec<Extension>>,
}

#[derive(Deserialize)]
pub(super) struct Extension {
    pub(super) name: String,
    #[serde(default)]
    pub(super) extension: Option<serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct NamedUser {
    pub(super) name: String,
    #[serde(default)]
    pub(super) user: Option<User>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct User {
    #[serde(default)]
    pub(super) client_certificate: Option<String>,
    #[serde(default)]
    pub(super) client_certificate_data: Option<String>,
    #[serde(default)]
    pub(super) client_key: Option<String>,
    #[serde(default)]
    pub(super) client_key_data: Option<SecretText>,
    #[serde(default)]
    pub(super) token: Option<SecretText>,
    #[serde(default, rename = "tokenFile")]
    pub(super) token_file: Option<String>,
    #[serde(default, rename = "as")]
    pub(super) impersonated_user: Option<String>,
    #[serde(default, rename = "as-uid")]
    pub(super) impersonated_uid: Option<String>,
    #[serde(default, rename = "as-groups")]
    pub(super) impersonated_groups: Option<Vec<String>>,
    #[serde(default, rename = "as-user-extra")]
    pub(super) impersonated_extra: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(default)]
    pub(super) username: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) password: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) auth_provider: Option<AuthProvider>,
    #[serde(default)]
    pub(super) exec: Option<Exec>,
}

#[derive(Deserialize)]
pub(super) struct AuthProvider {
    #[serde(default)]
    pub(super) name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Exec {
    #[serde(default)]
    pub(super) api_version: Option<String>,
    #[serde(default)]
    pub(super) command: Option<String>,
    /// May hold a client secret.
    #[serde(default)]
    pub(super) args: Option<Vec<SecretText>>,
    #[serde(default)]
    pub(super) env: Option<Vec<ExecVariable>>,
    #[serde(default)]
    pub(super) install_hint: Option<String>,
    #[serde(default)]
    pub(super) provide_cluster_info: Option<bool>,
    #[serde(default)]
    pub(super) interactive_mode: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ExecVariable {
    pub(super) name: String,
    pub(super) value: SecretText,
}

#[derive(Deserialize)]
pub(super) struct NamedContext {
    pub(super) name: String,
    #[serde(default)]
    pub(super) context: Option<Context>,
}

#[derive(Default, Deserialize)]
pub(super) struct Context {
    #[serde(default)]
    pub(super) cluster: Option<String>,
    #[serde(default)]
    pub(super) user: Option<String>,
}

impl Document {
    /// Reads the only document in `text`.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LEN {
            return Err(fault("is over 1048576 bytes"));
        }
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_events: MAX_NODES.saturating_mul(3),
                max_aliases: MAX_ALIASES,
                max_anchors: MAX_ALIASES,
                max_recorded_anchor_events: MAX_NODES,
                max_depth: MAX_DEPTH,
                max_documents: 2,
                max_nodes: MAX_NODES,
                max_merge_keys: MAX_ALIASES,
                // Counts what aliases repeat, too.
                max_total_scalar_bytes: MAX_LEN.saturating_mul(2),
            },
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: MAX_NODES,
                max_replay_stack_depth: MAX_DEPTH,
            },
            duplicate_keys: DuplicateKeyPolicy::Error,
            // A number or a boolean where a string belongs is refused, as `kubectl` refuses it.
            no_schema: true,
            with_snippet: false,
            emit_comments: false,
        };
        let document: Option<Self> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| syntax_error(&error))?;
        document.ok_or_else(|| fault("is empty"))
    }
}

/// The parser's own words may repeat the input, and with it a secret, so the line alone is given.
fn syntax_error(error: &serde_saphyr::Error) -> Error {
    let mut cause = error.without_snippet();
    while let serde_saphyr::Error::AliasError { error, .. } = cause {
        cause = error;
    }
    let what = match cause {
        serde_saphyr::Error::MultipleDocuments { .. } => "holds more than one YAML document",
        serde_saphyr::Error::Budget { .. }
        | serde_saphyr::Error::AliasReplayLimitExceeded { .. }
        | serde_saphyr::Error::AliasReplayStackDepthExceeded { .. }
        | serde_saphyr::Error::AliasExpansionLimitExceeded { .. } => {
            "is larger or more deeply nested than any kubeconfig"
        }
        serde_saphyr::Error::DuplicateMappingKey { .. } => "gives a field twice",
        serde_saphyr::Error::Eof { .. } => "is empty or ends too early",
        _ => "is not the YAML of a kubeconfig",
    };
    match error.location() {
        Some(location) => fault(&format!("{what} (line {})", location.line())),
        None => fault(what),
    }
}

/// `what` is wrong with the file as a whole.
pub(super) fn fault(what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the kubeconfig {what}"))
}
