//! Tokens: who we are ([`Identity`]), who hands them out ([`Authority`]), and one token shared by
//! all who need it ([`Credential`]).

mod assertion;
mod authority;
mod failure;
mod identity;
mod secret;
mod shared;
mod source;

pub use assertion::AssertionAlgorithm;
pub use authority::Authority;
pub use identity::{Identity, system_assigned_is_refused};
pub use secret::SecretSource;
pub use shared::Credential;
