//! What we may do, before we do it.

use kms_core::object::ApiResource;
use kms_core::{CallOptions, Error, ErrorKind};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::server::KubeApi;
use super::status::Status;
use super::transport::Ask;

const MAX_REVIEW_LEN: usize = 256 * 1024;

/// What may be allowed or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AccessVerb {
    /// To see which objects there are.
    List,
    /// To rewrite one.
    Patch,
}

impl AccessVerb {
    /// As roles name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Patch => "patch",
        }
    }
}

#[derive(Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(Deserialize)]
struct ReviewStatus {
    allowed: bool,
}

impl KubeApi {
    /// Whether we may do this with every object of a resource, or of one namespace of it
    /// (`SelfSubjectAccessReview`, which everybody may ask). A right to single objects by their
    /// names does not count.
    ///
    /// # Errors
    ///
    /// Any kind.
    pub async fn may(
        &self,
        verb: AccessVerb,
        resource: &ApiResource,
        namespace: Option<&str>,
        call: &CallOptions,
    ) -> Result<bool, Error> {
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": verb.as_str(),
                "group": resource.group(),
                "version": resource.version(),
                "resource": resource.plural(),
                "namespace": namespace.unwrap_or_default(),
            }},
        });
        let ask = Ask {
            method: Method::POST,
            segments: vec![
                "apis",
                "authorization.k8s.io",
                "v1",
                "selfsubjectaccessreviews",
            ],
            query: Vec::new(),
            accept: "application/json",
            body: Some(("application/json", body.to_string())),
            most: MAX_REVIEW_LEN,
        };
        let answer = self.send(&ask, call).await?;
        if answer.status.as_u16() != 201 {
            let status = Status::read(&answer);
            return Err(self.refusal(&answer, &status, "asking what we may do"));
        }
        serde_json::from_slice::<Review>(&answer.body)
            .map(|review| review.status.allowed)
            .map_err(|_| {
                let message = "asking what we may do: the answer is no review";
                self.fault(ErrorKind::Protocol, message)
            })
    }
}
