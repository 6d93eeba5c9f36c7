//! The token service: who may have a token, what a token says, and what a vault believes.

mod assertion;
mod endpoint;
mod identity;
mod jwt;
mod token;

pub use self::identity::{Credential, Identity};

pub(super) use self::endpoint::{TokenService, answer, service_account_token};
pub(super) use self::identity::{Directory, uuid};
pub(super) use self::token::{Caller, TokenKey};
