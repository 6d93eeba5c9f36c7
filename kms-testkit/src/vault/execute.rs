//! From a call that may be served to what it does to the keys.

use http::Method;
use serde_json::Value;

use super::api_version::ApiVersion;
use super::call::{Answer, Call};
use super::perform::{Request, import_rsa, perform, rotate_due};
use super::refusal::Refusal;
use super::route::{Route, route};
use super::state::{Desk, DeskState, Shared};
use super::store::{Store, View};

/// Serves a call under the desk's lock, after everything that the clock has made due.
pub(super) fn execute(
    shared: &Shared,
    desk: &Desk,
    state: &mut DeskState,
    call: &Call,
    route: &Route,
    api: ApiVersion,
) -> Result<Answer, Refusal> {
    with_request(shared, desk, state, call, route, api, perform)
}

/// What a call would do if nothing stood before the keys: no token, no role, no limit, no fault.
pub(super) fn unguarded(
    shared: &Shared,
    desk: &Desk,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<Answer, Refusal> {
    let route = route(&method, path).ok_or_else(Refusal::no_route)?;
    let body = body.to_string().into_bytes();
    let call = Call::inside(method, path, host(shared, desk), body);
    let api = ApiVersion::newest();
    execute(shared, desk, &mut desk.lock(), &call, &route, api)
}

/// Imports an RSA key from PKCS#8, which no call can.
pub(super) fn import_pkcs8(
    shared: &Shared,
    desk: &Desk,
    name: &str,
    der: &[u8],
) -> Result<Answer, Refusal> {
    let path = format!("/keys/{name}");
    let route = route(&Method::PUT, &path).ok_or_else(Refusal::no_route)?;
    let call = Call::inside(Method::PUT, &path, host(shared, desk), Vec::new());
    let api = ApiVersion::newest();
    let import = |store: &mut Store, request: &Request<'_>| import_rsa(store, request, der);
    with_request(shared, desk, &mut desk.lock(), &call, &route, api, import)
}

fn host(shared: &Shared, desk: &Desk) -> String {
    let url = shared.names.url(&desk.host);
    url.trim_start_matches("https://").to_owned()
}

fn with_request(
    shared: &Shared,
    desk: &Desk,
    state: &mut DeskState,
    call: &Call,
    route: &Route,
    api: ApiVersion,
    then: impl FnOnce(&mut Store, &Request<'_>) -> Result<Answer, Refusal>,
) -> Result<Answer, Refusal> {
    let now = shared.now();
    state.store.forget(now);
    rotate_due(&mut state.store, desk.kind, &shared.pool, now);
    let view = View {
        base: format!("https://{}", call.host),
        api,
        retention: state.store.retention,
    };
    let request = Request {
        call,
        route,
        kind: desk.kind,
        api,
        view: &view,
        pool: &shared.pool,
        backup_key: &shared.backup_key,
        deletion_seconds: i64::try_from(shared.deletion.as_secs()).unwrap_or(i64::MAX),
        now,
    };
    then(&mut state.store, &request)
}
