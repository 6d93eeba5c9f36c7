//! Names to addresses.

use core::fmt;
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// The addresses of a host: the one given for it, or what this machine's resolver says.
pub(super) async fn look_up(
    given: &BTreeMap<String, SocketAddr>,
    host: &str,
) -> Result<Vec<SocketAddr>, NameNotResolved> {
    if let Some(address) = given.get(&host.to_ascii_lowercase()) {
        return Ok(vec![*address]);
    }
    let found = tokio::net::lookup_host((host, 0)).await;
    let addresses: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
    if addresses.is_empty() {
        return Err(NameNotResolved);
    }
    Ok(addresses)
}

/// This machine's resolver, except for hosts whose address is given.
pub(super) struct Resolver {
    pub(super) addresses: Arc<BTreeMap<String, SocketAddr>>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let given = Arc::clone(&self.addresses);
        Box::pin(async move {
            let addresses = look_up(&given, name.as_str()).await?;
            let all: Addrs = Box::new(addresses.into_iter());
            Ok(all)
        })
    }
}
