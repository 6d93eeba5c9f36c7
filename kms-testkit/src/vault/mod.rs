//! A loopback Azure Key Vault and Managed HSM, with the token service they trust.

mod access;
mod admin;
mod api_version;
mod builder;
mod call;
mod certificates;
mod dispatch;
mod entra;
mod fault;
mod keystore;
mod material;
mod names;
mod operation;
mod perform;
mod refusal;
mod route;
mod running;
mod server;
mod shifted_clock;
mod state;
mod store;
mod throttle;
mod wire;

pub use self::access::{Role, Scope};
pub use self::builder::VaultBuilder;
pub use self::entra::{Credential, Identity};
pub use self::fault::Fault;
pub use self::keystore::KeyStore;
pub use self::operation::Operation;
pub use self::running::Vault;
pub use self::state::Network;
