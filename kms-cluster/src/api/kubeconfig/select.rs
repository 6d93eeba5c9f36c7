//! From a context to what it leads to.

use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_core::{Error, ErrorKind, SecretBytes};
use zeroize::Zeroizing;

use super::document::{Cluster, Exec, User};
use super::{Kubeconfig, shown};
use crate::api::exec::{ExecPlugin, ExecVersion};
use crate::api::file::{self, MAX_CREDENTIAL_LEN};
use crate::api::secret_text::SecretText;
use crate::api::target::{ApiTarget, Impersonation};

/// A bundle of certificate authorities may be that of a whole company.
const MAX_AUTHORITY_LEN: usize = 1 << 20;
/// The extension whose content a plugin is told.
const EXEC_EXTENSION: &str = "client.authentication.k8s.io/exec";

pub(super) fn target(config: &Kubeconfig, context: Option<&str>) -> Result<ApiTarget, Error> {
    let name = context
        .or(config.current_context.as_deref())
        .ok_or_else(|| {
            invalid("the kubeconfig has no current context".to_owned()).with_remedy(remedy(config))
        })?;
    let context = find(&config.contexts, name).ok_or_else(|| {
        invalid(format!("the kubeconfig has no context {}", shown(name)))
            .with_remedy(remedy(config))
    })?;
    let at = format!("contexts[{}].context", shown(name));
    let cluster_name =
        text(&context.cluster).ok_or_else(|| invalid(format!("{at}.cluster is missing")))?;
    let cluster = find(&config.clusters, cluster_name).ok_or_else(|| {
        invalid(format!(
            "{at}.cluster: the kubeconfig has no cluster {}",
            shown(cluster_name)
        ))
    })?;
    let mut target = with_cluster(cluster, cluster_name, &config.folder)?;
    if let Some(user_name) = text(&context.user) {
        let user = find(&config.users, user_name).ok_or_else(|| {
            invalid(format!(
                "{at}.user: the kubeconfig has no user {}",
                shown(user_name)
            ))
        })?;
        let reader = Reader {
            at: format!("users[{}].user", shown(user_name)),
            folder: &config.folder,
        };
        target = with_user(target, user, cluster, &reader)?;
    }
    Ok(target)
}

fn remedy(config: &Kubeconfig) -> String {
    const MOST: usize = 20;
    let mut names: Vec<_> = config.contexts().take(MOST).map(shown).collect();
    if config.contexts.len() > MOST {
        names.push("...".to_owned());
    }
    format!("choose one of its contexts: {}", names.join(", "))
}

fn with_cluster(cluster: &Cluster, name: &str, folder: &Path) -> Result<ApiTarget, Error> {
    let reader = Reader {
        at: format!("clusters[{}].cluster", shown(name)),
        folder,
    };
    let server = text(&cluster.server).ok_or_else(|| reader.fault("server", "is missing"))?;
    let mut target = ApiTarget::new(server).map_err(|error| reader.located("server", &error))?;
    let authority = reader.either(
        "certificate-authority",
        text(&cluster.certificate_authority),
        text(&cluster.certificate_authority_data),
        MAX_AUTHORITY_LEN,
    )?;
    if let Some(pem) = authority {
        target = target
            .with_authority_pem(&pem)
            .map_err(|error| reader.located("certificate-authority", &error))?;
    }
    if let Some(name) = text(&cluster.tls_server_name) {
        target = target
            .with_tls_server_name(name)
            .map_err(|error| reader.located("tls-server-name", &error))?;
    }
    if let Some(url) = SecretText::of(cluster.proxy_url.as_ref()) {
        target = target
            .with_proxy(url)
            .map_err(|error| reader.located("proxy-url", &error))?;
    }
    if cluster.insecure_skip_tls_verify == Some(true) {
        target = target.without_tls_verification();
    }
    Ok(target)
}

