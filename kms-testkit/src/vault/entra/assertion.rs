//! Client assertions: a JWT in place of a secret.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::access_token::TokenKey;
use super::identity::{Proof, Registered};
use super::jwt::Jwt;

/// The audience of a service account token that is exchanged.
pub(super) const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

/// What surrounds an assertion.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) client_id: &'a str,
    /// The token endpoint as the client addressed it.
    pub(super) endpoint: &'a str,
    pub(super) now: i64,
    /// Signs the tokens of the double's own cluster.
    pub(super) cluster_key: &'a TokenKey,
}

/// Whether one of the application's credentials vouches for this assertion; else why not.
pub(super) fn check(
    app: &Registered,
    assertion: &str,
    surroundings: &Surroundings<'_>,
) -> Result<(), &'static str> {
    let token = Jwt::parse(assertion).ok_or("AADSTS50027: JWT token is invalid or malformed.")?;
    let now = surroundings.now;
    if token.time("exp").is_none_or(|expires| now >= expires)
        || token.time("nbf").is_some_and(|start| now < start)
    {
        return Err(
            "AADSTS700024: Client assertion is not within its valid time range. Review the documentation.",
        );
    }
    let mut reason =
        "AADSTS7000272: No credential of the application matches the client assertion.";
    for proof in &app.proofs {
        let checked = match proof {
            Proof::Secret(_) | Proof::Managed { .. } => continue,
            Proof::Certificate { der, public_key } => {
                certificate(&token, der, public_key, surroundings)
            }
            Proof::Federated { issuer, subject } => {
                federated(&token, issuer, subject, surroundings)
            }
        };
        match checked {
            Ok(()) => return Ok(()),
            Err(why) => reason = why,
        }
    }
    Err(reason)
}

fn certificate(
    token: &Jwt,
    der: &[u8],
    public_key: &[u8],
    surroundings: &Surroundings<'_>,
) -> Result<(), &'static str> {
    let header = |name| token.header.get(name).and_then(|value| value.as_str());
    // Some clients pad, some do not.
    let named = |name| header(name).map(|value| value.trim_end_matches('='));
    let thumbprint = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, der));
    let registered = match (named("x5t#S256"), named("x5t")) {
        (Some(x5t), _) => x5t == thumbprint(&digest::SHA256),
        (None, Some(x5t)) => x5t == thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        (None, None) => false,
    };
    if !registered {
        return Err(
            "AADSTS700027: The certificate with the identifier used to sign the client assertion is not \
             registered on application.",
        );
    }
    let algorithm: &'static RsaParameters = match header("alg") {
        Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
        Some("PS256") => &RSA_PSS_2048_8192_SHA256,
        _ => return Err("AADSTS5002723: Invalid JWT token. Unsupported algorithm."),
    };
    UnparsedPublicKey::new(algorithm, public_key)
        .verify(token.signed.as_bytes(), &token.signature)
        .map_err(|_| "AADSTS700027: Client assertion failed signature validation.")?;
    if token.text("iss") != Some(surroundings.client_id)
        || token.text("sub") != Some(surroundings.client_id)
    {
        return Err(
            "AADSTS700021: Client assertion application identifier doesn't match 'client_id'.",
        );
    }
    if !token.audiences().contains(&surroundings.endpoint) {
        return Err("AADSTS700023: Client assertion audience claim does not match Realm issuer.");
    }
    Ok(())
}

fn federated(
    token: &Jwt,
    issuer: &str,
    subject: &str,
    surroundings: &Surroundings<'_>,
) -> Result<(), &'static str> {
    if !surroundings.cluster_key.signed(token) {
        return Err("AADSTS50013: Assertion failed signature validation.");
    }
    if token.text("iss") != Some(issuer) {
        return Err(
            "AADSTS700211: No matching federated identity record found for presented assertion issuer.",
        );
    }
    if token.text("sub") != Some(subject) {
        return Err(
            "AADSTS700213: No matching federated identity record found for presented assertion subject.",
        );
    }
    if !token.audiences().contains(&EXCHANGE_AUDIENCE) {
        return Err(
            "AADSTS700212: No matching federated identity record found for presented assertion audience.",
        );
    }
    Ok(())
}
