//! Names to addresses.

use core::fmt;
use core::net::SocketAddr;
use std::collections::BTreeMap;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A host has no address: it does not exist, or DNS does not answer.
///
/// A type of its own, because a vault that was deleted or is spelt wrong shows in no other way.
#[derive(Clone, Copy, Debug)]
pub struct NameNotResolved;

impl fmt::Display for NameNotResolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host name has no address")
    }
}

impl core::error::Error for NameNotResolved {}

/// This machine's resolver, except for hosts whose address is given.
pub(super) struct Resolver {
    pub(super) addresses: BTreeMap<String, SocketAddr>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let given = self.addresses.get(&name.as_str().to_ascii_lowercase());
        if let Some(address) = given.copied() {
            let only: Addrs = Box::new(core::iter::once(address));
            return Box::pin(core::future::ready(Ok(only)));
        }
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let addresses: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
            if addresses.is_empty() {
                return Err(NameNotResolved.into());
            }
            let all: Addrs = Box::new(addresses.into_iter());
            Ok(all)
        })
    }
}
