//! How to reach an API server.

use std::path::PathBuf;

use clap::Args;
use kms::cluster::KubeAddress;

/// How to reach an API server.
#[derive(Args)]
pub(crate) struct Kube {
    /// Go through the Kubernetes API instead of etcd, as for AKS: a kubeconfig, or `in-cluster` for
    /// the service account of the pod that this runs in. Needs the verbs `list` and `patch`.
    #[arg(
        long,
        value_name = "KUBECONFIG",
        conflicts_with_all = ["kek", "to", "renew", "workers_shared", "on_key_change",
            "kms_v2_source_type", "etcd_prefix"]
    )]
    pub(crate) kube: Option<PathBuf>,
    /// The context of the kubeconfig, if not the current one.
    #[arg(long, value_name = "CONTEXT", requires = "kube")]
    context: Option<String>,
    /// The KMS v1 provider that is written with has another name than the data was written under.
    /// If only its key changed, the API rewrites nothing.
    #[arg(long, requires = "kube")]
    pub(crate) new_kms_v1_name: bool,
    /// Take any certificate of a cluster whose entry says `insecure-skip-tls-verify`. Whoever is in
    /// between can then act with your token.
    #[arg(long, requires = "kube", hide_short_help = true)]
    kube_insecure_skip_tls_verify: bool,
    /// An HTTP proxy to the API server, if the kubeconfig names none.
    #[arg(
        long,
        value_name = "URL",
        env = "HTTPS_PROXY",
        hide_env_values = true,
        hide_short_help = true
    )]
    kube_proxy: Option<String>,
    /// What is reached without the proxy: hosts, domains and networks, separated by commas.
    #[arg(long, value_name = "LIST", env = "NO_PROXY", hide_short_help = true)]
    kube_no_proxy: Option<String>,
}

impl Kube {
    pub(crate) fn address(&self) -> Option<KubeAddress> {
        let address = KubeAddress::new(self.kube.clone()?)
            .with_context(self.context.clone())
            .with_insecure_tls(self.kube_insecure_skip_tls_verify)
            .with_proxy(self.kube_proxy.clone(), self.kube_no_proxy.clone());
        Some(address)
    }
}

/// Without the proxy, which may hold a password.
impl core::fmt::Debug for Kube {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kube")
            .field("kube", &self.kube)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
