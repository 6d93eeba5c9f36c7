//! Commands over HTTP, for test programs in other languages: they move the clock, plan faults,
//! grant roles and read counters as a Rust test does through its handles.

use core::time::Duration;
use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{Kind, Role, Scope};
use super::call::Call;
use super::entra::Credential;
use super::fault::Fault;
use super::operation::Operation;
use super::refusal::Refusal;
use super::shifted_clock::ShiftedClock;
use super::state::{Desk, Network, Shared};

/// Who knows the path may command.
#[derive(Debug)]
pub(super) struct Admin {
    /// `/` and a secret.
    pub(super) path: String,
    pub(super) clock: Arc<ShiftedClock>,
}

#[derive(Deserialize)]
struct Clock {
    advance_seconds: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    Vault,
    ManagedHsm,
    Tokens,
}

#[derive(Deserialize)]
struct Plan {
    store: Place,
    operation: Option<Operation>,
    times: Option<u32>,
    #[serde(flatten)]
    fault: PlannedFault,
}

#[derive(Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
enum PlannedFault {
    Slow { ms: u64 },
    Throttled { retry_after_seconds: Option<u64> },
    Status { status: u16 },
    ProxyStatus { status: u16 },
    Drop,
    Hang,
    WrongKid,
    Truncated,
}

#[derive(Deserialize)]
struct NewIdentity {
    secret: String,
}

#[derive(Deserialize)]
struct Grant {
    store: Place,
    object_id: String,
    role: Role,
    key: Option<String>,
    #[serde(default)]
    delay_seconds: u64,
}

#[derive(Deserialize)]
struct Reach {
    store: Place,
    network: Network,
}

impl From<PlannedFault> for Fault {
    fn from(planned: PlannedFault) -> Self {
        match planned {
            PlannedFault::Slow { ms } => Self::Slow(Duration::from_millis(ms)),
            PlannedFault::Throttled {
                retry_after_seconds,
            } => Self::Throttled {
                retry_after: retry_after_seconds.map(Duration::from_secs),
            },
            PlannedFault::Status { status } => Self::Status(status),
            PlannedFault::ProxyStatus { status } => Self::ProxyStatus(status),
            PlannedFault::Drop => Self::Drop,
            PlannedFault::Hang => Self::Hang,
            PlannedFault::WrongKid => Self::WrongKid,
            PlannedFault::Truncated => Self::Truncated,
        }
    }
}

/// Carries a command out.
pub(super) fn answer(shared: &Shared, call: &Call) -> (u16, Value) {
    match command(shared, call) {
        Ok(value) => (200, value),
        Err(refusal) => (refusal.status, refusal.body()),
    }
}

fn command(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let admin = shared.admin.as_ref().ok_or_else(Refusal::no_route)?;
    let path = call
        .path
        .strip_prefix(&admin.path)
        .ok_or_else(Refusal::no_route)?;
    match (&call.method, path) {
        (&Method::POST, "/clock") => {
            let body: Clock = call.json()?;
            admin
                .clock
                .advance(Duration::from_secs(body.advance_seconds));
            Ok(json!({ "now": shared.now() }))
        }
        (&Method::POST, "/faults") => plan(shared, call.json()?),
        (&Method::DELETE, "/faults") => {
            shared.clear_faults();
            Ok(json!({}))
        }
        (&Method::POST, "/identities") => {
            let body: NewIdentity = call.json()?;
            let identity = shared
                .entra()
                .directory
                .register(vec![Credential::Secret(body.secret)])
                .map_err(|_| Refusal::internal("no identity could be made"))?;
            Ok(json!({
                "client_id": identity.client_id(), "object_id": identity.object_id(),
            }))
        }
        (&Method::POST | &Method::DELETE, "/roles") => {
            grant(shared, call.method == Method::POST, call.json()?)
        }
        (&Method::POST, "/network") => {
            let body: Reach = call.json()?;
            store(shared, body.store)?.lock().network = body.network;
            Ok(json!({}))
        }
        (&Method::GET, "/calls") => Ok(json!({
            "vault": store(shared, Place::Vault)?.lock().calls,
            "managed_hsm": store(shared, Place::ManagedHsm)?.lock().calls,
            "tokens": shared.entra().calls,
        })),
        _ => Err(Refusal::no_route()),
    }
}

fn plan(shared: &Shared, plan: Plan) -> Result<Value, Refusal> {
    let fault = plan.fault.into();
    if matches!(plan.store, Place::Tokens) {
        let mut entra = shared.entra();
        entra.faults.add(plan.operation, fault, plan.times);
    } else {
        let mut desk = store(shared, plan.store)?.lock();
        desk.faults.add(plan.operation, fault, plan.times);
    }
    Ok(json!({}))
}

fn grant(shared: &Shared, give: bool, body: Grant) -> Result<Value, Refusal> {
    let at = shared.clock.now() + Duration::from_secs(body.delay_seconds);
    let scope = body.key.map_or(Scope::Store, Scope::Key);
    let mut desk = store(shared, body.store)?.lock();
    let assignments = &mut desk.access.assignments;
    if give {
        assignments.grant(&body.object_id, body.role, scope, at);
    } else {
        assignments.revoke(&body.object_id, body.role, &scope, at);
    }
    Ok(json!({}))
}

/// The first store of this sort is the one that was always there.
fn store(shared: &Shared, place: Place) -> Result<&Arc<Desk>, Refusal> {
    let kind = match place {
        Place::Vault => Kind::KeyVault,
        Place::ManagedHsm => Kind::ManagedHsm,
        Place::Tokens => return Err(Refusal::bad_parameter("This is no store.")),
    };
    shared
        .stores
        .values()
        .find(|desk| desk.kind == kind && desk.is_default)
        .ok_or_else(Refusal::no_route)
}
