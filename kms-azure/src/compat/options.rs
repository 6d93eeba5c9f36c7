//! How upstream's data is dealt with.

use core::time::Duration;

use kms_core::{Error, ErrorKind};

use crate::key_url::KeyVersion;
use crate::provider::Operations;

/// More versions than this are not tried for one value.
const MAX_V1_VERSIONS: usize = 8;

/// How an [`UpstreamProvider`](super::UpstreamProvider) behaves. By default it reads data of KMS v2
/// and writes in this crate's own form.
#[derive(Clone, Debug, Default)]
pub struct UpstreamOptions {
    pub(super) v1_versions: Vec<KeyVersion>,
    pub(super) operations: Operations,
    pub(super) writes: bool,
    pub(super) budget: Option<Duration>,
}

impl UpstreamOptions {
    /// Opens data of KMS v1 with this version; given several times, with the first of them that
    /// opens it. At most 8.
    ///
    /// Such data does not say its key. Upstream has one version for all data, in its flag
    /// `--key-version`: give that one. The padding of RSA1_5 is no proof of the key (a wrong one
    /// passes once in 65,536 times, or as often as a DEK's length agrees by chance, depending on
    /// the service), so do not give versions on suspicion. What comes out is a DEK of 32 bytes,
    /// the only ones that kube-apiserver makes, or nothing; and it opens no object if it is wrong.
    #[must_use]
    pub fn with_v1_version(mut self, version: KeyVersion) -> Self {
        self.v1_versions.push(version);
        self
    }

    /// Which operations of the service open data of KMS v1; for v2 those of the provider count.
    #[must_use]
    pub const fn with_operations(mut self, operations: Operations) -> Self {
        self.operations = operations;
        self
    }

    /// Writes as Azure/kubernetes-kms does, so that it can read all of it and take over again.
    ///
    /// It refuses any key version but the one it is configured with; so go back before the next
    /// rotation. `kms serve --status-version v2beta1` says what it says: a running kube-apiserver
    /// does not take another version.
    #[must_use]
    pub const fn writing(mut self) -> Self {
        self.writes = true;
        self
    }

    /// The time for opening one value of KMS v1, retries included, and for listing versions, if the
    /// caller gives no deadline. 10 s.
    #[must_use]
    pub const fn with_budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    pub(super) fn budget(&self) -> Duration {
        self.budget.unwrap_or(Duration::from_secs(10))
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let fault = if self.v1_versions.len() > MAX_V1_VERSIONS {
            "over 8 versions for data of KMS v1"
        } else if self.budget().is_zero() {
            "the budget is zero"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidInput, fault))
    }
}
