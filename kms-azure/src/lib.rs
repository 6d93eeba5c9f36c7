//! Azure Key Vault and Managed HSM as key providers.
//!
//! [`provider::KeyVaultProvider`] is a [`KeyProvider`](kms_core::KeyProvider) over a key in a
//! vault. It follows a key without a version to whatever version is newest, wraps without a call
//! where the key is RSA, opens what any version has wrapped, and says what to do when something is
//! wrong.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use kms_azure::credential::Identity;
//! use kms_azure::key_url::KeyUrl;
//! use kms_azure::provider::{KeyVaultProvider, ProviderOptions};
//! use kms_azure::vault::Vault;
//! use kms_core::{KeyProvider, OsRandom, SecretBytes, TokioClock};
//!
//! # async fn example() -> Result<(), kms_core::Error> {
//! let key: KeyUrl = "https://myvault.vault.azure.net/keys/orders".parse()?;
//! let identity = Identity::managed("01234567-89ab-cdef-0123-456789abcdef")?;
//! let vault = Vault::connect(key.host().clone(), identity, Arc::new(TokioClock::new()))?;
//! let provider = KeyVaultProvider::new(vault, key, ProviderOptions::default())?;
//!
//! let dek = SecretBytes::random(&OsRandom, 32)?;
//! let wrapped = provider.wrap(&dek, &Default::default()).await?;
//! assert_eq!(provider.unwrap(&wrapped, &Default::default()).await?, dek);
//! # Ok(())
//! # }
//! ```
//!
//! # Rooms
//!
//! | room | what |
//! |---|---|
//! | [`key_url`] | key ids: parsed and checked before anything is asked |
//! | [`transport`] | the one HTTP client, with TLS by `ring` |
//! | [`credential`] | identities, and one token shared by all |
//! | [`error`] | what a vault's refusals mean, whether they pass, and what to do |
//! | [`vault`] | a client of one vault, within its limits |
//! | [`activation`] | which version of a key is in use; pure |
//! | [`provider`] | all of it as a `KeyProvider` |
//!
//! # Spans
//!
//! Through `tracing`, at the level `debug`, beside the log lines:
//!
//! | span | target | around | fields besides `outcome` |
//! |---|---|---|---|
//! | `wrap`, `unwrap`, `describe_key`, `list_keys` | `kms_azure::provider` | a caller's call | `key`, `version`, `request_id`, `local` |
//! | `look` | `kms_azure::provider` | a look at the key in its vault | `key` |
//! | `vault_call` | `kms_azure::vault` | one attempt at a vault, with the wait for its turn | `vault`, `operation`, `key`, `units` |
//! | `token` | `kms_azure::credential` | one request to the token service | `identity`, `scope` |
//!
//! `outcome` is `ok` or the kind of the error. Fields are names and ids of bounded length, never a
//! DEK, a ciphertext, a token or a credential. A look and a call may be shared by several callers;
//! they then stand below the first.
//!
//! # What stays in memory
//!
//! DEKs are wiped where this crate holds them. The SDK under it does not wipe: request and answer
//! bodies, with DEKs in base64, and tokens stay in freed memory until it is used again.
//!
//! # Features
//!
//! `local-wrap` (default) wraps under RSA keys here, by `aws-lc-rs`; `ring` has no RSA encryption.
//! Without it, `wrap` is a call to the vault.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod activation;
pub mod compat;
pub mod credential;
pub mod doctor;
pub mod error;
mod jitter;
pub mod key_url;
pub mod provider;
mod span;
pub mod transport;
pub mod vault;
