//! Plugins that log in: programs that print a token or a certificate.

mod protocol;
mod run;

use core::fmt;
use std::path::PathBuf;

use kms_core::{Error, ErrorKind};
use zeroize::Zeroizing;

pub(super) use self::protocol::cluster_info;
pub(super) use self::run::{RunOptions, run};

/// The longest advice of a kubeconfig that is passed on, in bytes.
const MAX_HINT_LEN: usize = 1024;

/// A program that prints a token or a client certificate: `client.authentication.k8s.io`, as
/// `kubelogin` for AKS, `aws` and `gke-gcloud-auth-plugin` speak it.
///
/// It is run without a shell, with this program's environment, with nothing on its standard input
/// and told so in `KUBERNETES_EXEC_INFO`. What it prints is bounded, and so is the time that it
/// may take ([`ApiOptions::exec_timeout`](super::ApiOptions::exec_timeout)); it is killed after that,
/// and when the call that waits for it is dropped. What it says on standard error is thrown away,
/// unless [`ApiOptions`](super::ApiOptions) let a person see it; it never becomes part of an error.
///
/// A bare name is looked for in the absolute folders of `PATH`.
///
/// What it gives is kept until shortly before it expires, or until the server refuses it; then it is
/// run again, once for all who wait.
pub struct ExecPlugin {
    command: PathBuf,
    version: ExecVersion,
    /// May hold a client secret.
    arguments: Vec<Zeroizing<String>>,
    environment: Vec<(String, Zeroizing<String>)>,
    install_hint: Option<String>,
    /// Whether it is told of the cluster, and what the cluster has for it.
    cluster_info: Option<Option<serde_json::Value>>,
}

/// The version of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExecVersion {
    /// `client.authentication.k8s.io/v1beta1`, which `kubelogin` still writes.
    V1Beta1,
    /// `client.authentication.k8s.io/v1`.
    V1,
}

impl ExecVersion {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1Beta1 => "client.authentication.k8s.io/v1beta1",
            Self::V1 => "client.authentication.k8s.io/v1",
        }
    }
}

impl ExecPlugin {
    /// A plugin without arguments.
    #[must_use]
    pub fn new(command: impl Into<PathBuf>, version: ExecVersion) -> Self {
        Self {
            command: command.into(),
            version,
            arguments: Vec::new(),
            environment: Vec::new(),
            install_hint: None,
            cluster_info: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn with_argument(mut self, argument: &str) -> Self {
        self.arguments.push(Zeroizing::new(argument.to_owned()));
        self
    }

    /// Sets a variable of its environment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it cannot be the name of a variable.
    pub fn with_variable(mut self, name: &str, value: &str) -> Result<Self, Error> {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "what cannot be a variable of an environment",
            ));
        }
        let value = Zeroizing::new(value.to_owned());
        self.environment.push((name.to_owned(), value));
        Ok(self)
    }

    /// Sets what to tell whoever does not have it.
    #[must_use]
    pub fn with_install_hint(mut self, hint: &str) -> Self {
        let mut text = String::new();
        for letter in hint.trim().chars() {
            if text.len().saturating_add(letter.len_utf8()) > MAX_HINT_LEN {
                break;
            }
            text.push(if letter.is_control() { ' ' } else { letter });
        }
        self.install_hint = Some(text);
        self
    }

    /// Tells it which cluster it is about, and `config`, what the cluster's entry has for it.
    #[must_use]
    pub fn with_cluster_info(mut self, config: Option<serde_json::Value>) -> Self {
        self.cluster_info = Some(config);
        self
    }

    /// Its name, for errors.
    fn name(&self) -> String {
        self.command.display().to_string()
    }
}

/// Without arguments and environment, which may hold secrets.
impl fmt::Debug for ExecPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecPlugin")
            .field("command", &self.command)
            .field("version", &self.version)
            .field("arguments", &self.arguments.len())
            .field("variables", &self.environment.len())
            .finish_non_exhaustive()
    }
}
