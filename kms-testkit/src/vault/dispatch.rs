//! One call to a store, from its token to its answer.

use std::sync::Arc;

use http::Method;
use serde_json::Value;

use super::access::{Denied, Kind};
use super::api_version::ApiVersion;
use super::call::{Answer, Call};
use super::entra::Caller;
use super::execute::execute;
use super::fault::Fault;
use super::material::KeyKind;
use super::operation::Operation;
use super::perform::is_due;
use super::refusal::Refusal;
use super::route::{Route, route};
use super::state::{Desk, DeskState, Network, Shared};

/// The region that messages and headers name.
pub(super) const REGION: &str = "westeurope";
const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000000";

/// What came of a call, and what is to happen to its answer on the way.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) result: Result<Answer, Refusal>,
    pub(super) fault: Option<Fault>,
    /// The value of `WWW-Authenticate`, if it was refused for its token.
    pub(super) challenge: Option<String>,
}

/// Serves a call to a vault or HSM. Slow answers are slow here; what is done to an answer on the
/// wire is left to the caller.
pub(super) async fn serve(shared: &Arc<Shared>, desk: &Arc<Desk>, call: Call) -> Served {
    let caller = match authenticate(shared, desk, &call) {
        Ok(caller) => caller,
        Err(refusal) => {
            desk.count(Operation::Challenge);
            return Served {
                challenge: refusal.challenge.then(|| challenge(shared, desk, &call)),
                result: Err(refusal),
                fault: None,
            };
        }
    };
    let method = overridden(&call).unwrap_or_else(|| call.method.clone());
    let Some(route) = route(&method, &call.path) else {
        return Served {
            result: Err(Refusal::no_route()),
            fault: None,
            challenge: None,
        };
    };
    desk.count(route.operation);
    let fault = desk.lock().faults.next(&route.operation);
    if let Some(Fault::Slow(by)) = fault {
        shared.clock.sleep_until(shared.clock.now() + by).await;
    }
    let result = match &fault {
        Some(Fault::Throttled { retry_after }) => Err(Refusal::throttled(*retry_after)),
        Some(Fault::Status(status)) => Err(Refusal::service(*status)),
        // The call does not arrive.
        Some(Fault::ProxyStatus(_) | Fault::Hang) => Err(Refusal::service(502)),
        _ => work(shared, desk, call, route, caller).await,
    };
    Served {
        result,
        fault,
        challenge: None,
    }
}

fn authenticate(shared: &Shared, desk: &Desk, call: &Call) -> Result<Caller, Refusal> {
    let token = call
        .header("authorization")
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(Refusal::no_token)?;
    let zone = shared.names.zone(desk.kind);
    let tenant = desk.lock().tenant.clone();
    shared.token_key.believe(
        token,
        &zone,
        &format!("https://{zone}{}", call.port_suffix()),
        &tenant,
        shared.now(),
    )
}

/// The resource has the port that the caller used: clients compare it with the URL they called.
fn challenge(shared: &Shared, desk: &Desk, call: &Call) -> String {
    let port = call.port_suffix();
    format!(
        r#"Bearer authorization="https://{}{port}/{}", resource="https://{}{port}""#,
        shared.names.login_host(),
        desk.lock().tenant,
        shared.names.zone(desk.kind),
    )
}

/// `X-HTTP-METHOD` takes the place of POST.
fn overridden(call: &Call) -> Option<Method> {
    if call.method != Method::POST {
        return None;
    }
    Method::from_bytes(call.header("x-http-method")?.as_bytes()).ok()
}

/// Everything that happens under the lock. Making a key takes long, so it has a thread of its own.
async fn work(
    shared: &Arc<Shared>,
    desk: &Arc<Desk>,
    call: Call,
    route: Route,
    caller: Caller,
) -> Result<Answer, Refusal> {
    let makes_key = matches!(route.operation, Operation::Create | Operation::Rotate)
        || is_due(&desk.lock().store, shared.now());
    if !makes_key {
        return work_now(shared, desk, &call, &route, &caller);
    }
    let (shared, desk) = (Arc::clone(shared), Arc::clone(desk));
    tokio::task::spawn_blocking(move || work_now(&shared, &desk, &call, &route, &caller))
        .await
        .unwrap_or_else(|_| Err(Refusal::internal("making the key failed")))
}

fn work_now(
    shared: &Shared,
    desk: &Desk,
    call: &Call,
    route: &Route,
    caller: &Caller,
) -> Result<Answer, Refusal> {
    let api = ApiVersion::parse(call.query("api-version"))?;
    let tick = shared.clock.now();
    let mut state = desk.lock();
    let state = &mut *state;
    reachable(state.network, desk, caller)?;
    let key = route.name.as_deref();
    state
        .access
        .check(&caller.object_id, desk.kind, route.operation, key, tick)
        .map_err(|denied| match denied {
            Denied::ByRoles => by_rbac(desk, caller, route),
            Denied::ByPolicies => Refusal::by_policy(
                &caller.describe(),
                &route.operation.name().to_ascii_lowercase(),
                &desk.name,
                REGION,
            ),
        })?;
    if desk.kind == Kind::KeyVault {
        let weighed = weighed(state, route, call);
        if !state.throttle.admit(route.operation, weighed, tick) {
            return Err(Refusal::throttled(None));
        }
    }
    execute(shared, desk, state, call, route, api)
}

fn reachable(network: Network, desk: &Desk, caller: &Caller) -> Result<(), Refusal> {
    match network {
        Network::Public => Ok(()),
        Network::SelectedAddresses => {
            Err(Refusal::by_firewall(&caller.describe(), &desk.name, REGION))
        }
        Network::Private => Err(Refusal::by_connection(
            &caller.describe(),
            &desk.name,
            REGION,
        )),
    }
}

fn by_rbac(desk: &Desk, caller: &Caller, route: &Route) -> Refusal {
    let (provider, collection) = match desk.kind {
        Kind::KeyVault => ("Microsoft.KeyVault/vaults", "vaults"),
        Kind::ManagedHsm => ("Microsoft.KeyVault/managedHsm", "managedhsms"),
    };
    let action = format!("{provider}/{}", route.operation.data_action());
    let mut resource = format!(
        "/subscriptions/{SUBSCRIPTION}/resourcegroups/kms-testkit/providers/microsoft.keyvault/\
         {collection}/{}",
        desk.name
    );
    if let Some(key) = &route.name {
        resource.push_str("/keys/");
        resource.push_str(key);
    }
    Refusal::by_rbac(&caller.describe(), &action, &resource, &desk.name, REGION)
}

/// What the throttle needs to know of the key that is meant: its kind, and whether hardware holds it.
fn weighed(state: &DeskState, route: &Route, call: &Call) -> Option<(KeyKind, bool)> {
    if matches!(route.operation, Operation::Create | Operation::Import) {
        let body: Value = call.json().ok()?;
        let kty = body.get("kty").or_else(|| body.pointer("/key/kty"))?;
        // Of a key that is to be made the size does not count.
        return Some((KeyKind::Rsa(2048), kty.as_str()?.ends_with("-HSM")));
    }
    let (_, version) = state
        .store
        .version(route.name.as_deref()?, route.version.as_deref())
        .ok()?;
    Some((version.material.kind(), version.hsm))
}
