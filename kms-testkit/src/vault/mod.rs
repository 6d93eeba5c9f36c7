//! A loopback Azure Key Vault and Managed HSM, with the token service they trust.
//!
//! It listens with TLS under a certificate authority of its own and answers as the services are
//! documented to: real RSA, EC and AES, real tokens and roles, key states, limits and error bodies.
//! The official clients of any language work against it unchanged; `kms testkit vault` serves it to
//! programs that are not written in Rust.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use kms_testkit::ManualClock;
//! use kms_testkit::vault::{Credential, Fault, Operation, Role, Scope, Vault};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let clock = ManualClock::new();
//! let azure = Vault::builder().clock(Arc::new(clock.clone())).start().await?;
//! let vault = azure.key_vault();
//! let kid = vault.create_rsa_key("kek", 2048)?;
//! assert!(kid.starts_with(&format!("{}/keys/kek/", azure.vault_url())));
//!
//! // Who logs in with this secret may wrap and unwrap with this key, and nothing else.
//! let plugin = azure.register([Credential::secret("hush")])?;
//! vault.grant(&plugin, Role::CryptoServiceEncryptionUser, Scope::key("kek"));
//!
//! // A client needs: azure.authority(), azure.tenant_id(), plugin.client_id() and the secret; trust
//! // in azure.ca_pem(); and azure.host_names() resolved to azure.address().
//!
//! // The next two calls will be throttled, and in a week the key will have expired.
//! vault.disturb(Operation::UnwrapKey, Fault::Throttled { retry_after: None }, 2);
//! let week = Duration::from_secs(7 * 86_400);
//! # use kms_core::Clock as _;
//! vault.set_validity("kek", None, None, Some(clock.wall_time() + week))?;
//! clock.advance(week);
//! assert_eq!(vault.calls(Operation::UnwrapKey), 0);
//! # Ok::<(), kms_core::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where it is not like the real thing
//!
//! - Access tokens are signed with ES256; Entra ID signs them with RS256. They are opaque to clients.
//! - A disabled key does nothing at all, as documented; users report that the service lets public-key
//!   operations pass. There is no leeway around `nbf` and `exp`, where the service has some minutes.
//! - `wrapKey` and `encrypt` need their own permissions; that reading a key suffices is taken to be
//!   about doing it locally.
//! - A Managed HSM answers with the error bodies of a vault. Its policies rotate keys by themselves,
//!   on which the vendor's documents contradict each other.
//! - Nothing is released and nothing attested: `release` and `attestation` check what they can and
//!   then refuse. Secure wrap, keys wrapped for an HSM (BYOK) and the signature algorithm `RSNULL` are
//!   missing. Nothing that is not a key is served.
//! - The texts of `BadParameter` are its own, where none is documented.

mod access;
mod admin;
mod api_version;
mod builder;
mod call;
mod dispatch;
mod entra;
mod execute;
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

pub use self::access::{Role, Scope};
pub use self::builder::VaultBuilder;
pub use self::entra::{Credential, Identity};
pub use self::fault::Fault;
pub use self::keystore::KeyStore;
pub use self::operation::Operation;
pub use self::running::Vault;
pub use self::state::Network;
