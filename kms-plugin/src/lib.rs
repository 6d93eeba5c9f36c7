//! The Kubernetes KMS gRPC API over Unix sockets: a server and a client.
//!
//! - [`server`]: a [`Plugin`](server::Plugin) serves any [`kms_core::KeyProvider`] to
//!   kube-apiserver, as KMS v2 and, only when asked for, as the deprecated KMS v1. The module's
//!   page says what is answered in each failure.
//! - [`client`]: each of the two versions as a [`kms_core::KeyProvider`], so that a program can
//!   use any vendor's plugin, or stand in for kube-apiserver in a test.
//! - [`socket`]: the addresses of an `EncryptionConfiguration`, and a listener that is safe to
//!   start after a crash.
//! - [`health`]: what the plugin knows of itself.
//! - [`proto`]: the messages, and the limits that kube-apiserver sets on them.
//!
//! All errors are [`kms_core::Error`]: the crate speaks of nothing but keys and sockets. It needs
//! a tokio runtime with its I/O and time drivers enabled.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use kms_plugin::server::Plugin;
//! use kms_plugin::socket::{ListenOptions, Listener};
//!
//! # async fn run(provider: Arc<dyn kms_core::KeyProvider>) -> Result<(), kms_core::Error> {
//! let plugin = Plugin::builder(provider).build()?;
//! let address = "unix:///run/kms/kms.sock".parse()?;
//! let listener = Listener::bind(&address, &ListenOptions::default()).await?;
//! plugin.serve(listener, async { /* until a signal */ }).await?;
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod client;
mod deadline;
mod grpc;
pub mod health;
pub mod proto;
pub mod server;
pub mod socket;
