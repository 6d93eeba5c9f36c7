//! What each operation does to a store.

mod create;
mod crypt;
mod import;
mod manage;

use super::access::Kind;
use super::api_version::ApiVersion;
use super::call::{Answer, Call};
use super::material::KeyPool;
use super::operation::Operation;
use super::refusal::Refusal;
use super::route::Route;
use super::store::{Store, View};

/// A call that is authenticated, permitted and admitted.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) call: &'a Call,
    pub(super) route: &'a Route,
    pub(super) kind: Kind,
    pub(super) api: ApiVersion,
    pub(super) view: &'a View,
    pub(super) pool: &'a KeyPool,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl Request<'_> {
    fn name(&self) -> &str {
        self.route.name.as_deref().unwrap_or_default()
    }

    fn version(&self) -> Option<&str> {
        self.route.version.as_deref()
    }
}

/// Serves one call.
pub(super) fn perform(store: &mut Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    use Operation as O;
    match request.route.operation {
        O::Create => create::create(store, request),
        O::Import => import::import(store, request),
        O::Get => manage::get(store, request),
        O::List => manage::list(store, request),
        O::ListVersions => manage::list_versions(store, request),
        O::Update => manage::update(store, request),
        O::Encrypt | O::Decrypt | O::WrapKey | O::UnwrapKey => crypt::crypt(store, request),
        _ => Err(Refusal::no_route()),
    }
}