fn with_user(
    mut target: ApiTarget,
    user: &User,
    cluster: &Cluster,
    reader: &Reader<'_>,
) -> Result<ApiTarget, Error> {
    refuse_unsupported(user, reader)?;
    let certificate = reader.either(
        "client-certificate",
        text(&user.client_certificate),
        text(&user.client_certificate_data),
        MAX_CREDENTIAL_LEN,
    )?;
    let key = reader.either(
        "client-key",
        text(&user.client_key),
        SecretText::of(user.client_key_data.as_ref()),
        MAX_CREDENTIAL_LEN,
    )?;
    target = match (certificate, key) {
        (Some(certificate), Some(key)) => target
            .with_client_certificate(&certificate, SecretBytes::copy_from_slice(&key))
            .map_err(|error| reader.located("client-certificate", &error))?,
        (None, None) => target,
        (Some(_), None) => return Err(reader.fault("client-key", "is missing")),
        (None, Some(_)) => return Err(reader.fault("client-certificate", "is missing")),
    };
    let token = SecretText::of(user.token.as_ref());
    let token_file = text(&user.token_file);
    match (&user.exec, token, token_file) {
        (Some(_), Some(_), _) => {
            return Err(reader.fault("exec", "and a token exclude each other"));
        }
        (Some(_), _, Some(_)) => {
            return Err(reader.fault("exec", "and a tokenFile exclude each other"));
        }
        (Some(exec), None, None) => {
            target = target.with_exec(plugin(exec, cluster, reader)?);
        }
        // The file is what is kept up to date, so it wins, as with `kubectl`.
        (None, _, Some(path)) => target = target.with_token_file(reader.path(path)),
        (None, Some(token), None) => {
            target = target
                .with_token(SecretBytes::copy_from_slice(token.as_bytes()))
                .map_err(|error| reader.located("token", &error))?;
        }
        (None, None, None) => {}
    }
    match (text(&user.impersonated_user), text(&user.impersonated_uid)) {
        (Some(name), uid) => target
            .with_impersonation(Impersonation {
                user: name.to_owned(),
                uid: uid.map(str::to_owned),
                groups: user.impersonated_groups.clone().unwrap_or_default(),
            })
            .map_err(|error| reader.located("as", &error)),
        (None, Some(_)) => Err(reader.fault("as-uid", "needs `as`")),
        (None, None)
            if user
                .impersonated_groups
                .as_ref()
                .is_some_and(|g| !g.is_empty()) =>
        {
            Err(reader.fault("as-groups", "needs `as`"))
        }
        (None, None) => Ok(target),
    }
}

fn refuse_unsupported(user: &User, reader: &Reader<'_>) -> Result<(), Error> {
    if let Some(provider) = &user.auth_provider {
        let name = provider.name.as_deref().unwrap_or_default();
        return Err(reader
            .unsupported("auth-provider", &format!("{} is not supported", shown(name)))
            .with_remedy(
                "use an exec plugin, to which kubectl moved in 1.26: for AKS, `kubelogin convert-kubeconfig`",
            ));
    }
    if user.username.is_some() || user.password.is_some() {
        return Err(reader
            .unsupported("username", "and `password` are not supported")
            .with_remedy(
                "use a token or a client certificate: Kubernetes 1.19 dropped passwords",
            ));
    }
    if user
        .impersonated_extra
        .as_ref()
        .is_some_and(|extra| !extra.is_empty())
    {
        return Err(reader
            .unsupported("as-user-extra", "is not supported")
            .with_remedy("use a user that needs no impersonation"));
    }
    Ok(())
}

