//! The small, slow-moving bottom of the SDK: what a key provider is.
//!
//! A [`KeyProvider`] holds key-encryption keys (KEKs) and wraps data-encryption keys (DEKs) with
//! them. Everything else here is what the trait speaks: [`KeyId`], [`KeyInfo`], [`WrappedKey`],
//! [`SecretBytes`], [`EncryptionContext`], [`Error`]; time and randomness are injected as
//! [`Clock`] and [`SecureRandom`].
//!
//! [`object`] holds the traits over a cluster's stored objects; [`state`] keeps a small piece of
//! state that several programs change; [`text`] makes foreign text fit to print.
//!
//! No HTTP, no Kubernetes, no async runtime. Features: `local` (default) is an embedded provider
//! over a keyring file, and a state store in a file; `tokio` is a clock for programs that run on tokio; `metrics` is a wrapper
//! that reports to the `metrics` facade; `arbitrary` makes valid values of these types out of a
//! fuzzer's bytes.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "arbitrary")]
pub mod arbitrary;
mod clock;
mod context;
#[cfg(feature = "local")]
mod disk;
mod error;
mod key;
pub mod layer;
#[cfg(feature = "local")]
pub mod local;
pub mod object;
mod provider;
mod random;
mod secret;
pub mod state;
pub mod text;
mod wrapped;

#[cfg(feature = "tokio")]
pub use clock::TokioClock;
pub use clock::{Clock, Sleep, Tick, within};
pub use context::EncryptionContext;
pub use error::{Error, ErrorKind};
pub use key::{KeyId, KeyInfo, KeyState};
pub use provider::{
    CallOptions, Capabilities, ContextSupport, KeyProvider, UnwrapOptions, WrapOptions,
};
pub use random::{OsRandom, SecureRandom};
pub use secret::SecretBytes;
pub use wrapped::WrappedKey;
