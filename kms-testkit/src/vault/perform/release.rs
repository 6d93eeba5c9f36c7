//! `release` and `attestation`: the place for them. This double verifies no attestation yet, so
//! nothing is released, in the way that the service refuses a target it does not believe.

use super::Request;
use crate::vault::api_version::ApiVersion;
use crate::vault::call::Answer;
use crate::vault::operation::Operation;
use crate::vault::refusal::Refusal;
use crate::vault::store::Store;

pub(super) fn release(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    request.api.needs(ApiVersion::V7_3)?;
    let (_, version) = store.version(request.name(), request.version())?;
    version.permit(Operation::Release, request.now)?;
    if !version.attributes.exportable {
        return Err(Refusal::key_operation_forbidden(Operation::Release));
    }
    Err(Refusal::target_not_verified())
}

pub(super) fn attestation(store: &Store, request: &Request<'_>) -> Result<Answer, Refusal> {
    request.api.needs(ApiVersion::V7_6)?;
    store.version(request.name(), request.version())?;
    Err(Refusal::bad_parameter(
        "Key attestation is not supported for this key.",
    ))
}