fn plugin(exec: &Exec, cluster: &Cluster, reader: &Reader<'_>) -> Result<ExecPlugin, Error> {
    let version = match text(&exec.api_version) {
        Some("client.authentication.k8s.io/v1") => ExecVersion::V1,
        Some("client.authentication.k8s.io/v1beta1") => ExecVersion::V1Beta1,
        _ => {
            return Err(reader
                .unsupported(
                    "exec.apiVersion",
                    "is not `client.authentication.k8s.io/v1` or `.../v1beta1`",
                )
                .with_remedy("update the plugin, and let it write the kubeconfig again"));
        }
    };
    match (text(&exec.interactive_mode), version) {
        (Some("Never" | "IfAvailable"), _) | (None, ExecVersion::V1Beta1) => {}
        (Some("Always"), _) => {
            return Err(reader
                .unsupported("exec.interactiveMode", "is `Always`, and nobody is asked here")
                .with_remedy(
                    "log in in a way that asks nobody; for AKS, `az login`, then `kubelogin convert-kubeconfig -l azurecli`",
                ));
        }
        (None, ExecVersion::V1) => {
            return Err(reader.fault("exec.interactiveMode", "is missing"));
        }
        (Some(_), _) => {
            return Err(reader.fault(
                "exec.interactiveMode",
                "is not `Never`, `IfAvailable` or `Always`",
            ));
        }
    }
    let command = text(&exec.command).ok_or_else(|| reader.fault("exec.command", "is missing"))?;
    // A path is relative to the file; a bare name is looked for in PATH.
    let command = if command.contains('/') {
        reader.path(command)
    } else {
        PathBuf::from(command)
    };
    let mut plugin = ExecPlugin::new(command, version);
    for argument in exec.args.iter().flatten() {
        plugin = plugin.with_argument(&argument.0);
    }
    for variable in exec.env.iter().flatten() {
        plugin = plugin
            .with_variable(&variable.name, &variable.value.0)
            .map_err(|error| reader.located("exec.env", &error))?;
    }
    if let Some(hint) = text(&exec.install_hint) {
        plugin = plugin.with_install_hint(hint);
    }
    if exec.provide_cluster_info == Some(true) {
        let extension = cluster
            .extensions
            .iter()
            .flatten()
            .find(|extension| extension.name == EXEC_EXTENSION);
        plugin =
            plugin.with_cluster_info(extension.and_then(|extension| extension.extension.clone()));
    }
    Ok(plugin)
}

/// Where in the file we are, and what its paths are relative to.
struct Reader<'a> {
    at: String,
    folder: &'a Path,
}

impl Reader<'_> {
    fn fault(&self, field: &str, what: &str) -> Error {
        invalid(format!("{}.{field} {what}", self.at))
    }

    fn unsupported(&self, field: &str, what: &str) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!("{}.{field} {what}", self.at),
        )
    }

    fn located(&self, field: &str, error: &Error) -> Error {
        let message = format!("{}.{field}: {}", self.at, error.message());
        Error::new(error.kind(), message).with_remedy(error.remedy())
    }

    fn path(&self, path: &str) -> PathBuf {
        // Without `.`, so that what errors name is what a person would write.
        self.folder
            .join(path)
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect()
    }

    /// What a field gives as a file, or with `-data` in base64.
    fn either(
        &self,
        field: &str,
        path: Option<&str>,
        data: Option<&str>,
        most: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let data = data.filter(|data| !data.is_empty());
        match (path, data) {
            (Some(_), Some(_)) => {
                Err(self.fault(field, &format!("and {field}-data exclude each other")))
            }
            (Some(path), None) => {
                let what = format!("{}.{field}: the file", self.at);
                file::read(&self.path(path), most, &what).map(Some)
            }
            (None, Some(data)) => self.decode(field, data).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn decode(&self, field: &str, data: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let fault = || self.fault(&format!("{field}-data"), "is not base64");
        // As much room as it will take, so that no part is left behind when it grows.
        let mut text = Zeroizing::new(Vec::with_capacity(data.len()));
        text.extend(data.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        let mut bytes = Zeroizing::new(vec![0; text.len()]);
        let length = STANDARD
            .decode_slice(&*text, &mut bytes)
            .map_err(|_| fault())?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn find<'a, T>(entries: &'a [(String, T)], name: &str) -> Option<&'a T> {
    entries
        .iter()
        .find(|(found, _)| found == name)
        .map(|(_, entry)| entry)
}

/// Text that is there: an empty one is none, as in Go.
fn text(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}
