//! How to reach an API server, as it is said on a command line.

use core::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kms_cluster::api::{ApiOptions, ApiTarget, KubeApi, Kubeconfig};
use kms_core::Clock;
use zeroize::Zeroizing;

use crate::Failure;

/// What stands for the service account of the pod that this runs in.
const IN_CLUSTER: &str = "in-cluster";

/// How to reach an API server.
#[derive(Default)]
#[non_exhaustive]
pub struct KubeAddress {
    /// The kubeconfig, or `in-cluster`.
    pub kubeconfig: PathBuf,
    /// The context, if not the current one.
    pub context: Option<String>,
    /// Whether a cluster may say that any certificate is taken.
    pub allows_insecure_tls: bool,
    /// An HTTP proxy, if the kubeconfig names none; may hold a password.
    proxy: Option<Zeroizing<String>>,
    /// What is reached without the proxy.
    no_proxy: String,
}

impl KubeAddress {
    /// The current context of a kubeconfig; `in-cluster` for a pod's own service account.
    #[must_use]
    pub fn new(kubeconfig: impl Into<PathBuf>) -> Self {
        Self {
            kubeconfig: kubeconfig.into(),
            ..Self::default()
        }
    }

    /// Sets the context.
    #[must_use]
    pub fn with_context(mut self, context: Option<String>) -> Self {
        self.context = context;
        self
    }

    /// Sets whether a cluster may say that any certificate is taken.
    #[must_use]
    pub const fn with_insecure_tls(mut self, allowed: bool) -> Self {
        self.allows_insecure_tls = allowed;
        self
    }

    /// Sets an HTTP proxy, and what is reached without it.
    #[must_use]
    pub fn with_proxy(mut self, url: Option<String>, except: Option<String>) -> Self {
        self.proxy = url.filter(|url| !url.is_empty()).map(Zeroizing::new);
        self.no_proxy = except.unwrap_or_default();
        self
    }

    /// A client. Sends nothing.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file and the field.
    pub fn connect(&self, clock: Arc<dyn Clock>) -> Result<KubeApi, Failure> {
        let mut options = ApiOptions::default()
            .with_clock(clock)
            .with_insecure_tls(self.allows_insecure_tls)
            // A person may have to log in.
            .with_exec_messages(true);
        if let Some(proxy) = &self.proxy {
            options = options.with_proxy(proxy, &self.no_proxy);
        }
        Ok(KubeApi::new(self.target()?, options)?)
    }

    fn target(&self) -> Result<ApiTarget, Failure> {
        if self.kubeconfig != Path::new(IN_CLUSTER) {
            let at = |error: kms_core::Error| {
                Failure::from(error).at(self.kubeconfig.display().to_string())
            };
            return Kubeconfig::read(&self.kubeconfig)
                .and_then(|config| config.target(self.context.as_deref()))
                .map_err(at);
        }
        if self.context.is_some() {
            return Err(Failure::usage(
                "a service account has no contexts",
                "leave --context away, or give a kubeconfig",
            ));
        }
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| {
                Failure::usage(
                    format!("{name} is not set: this does not run in a pod"),
                    "give a kubeconfig",
                )
            })
        };
        let host = variable("KUBERNETES_SERVICE_HOST")?;
        let port = variable("KUBERNETES_SERVICE_PORT")?;
        Ok(ApiTarget::in_cluster(&host, &port)?)
    }
}

/// Without the proxy, which may hold a password.
impl fmt::Debug for KubeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeAddress")
            .field("kubeconfig", &self.kubeconfig)
            .field("context", &self.context)
            .field("allows_insecure_tls", &self.allows_insecure_tls)
            .finish_non_exhaustive()
    }
}
