//! Token requests over the wire, with whatever is to happen to them.

use core::time::Duration;

use http::{HeaderMap, Response};
use serde_json::{Value, json};

use super::endpoint::{TokenAnswer, TokenService, answer};
use super::metadata;
use crate::loopback::wire::{self, Body, Cut, proxy_error, set, truncated};
use crate::vault::access::Kind;
use crate::vault::call::Call;
use crate::vault::fault::Fault;
use crate::vault::operation::Operation;
use crate::vault::state::Shared;

/// Serves the token service.
pub(in crate::vault) async fn token(shared: &Shared, call: &Call) -> Result<Response<Body>, Cut> {
    let operation = call.path.ends_with("/token").then_some(Operation::Token);
    disturbed(shared, operation, |service| answer(service, call)).await
}

/// Serves a machine's metadata service.
pub(in crate::vault) async fn managed_identity(
    shared: &Shared,
    call: &Call,
) -> Result<Response<Body>, Cut> {
    let operation = metadata::is_token(call).then_some(Operation::ManagedIdentityToken);
    disturbed(shared, operation, |service| metadata::answer(service, call)).await
}

async fn disturbed(
    shared: &Shared,
    operation: Option<Operation>,
    answer: impl FnOnce(&TokenService<'_>) -> TokenAnswer,
) -> Result<Response<Body>, Cut> {
    let fault = operation.and_then(|operation| {
        let mut entra = shared.entra();
        let calls = entra.calls.entry(operation).or_default();
        *calls = calls.saturating_add(1);
        entra.faults.next(&operation)
    });
    match fault {
        Some(Fault::Drop) => return Err(Cut),
        Some(Fault::Hang) => core::future::pending().await,
        Some(Fault::ProxyStatus(status)) => return Ok(proxy_error(status)),
        Some(Fault::Throttled { retry_after }) => return Ok(throttled(retry_after)),
        Some(Fault::Status(status)) => {
            let body = transient(90033, "A transient error has occurred. Please try again.");
            return Ok(wire::json(status, HeaderMap::new(), &body));
        }
        Some(Fault::Slow(by)) => shared.clock.sleep_until(shared.clock.now() + by).await,
        _ => {}
    }
    let (status, body) = {
        let entra = shared.entra();
        let resources = [
            shared.names.zone(Kind::KeyVault),
            shared.names.zone(Kind::ManagedHsm),
            // A resource whose tokens no vault takes.
            "management.azure.com".to_owned(),
        ];
        answer(&TokenService {
            directory: &entra.directory,
            tenants: &entra.tenants,
            resources: &resources,
            key: &shared.token_key,
            cluster_key: &shared.cluster_key,
            lifetime: shared.token_lifetime,
            now: shared.now(),
        })
    };
    Ok(match fault {
        Some(Fault::Truncated) => truncated(status, HeaderMap::new(), &body),
        _ => wire::json(status, HeaderMap::new(), &body),
    })
}

fn throttled(retry_after: Option<Duration>) -> Response<Body> {
    let mut headers = HeaderMap::new();
    if let Some(after) = retry_after {
        set(&mut headers, "retry-after", &after.as_secs().to_string());
    }
    let body = transient(90055, "Tenant throttled due to too many requests.");
    wire::json(429, headers, &body)
}

fn transient(code: u32, text: &str) -> Value {
    json!({
        "error": "temporarily_unavailable",
        "error_description": format!("AADSTS{code}: {text}"),
        "error_codes": [code],
    })
}
