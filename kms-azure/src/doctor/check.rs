//! What is checked, and how a check ends.

use core::fmt;

use serde::Serialize;

/// One thing that is checked. Listed in the order of checking.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckId {
    /// The identity is one that a cluster can have.
    Identity,
    /// The vault's name has an address.
    Dns,
    /// A connection is made.
    Connection,
    /// The certificate is trusted.
    Tls,
    /// A vault answers, and asks for its own token.
    Challenge,
    /// There is a token, and the vault takes it.
    Token,
    /// Vault and identity are of one tenant.
    Tenant,
    /// The vault's firewall.
    Firewall,
    /// The way to a vault without public access.
    PrivateEndpoint,
    /// The identity may read the key.
    Read,
    /// The key exists.
    Key,
    /// It is enabled and within its time.
    State,
    /// It is so for a while.
    Expiry,
    /// It is one that wraps.
    Type,
    /// Its own operations hold those that are used.
    Operations,
    /// It comes back after it is deleted.
    Recovery,
    /// Its versions may be listed, and there is room for more.
    Versions,
    /// Bytes are wrapped.
    Wrap,
    /// They are unwrapped again.
    Unwrap,
    /// In time for kube-apiserver.
    Latency,
    /// Within the vault's limits.
    CallRate,
    /// What AKS wants besides.
    AksRoles,
    /// What AKS says of its plugin.
    AksView,
}

impl CheckId {
    /// All of them, in order.
    pub const ALL: [Self; 23] = [
        Self::Identity,
        Self::Dns,
        Self::Connection,
        Self::Tls,
        Self::Challenge,
        Self::Token,
        Self::Tenant,
        Self::Firewall,
        Self::PrivateEndpoint,
        Self::Read,
        Self::Key,
        Self::State,
        Self::Expiry,
        Self::Type,
        Self::Operations,
        Self::Recovery,
        Self::Versions,
        Self::Wrap,
        Self::Unwrap,
        Self::Latency,
        Self::CallRate,
        Self::AksRoles,
        Self::AksView,
    ];

    /// Its stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Dns => "dns",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::Challenge => "challenge",
            Self::Token => "token",
            Self::Tenant => "tenant",
            Self::Firewall => "firewall",
            Self::PrivateEndpoint => "private_endpoint",
            Self::Read => "read",
            Self::Key => "key",
            Self::State => "state",
            Self::Expiry => "expiry",
            Self::Type => "type",
            Self::Operations => "operations",
            Self::Recovery => "recovery",
            Self::Versions => "versions",
            Self::Wrap => "wrap",
            Self::Unwrap => "unwrap",
            Self::Latency => "latency",
            Self::CallRate => "call_rate",
            Self::AksRoles => "aks_roles",
            Self::AksView => "aks_view",
        }
    }

    /// What it asks, for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Identity => "an identity that a cluster can have",
            Self::Dns => "the vault's name has an address",
            Self::Connection => "the vault can be reached",
            Self::Tls => "its certificate is trusted",
            Self::Challenge => "a vault answers",
            Self::Token => "the identity has a token",
            Self::Tenant => "vault and identity are of one tenant",
            Self::Firewall => "the vault's firewall lets the plugin in",
            Self::PrivateEndpoint => "a private vault has a private endpoint here",
            Self::Read => "the identity may read the key",
            Self::Key => "the key exists",
            Self::State => "the key is enabled and within its time",
            Self::Expiry => "the key does not end soon",
            Self::Type => "the key is of a kind that wraps",
            Self::Operations => "the key allows the operations used",
            Self::Recovery => "the key survives being deleted",
            Self::Versions => "the key's versions can be followed",
            Self::Wrap => "the vault wraps",
            Self::Unwrap => "the vault unwraps",
            Self::Latency => "answers come in time for kube-apiserver",
            Self::CallRate => "the vault's limits leave room",
            Self::AksRoles => "the roles that AKS wants",
            Self::AksView => "what AKS says of its KMS plugin",
        }
    }

    /// The rows of the project's requirements that it covers.
    #[must_use]
    pub const fn rows(self) -> &'static [&'static str] {
        match self {
            Self::Identity => &["R8", "R18"],
            Self::Dns => &["R7", "R30"],
            Self::Connection => &["R9", "R30"],
            Self::Token => &["R18"],
            Self::Tenant => &["R11"],
            Self::Firewall => &["R9", "R50"],
            Self::PrivateEndpoint => &["R30", "R31", "R32"],
            Self::Read => &["R17", "R19", "R20", "R70"],
            Self::Key | Self::Recovery => &["R7"],
            Self::State | Self::Expiry => &["R44"],
            Self::Operations => &["R19"],
            Self::Wrap | Self::Unwrap => &["R19", "R20", "R31"],
            Self::AksRoles => &["R20", "R51"],
            Self::AksView => &["R43"],
            Self::Tls
            | Self::Challenge
            | Self::Type
            | Self::Versions
            | Self::Latency
            | Self::CallRate => &[],
        }
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// All is well.
    Ok,
    /// It works now, and may not for long.
    Warn,
    /// The key cannot serve like this.
    Fail,
    /// It cannot be told from here.
    Unknown,
    /// It was not looked at, since another check failed.
    Skipped,
}

impl Status {
    /// Its stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a check ended, what was seen, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) status: Status,
    pub(super) evidence: String,
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(evidence: impl Into<String>) -> Self {
        Self {
            status: Status::Ok,
            evidence: evidence.into(),
            remedy: None,
        }
    }

    pub(super) fn warn(evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::with_remedy(Status::Warn, evidence, remedy)
    }

    pub(super) fn fail(evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::with_remedy(Status::Fail, evidence, remedy)
    }

    pub(super) fn unknown(evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::with_remedy(Status::Unknown, evidence, remedy)
    }

    pub(super) fn skipped(evidence: impl Into<String>) -> Self {
        Self {
            status: Status::Skipped,
            ..Self::ok(evidence)
        }
    }

    fn with_remedy(status: Status, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            status,
            evidence: evidence.into(),
            remedy: Some(remedy.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_names() {
        for id in CheckId::ALL {
            assert_eq!(serde_json::json!(id), id.as_str());
        }
        assert!(CheckId::ALL.is_sorted());
    }
}
