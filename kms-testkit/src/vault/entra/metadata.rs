//! The metadata service of a machine (IMDS), which hands tokens to its managed identities.

use http::Method;
use serde_json::json;

use super::endpoint::{TokenAnswer, TokenService, is_resource, issue};
use super::identity::{Proof, Registered};
use crate::vault::call::Call;

const PATH: &str = "/metadata/identity/oauth2/token";

pub(super) fn is_token(call: &Call) -> bool {
    call.path == PATH
}

pub(super) fn answer(service: &TokenService<'_>, call: &Call) -> TokenAnswer {
    if !is_token(call) || call.method != Method::GET {
        return (404, json!({"error": "not found"}));
    }
    token(service, call).unwrap_or_else(|text| {
        let body = json!({"error": "invalid_request", "error_description": text});
        (400, body)
    })
}

fn token(service: &TokenService<'_>, call: &Call) -> Result<TokenAnswer, &'static str> {
    if call.header("metadata") != Some("true") {
        return Err("Required metadata header not specified");
    }
    if call.query("api-version").is_none() {
        return Err("Required query variable 'api-version' is missing");
    }
    let resource = call
        .query("resource")
        .ok_or("Required query variable 'resource' is missing")?;
    if !is_resource(service, resource) {
        return Err(
            "AADSTS500011: The resource principal named in the request was not found in the tenant.",
        );
    }
    let app = chosen(service, call)?;
    let tenant = service.tenants.first().ok_or("no tenant")?;
    let mut body = issue(service, app, tenant, resource).ok_or("no token could be signed")?;
    if let Some(body) = body.as_object_mut() {
        // Numbers are text here.
        let seconds = service.lifetime.as_secs();
        let expires = service
            .now
            .saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
        for (name, value) in [
            ("expires_in", seconds.to_string()),
            ("ext_expires_in", seconds.to_string()),
            ("expires_on", expires.to_string()),
            ("not_before", service.now.to_string()),
            ("resource", resource.to_owned()),
            ("client_id", app.identity.client_id().to_owned()),
        ] {
            body.insert(name.to_owned(), value.into());
        }
    }
    Ok((200, body))
}

/// The identity that is asked for; without a choice the machine's own, or its only one.
fn chosen<'a>(service: &TokenService<'a>, call: &Call) -> Result<&'a Registered, &'static str> {
    let managed = || {
        service.directory.all().filter_map(|app| {
            let id = app.proofs.iter().find_map(|proof| match proof {
                Proof::Managed { resource_id } => Some(resource_id.as_deref()),
                _ => None,
            })?;
            Some((app, id))
        })
    };
    let same = |name: &str, id: &str| {
        call.query(name)
            .is_some_and(|asked| asked.eq_ignore_ascii_case(id))
    };
    let choice = ["client_id", "object_id", "msi_res_id", "mi_res_id"];
    if choice.iter().any(|name| call.query(name).is_some()) {
        return managed()
            .find(|(app, id)| {
                same("client_id", app.identity.client_id())
                    || same("object_id", app.identity.object_id())
                    || id.is_some_and(|id| same("msi_res_id", id) || same("mi_res_id", id))
            })
            .map(|(app, _)| app)
            .ok_or("Identity not found");
    }
    if let Some((app, _)) = managed().find(|(_, id)| id.is_none()) {
        return Ok(app);
    }
    let mut user_assigned = managed();
    match (user_assigned.next(), user_assigned.next()) {
        (Some((app, _)), None) => Ok(app),
        (Some(_), Some(_)) => Err(
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the \
             identity in the token request",
        ),
        (None, _) => Err("Identity not found"),
    }
}
