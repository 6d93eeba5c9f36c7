//! The token service: who may have a token, what a token says, and what a vault believes.

mod access_token;
mod assertion;
mod endpoint;
mod identity;
mod jwt;
mod metadata;
mod serve;

pub use self::identity::{Credential, Identity};

pub(super) use self::access_token::{Caller, TokenKey};
pub(super) use self::endpoint::service_account_token;
pub(super) use self::identity::{Directory, uuid};
pub(super) use self::serve::{managed_identity, token};
