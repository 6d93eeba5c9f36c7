//! What each operation does to a store.

mod backup;
mod create;
mod crypt;
mod delete;
mod import;
mod manage;
mod random;
mod release;
mod rotate;
mod sign;

use super::access::Kind;
use super::api_version::ApiVersion;
use super::call::{Answer, Call};
use super::material::KeyPool;
use super::operation::Operation;
use super::refusal::Refusal;
use super::route::Route;
use super::store::{BackupKey, Store, View};

pub(super) use self::import::import_rsa;
pub(super) use self::rotate::{is_due, rotate_due};

/// A call that is authenticated, permitted and admitted.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) call: &'a Call,
    pub(super) route: &'a Route,
    pub(super) kind: Kind,
    pub(super) api: ApiVersion,
    pub(super) view: &'a View,
    pub(super) pool: &'a KeyPool,
    pub(super) backup_key: &'a BackupKey,
    /// How long a deletion takes.
    pub(super) deletion_seconds: i64,
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
        O::Sign => sign::sign(store, request),
        O::Verify => sign::verify(store, request),
        O::Release => release::release(store, request),
        O::Attestation => release::attestation(store, request),
        O::Rotate => rotate::rotate(store, request),
        O::GetRotationPolicy => rotate::get_policy(store, request),
        O::SetRotationPolicy => rotate::set_policy(store, request),
        O::Delete => delete::delete(store, request),
        O::GetDeleted => delete::get(store, request),
        O::ListDeleted => delete::list(store, request),
        O::Recover => delete::recover(store, request),
        O::Purge => delete::purge(store, request),
        O::Backup => backup::backup(store, request),
        O::Restore => backup::restore(store, request),
        O::RandomBytes => random::random(request),
        // These come to no store.
        O::Challenge | O::Token | O::ManagedIdentityToken => Err(Refusal::no_route()),
    }
}
