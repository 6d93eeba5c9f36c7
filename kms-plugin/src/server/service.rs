//! The two gRPC services over one engine.

use std::sync::Arc;

use kms_core::text::one_line;
use kms_core::{Error, ErrorKind, SecretBytes, WrappedKey};
use tonic::{Code, Request, Response, Status};

use super::StatusVersion;
use super::engine::Engine;
use super::key_board::StatusAnswer;
use crate::grpc::{status_from, status_with_code, text_of, timeout_of};
use crate::proto::{v1beta1, v2, wrapped_key};

/// What KMS v1 calls itself.
const V1BETA1: &str = "v1beta1";
/// The most of a caller's uid that is logged, in bytes; a UUID has 36.
const MAX_UID_LEN: usize = 64;

#[derive(Clone)]
pub(super) struct V2Service {
    pub(super) engine: Arc<Engine>,
    pub(super) version: StatusVersion,
}

#[async_trait::async_trait]
impl v2::key_management_service_server::KeyManagementService for V2Service {
    async fn status(
        &self,
        request: Request<v2::StatusRequest>,
    ) -> Result<Response<v2::StatusResponse>, Status> {
        let deadline = self.engine.deadline(timeout_of(request.metadata()));
        let (key_id, healthz) = match self.engine.status(deadline).await {
            StatusAnswer::Ok(key_id) => (key_id, "ok".to_owned()),
            StatusAnswer::Unwell(key_id, error) => (key_id, text_of(&error)),
            StatusAnswer::Unavailable(error) => {
                return Err(status_with_code(Code::Unavailable, &error));
            }
        };
        Ok(Response::new(v2::StatusResponse {
            version: self.version.as_str().to_owned(),
            healthz,
            key_id: key_id.as_str().to_owned(),
        }))
    }

    async fn encrypt(
        &self,
        request: Request<v2::EncryptRequest>,
    ) -> Result<Response<v2::EncryptResponse>, Status> {
        let deadline = self.engine.deadline(timeout_of(request.metadata()));
        let mut message = request.into_inner();
        let plaintext = SecretBytes::from_vec(core::mem::take(&mut message.plaintext));
        let uid = one_line(&message.uid, MAX_UID_LEN);
        let outcome = self
            .engine
            .encrypt(&plaintext, deadline, Some(uid.clone()))
            .await;
        let wrapped = outcome.map_err(|error| refused("v2 encrypt", &uid, &error))?;
        // Checked by the engine: it has a key id.
        let key_id = wrapped.key_id().map_or("", |id| id.as_str());
        tracing::debug!(uid, key_id, "v2 encrypt");
        Ok(Response::new(v2::EncryptResponse {
            ciphertext: wrapped.ciphertext().to_vec(),
            key_id: key_id.to_owned(),
            annotations: wrapped.annotations().clone(),
        }))
    }

    async fn decrypt(
        &self,
        request: Request<v2::DecryptRequest>,
    ) -> Result<Response<v2::DecryptResponse>, Status> {
        let deadline = self.engine.deadline(timeout_of(request.metadata()));
        let message = request.into_inner();
        let uid = one_line(&message.uid, MAX_UID_LEN);
        let outcome = match wrapped_key(&message.key_id, message.ciphertext, message.annotations) {
            Ok(wrapped) => {
                self.engine
                    .decrypt(wrapped, deadline, Some(uid.clone()))
                    .await
            }
            Err(error) => Err(error),
        };
        let secret = outcome.map_err(|error| refused("v2 decrypt", &uid, &error))?;
        tracing::debug!(uid, "v2 decrypt");
        Ok(Response::new(v2::DecryptResponse {
            plaintext: secret.expose().to_vec(),
        }))
    }
}

#[derive(Clone)]
pub(super) struct V1Beta1Service {
    pub(super) engine: Arc<Engine>,
    pub(super) runtime_name: Arc<str>,
}

#[async_trait::async_trait]
impl v1beta1::key_management_service_server::KeyManagementService for V1Beta1Service {
    async fn version(
        &self,
        request: Request<v1beta1::VersionRequest>,
    ) -> Result<Response<v1beta1::VersionResponse>, Status> {
        check_version(&request.get_ref().version)?;
        Ok(Response::new(v1beta1::VersionResponse {
            version: V1BETA1.to_owned(),
            runtime_name: (*self.runtime_name).to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn encrypt(
        &self,
        request: Request<v1beta1::EncryptRequest>,
    ) -> Result<Response<v1beta1::EncryptResponse>, Status> {
        let deadline = self.engine.deadline(timeout_of(request.metadata()));
        let mut message = request.into_inner();
        check_version(&message.version)?;
        let plaintext = SecretBytes::from_vec(core::mem::take(&mut message.plain));
        let outcome = self.engine.encrypt_v1beta1(&plaintext, deadline).await;
        let wrapped = outcome.map_err(|error| refused("v1beta1 encrypt", "", &error))?;
        tracing::debug!("v1beta1 encrypt");
        Ok(Response::new(v1beta1::EncryptResponse {
            cipher: wrapped.ciphertext().to_vec(),
        }))
    }

    async fn decrypt(
        &self,
        request: Request<v1beta1::DecryptRequest>,
    ) -> Result<Response<v1beta1::DecryptResponse>, Status> {
        let deadline = self.engine.deadline(timeout_of(request.metadata()));
        let message = request.into_inner();
        check_version(&message.version)?;
        let outcome = match WrappedKey::without_key_id(message.cipher) {
            Ok(wrapped) => self.engine.decrypt(wrapped, deadline, None).await,
            Err(error) => Err(error),
        };
        let secret = outcome.map_err(|error| refused("v1beta1 decrypt", "", &error))?;
        tracing::debug!("v1beta1 decrypt");
        Ok(Response::new(v1beta1::DecryptResponse {
            plain: secret.expose().to_vec(),
        }))
    }
}

/// Callers name the version in each request; one that does not is taken at its path.
fn check_version(version: &str) -> Result<(), Status> {
    if version.is_empty() || version == V1BETA1 {
        return Ok(());
    }
    let error = Error::new(ErrorKind::InvalidInput, "version is not v1beta1");
    Err(status_from(&error))
}

/// Logs a call that failed. The uid is the only thing of the request that is logged.
fn refused(operation: &str, uid: &str, error: &Error) -> Status {
    tracing::warn!(
        operation,
        uid,
        kind = error.kind().as_str(),
        %error,
        remedy = error.remedy(),
        "call failed"
    );
    status_from(error)
}
