//! The file in which `kubectl` keeps how to reach clusters.

mod document;
mod select;
#[cfg(test)]
mod tests;

use core::fmt;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kms_core::Error;

use self::document::{Cluster, Context, Document, User, fault};
use super::{ApiTarget, file};

/// A kubeconfig: clusters, users, and contexts that join one with another.
///
/// It is read as `kubectl` reads it, from one file: unknown fields are passed over, a name that is
/// there twice is refused, paths are relative to the file's folder. Unlike `kubectl`, two YAML
/// documents in one file are refused, and so are more than 1 MiB.
///
/// What a user says of its login is not checked before a context with this user is chosen:
///
/// | field | |
/// |---|---|
/// | `token`, `tokenFile` | sent; a file is read again every minute and when the server refuses |
/// | `client-certificate`, `client-key`, and `-data` | shown in the TLS handshake |
/// | `exec` | run, as [`ExecPlugin`](super::ExecPlugin) says |
/// | `as`, `as-uid`, `as-groups` | sent |
/// | `as-user-extra`, `auth-provider`, `username`, `password` | refused |
///
/// And a cluster:
///
/// | field | |
/// |---|---|
/// | `server` | `https://` alone; may have a path |
/// | `certificate-authority`, and `-data` | trusted alone; without one, what this machine trusts |
/// | `tls-server-name` | asked of the certificate and sent as SNI |
/// | `proxy-url` | used if it is `http://` or `https://`, else refused |
/// | `insecure-skip-tls-verify` | refused, unless [`ApiOptions`](super::ApiOptions) allow it |
///
/// ```
/// use kms_cluster::api::Kubeconfig;
///
/// let kubeconfig = Kubeconfig::parse(
///     "
/// apiVersion: v1
/// kind: Config
/// current-context: demo
/// clusters:
///   - name: demo
///     cluster: {server: 'https://demo.example:6443'}
/// users:
///   - name: admin
///     user: {tokenFile: token}
/// contexts:
///   - name: demo
///     context: {cluster: demo, user: admin}
/// ",
///     "/home/admin/.kube",
/// )?;
/// let target = kubeconfig.target(None)?;
/// assert_eq!(target.to_string(), "https://demo.example:6443");
/// assert!(kubeconfig.target(Some("other")).is_err());
/// # Ok::<(), kms_core::Error>(())
/// ```
pub struct Kubeconfig {
    clusters: Vec<(String, Cluster)>,
    users: Vec<(String, User)>,
    contexts: Vec<(String, Context)>,
    current_context: Option<String>,
    folder: PathBuf,
}

impl Kubeconfig {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](kms_core::ErrorKind::Io) if it cannot be read, and as
    /// [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = file::read(path, document::MAX_LEN, "the kubeconfig")?;
        let text = core::str::from_utf8(&bytes).map_err(|_| fault("is not UTF-8"))?;
        // Relative to a folder that does not change if the program's own does.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self::parse(text, path.parent().unwrap_or_else(|| Path::new("/")))
    }

    /// Reads a text, whose relative paths are relative to `folder`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](kms_core::ErrorKind::InvalidInput), with the line where it is
    /// known. Nothing of the text is repeated but names of clusters, users and contexts.
    pub fn parse(text: &str, folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let document = Document::parse(text)?;
        match (document.api_version.as_deref(), document.kind.as_deref()) {
            // `kubectl` takes both for granted.
            (None | Some("v1"), None | Some("Config")) => {}
            _ => return Err(fault("is not of `apiVersion: v1` and `kind: Config`")),
        }
        Ok(Self {
            clusters: named("clusters", document.clusters.unwrap_or_default(), |entry| {
                (entry.name, entry.cluster.unwrap_or_default())
            })?,
            users: named("users", document.users.unwrap_or_default(), |entry| {
                (entry.name, entry.user.unwrap_or_default())
            })?,
            contexts: named("contexts", document.contexts.unwrap_or_default(), |entry| {
                (entry.name, entry.context.unwrap_or_default())
            })?,
            current_context: document.current_context.filter(|name| !name.is_empty()),
            folder: folder.into(),
        })
    }

    /// The names of its contexts, in order.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().map(|(name, _)| name.as_str())
    }

    /// What a context leads to; the current one if none is named. Reads certificates and keys from
    /// their files.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](kms_core::ErrorKind::InvalidInput) if there is no such context,
    /// or a field of its cluster or user is wrong;
    /// [`ErrorKind::Unsupported`](kms_core::ErrorKind::Unsupported) for a way to log in that is
    /// refused; [`ErrorKind::Io`](kms_core::ErrorKind::Io) for a file that cannot be read. The
    /// message names the field.
    pub fn target(&self, context: Option<&str>) -> Result<ApiTarget, Error> {
        select::target(self, context)
    }
}

/// Entries by name, which must not be there twice.
fn named<E, T>(
    list: &str,
    entries: Vec<E>,
    split: impl Fn(E) -> (String, T),
) -> Result<Vec<(String, T)>, Error> {
    let entries: Vec<(String, T)> = entries.into_iter().map(split).collect();
    let mut seen = BTreeSet::new();
    for (name, _) in &entries {
        if !seen.insert(name.as_str()) {
            return Err(fault(&format!("has {} twice in `{list}`", shown(name))));
        }
    }
    Ok(entries)
}

/// A name from the file as it may stand in a message: escaped, and cut if it is long.
fn shown(name: &str) -> String {
    const MOST: usize = 120;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}...", name.get(..end).unwrap_or_default()),
        None => format!("{name:?}"),
    }
}

/// Names alone: the rest may be secret.
impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubeconfig")
            .field("contexts", &self.contexts().collect::<Vec<_>>())
            .field("current_context", &self.current_context)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}
