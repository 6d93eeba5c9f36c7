//! Key-release policies: the JSON that an Azure Key Vault key holds, and that the claims of an
//! attestation token must fit before the key leaves the vault.
//!
//! The grammar is Microsoft's (Key Vault policy grammar): `version`, and `anyOf` a list of
//! authorities, each with `allOf` or `anyOf` conditions on claims.
//!
//! ```
//! use kms_policy::release::{ReleasePolicy, Strictness};
//!
//! let hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
//! let policy = ReleasePolicy::for_pod(hash, ["https://sharedeus2.eus2.attest.azure.net"]).unwrap();
//! assert_eq!(ReleasePolicy::parse(&policy.to_json(), Strictness::Strict).unwrap(), policy);
//! ```

mod build;
mod claims;
mod lint;
mod node;
mod parse;
mod write;

use core::fmt;

pub use claims::{AuthorityTrace, ClaimTrace, ReleaseTrace};
pub use lint::{ReleaseFinding, lint};
pub use parse::{MAX_POLICY_LEN, Strictness};

/// A key-release policy. Any of its authorities may vouch for the claims.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReleasePolicy {
    /// The version of the grammar, `1.0.0`.
    pub version: String,
    /// Who may vouch, and for what.
    pub authorities: Vec<Authority>,
}

/// An issuer of attestation tokens, and what its token must say.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Authority {
    /// The issuer, an `https` URL.
    pub url: String,
    /// What the token must say: [`Condition::AllOf`] or [`Condition::AnyOf`].
    pub condition: Condition,
}

/// A condition on claims.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Condition {
    /// All of these.
    AllOf(Vec<Self>),
    /// One of these.
    AnyOf(Vec<Self>),
    /// One claim.
    Claim(ClaimCondition),
}

/// A condition on one claim.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClaimCondition {
    /// The claim; dots lead into objects.
    pub claim: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: Scalar,
}

/// How a claim is compared.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Operator {
    /// It is the value.
    Equals,
    /// It is there, and is not the value.
    NotEquals,
    /// It is a smaller integer.
    Less,
    /// It is a smaller integer, or the value.
    LessOrEquals,
    /// It is a greater integer.
    Greater,
    /// It is a greater integer, or the value.
    GreaterOrEquals,
    /// It is there, or with the value `false`, it is not.
    Exists,
}

impl Operator {
    const ALL: [Self; 7] = [
        Self::Equals,
        Self::NotEquals,
        Self::Less,
        Self::LessOrEquals,
        Self::Greater,
        Self::GreaterOrEquals,
        Self::Exists,
    ];

    /// Its name in the grammar.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::NotEquals => "notEquals",
            Self::Less => "less",
            Self::LessOrEquals => "lessOrEquals",
            Self::Greater => "greater",
            Self::GreaterOrEquals => "greaterOrEquals",
            Self::Exists => "exists",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operator| operator.as_str() == name)
    }
}

/// A value in a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Scalar {
    /// A text.
    Text(String),
    /// An integer.
    Integer(i64),
    /// True or false.
    Flag(bool),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

impl fmt::Display for ClaimCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.claim,
            self.operator.as_str(),
            self.value
        )
    }
}
