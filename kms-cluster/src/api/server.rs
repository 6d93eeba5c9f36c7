//! The API server as a rewriter.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::object::{ApiObject, ApiPage, ApiResource, ListOptions, RewriteOutcome, Rewriter};
use kms_core::{CallOptions, Error, ErrorKind};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::options::ApiOptions;
use super::partial::{self, ACCEPT_LIST, ACCEPT_ONE};
use super::review::AccessVerb;
use super::status::{self, Status};
use super::target::ApiTarget;
use super::transport::{Answer, Ask, Transport};

/// The longest metadata of one object, in bytes; an object itself is at most 1.5 MiB, and JSON
/// repeats of it what is metadata.
const MAX_OBJECT_LEN: usize = 8 * 1024 * 1024;
/// Who a change would be attributed to. A no-op update changes no field, so this shows nowhere.
const FIELD_MANAGER: &str = "kms";

/// A Kubernetes API server, over HTTPS. Clones share connections and login.
///
/// See [the module](super) for what it sends and what it makes of the answers.
#[derive(Clone)]
pub struct KubeApi(Arc<Transport>);

impl KubeApi {
    /// A client for this server. Sends nothing, and runs no plugin.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for certificates and keys that do not fit, and for a target that
    /// takes any certificate where the options do not allow it; [`ErrorKind::Unsupported`] for a
    /// proxy together with a TLS server name; [`ErrorKind::Io`] if what this machine trusts is
    /// needed and cannot be read.
    pub fn new(target: ApiTarget, options: ApiOptions) -> Result<Self, Error> {
        Ok(Self(Arc::new(Transport::new(target, options)?)))
    }

    pub(super) async fn send(&self, ask: &Ask<'_>, call: &CallOptions) -> Result<Answer, Error> {
        self.0
            .send(ask, call)
            .await
            .map_err(|error| error.with_provider(self.to_string()))
    }

    pub(super) fn fault(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, message).with_provider(self.to_string())
    }

    /// The error that an answer stands for, with the rights that are needed if it is about them.
    pub(super) fn refusal(&self, answer: &Answer, status: &Status, what: &str) -> Error {
        status::error(answer, status, what).with_provider(self.to_string())
    }

    /// One page, asked for in smaller parts if it is too long.
    async fn page(&self, options: &ListOptions) -> Result<ApiPage, Error> {
        let resource = &options.resource;
        let what = format!("listing {resource}");
        let mut limit = options.page_limit.max(1);
        loop {
            let mut ask = Ask::get(
                segments(resource, options.namespace.as_deref(), None),
                self.0.options().max_list_len,
            );
            ask.accept = ACCEPT_LIST;
            ask.query.push(("limit", limit.to_string()));
            if let Some(token) = &options.after {
                ask.query.push(("continue", token.as_str().to_owned()));
            }
            if let Some(name) = &options.name {
                let selector = format!("metadata.name={}", selected(name));
                ask.query.push(("fieldSelector", selector));
            }
            let answer = self.send(&ask, &options.call).await?;
            if answer.status != StatusCode::OK {
                let status = Status::read(&answer);
                let error = self.refusal(&answer, &status, &what);
                return Err(with_rights(error, resource));
            }
            if answer.is_too_long && limit > 1 {
                limit = limit.div_euclid(2);
                continue;
            }
            if answer.is_too_long {
                return Err(self
                    .fault(
                        ErrorKind::Protocol,
                        format!("{what}: the metadata of one object is over the limit of a page"),
                    )
                    .with_remedy(
                        "allow longer pages, or delete what fills the object's annotations",
                    ));
            }
            let listed = partial::read_list(&answer.body, resource)
                .map_err(|error| error.with_provider(self.to_string()))?;
            return Ok(ApiPage::new(listed.objects, listed.next).with_remaining(listed.remaining));
        }
    }

    /// What a conflict means for an object: whether it is still there.
    async fn after_conflict(
        &self,
        object: &ApiObject,
        call: &CallOptions,
    ) -> Result<RewriteOutcome, Error> {
        let options = ListOptions::of_object(object).with_call(call.clone());
        let page = self.page(&options).await?;
        let same = |found: &&ApiObject| {
            found.name() == object.name() && (object.uid().is_none() || found.uid() == object.uid())
        };
        Ok(match page.objects.iter().find(same) {
            Some(_) => RewriteOutcome::Conflict,
            None => RewriteOutcome::Gone,
        })
    }

    /// Who is denied one object may be denied by the rules of access, and then the next one as
    /// well, or by admission, which says nothing of the next. The code is the same, and the words
    /// are for people, so the server is asked.
    async fn after_denial(
        &self,
        object: &ApiObject,
        denied: (&Answer, &Status, &str),
        call: &CallOptions,
    ) -> Result<RewriteOutcome, Error> {
        let (answer, status, what) = denied;
        let may = self
            .may(
                AccessVerb::Patch,
                object.resource(),
                object.namespace(),
                call,
            )
            .await;
        match may {
            Ok(true) => Ok(RewriteOutcome::refused(&status.message)),
            Err(error) if error.is_retryable() => Err(error),
            Ok(false) | Err(_) => Err(with_rights(
                self.refusal(answer, status, what),
                object.resource(),
            )),
        }
    }
}

#[async_trait]
impl Rewriter for KubeApi {
    async fn list(&self, options: &ListOptions) -> Result<ApiPage, Error> {
        self.page(options).await
    }

    async fn rewrite(
        &self,
        object: &ApiObject,
        options: &CallOptions,
    ) -> Result<RewriteOutcome, Error> {
        let mut metadata = json!({ "resourceVersion": object.resource_version() });
        if let (Some(uid), Some(fields)) = (object.uid(), metadata.as_object_mut()) {
            fields.insert("uid".to_owned(), json!(uid));
        }
        let ask = Ask {
            method: Method::PATCH,
            segments: segments(object.resource(), object.namespace(), Some(object.name())),
            query: vec![("fieldManager", FIELD_MANAGER.to_owned())],
            accept: ACCEPT_ONE,
            body: Some((
                "application/merge-patch+json",
                json!({ "metadata": metadata }).to_string(),
            )),
            most: MAX_OBJECT_LEN,
        };
        let answer = self.send(&ask, options).await?;
        let what = format!("rewriting {object}");
        let status = Status::read(&answer);
        match answer.status.as_u16() {
            200 if answer.is_too_long => Err(self.fault(
                ErrorKind::Protocol,
                format!("{what}: the answer is over 8 MiB"),
            )),
            200 => {
                let now = partial::read_one(&answer.body, object.resource())
                    .map_err(|error| error.with_provider(self.to_string()))?;
                self.judge(object, &now)
            }
            404 if status.is_about(object.name()) => Ok(RewriteOutcome::Gone),
            409 => self.after_conflict(object, options).await,
            403 => {
                self.after_denial(object, (&answer, &status, &what), options)
                    .await
            }
            400 | 413 | 422 => Ok(RewriteOutcome::refused(if status.message.is_empty() {
                "the server gives no reason"
            } else {
                &status.message
            })),
            _ => Err(self.refusal(&answer, &status, &what)),
        }
    }
}

impl KubeApi {
    fn judge(&self, object: &ApiObject, now: &ApiObject) -> Result<RewriteOutcome, Error> {
        if now.name() != object.name() || (object.uid().is_some() && now.uid() != object.uid()) {
            let message = format!("rewriting {object}: the answer is about another object");
            return Err(self.fault(ErrorKind::Protocol, message));
        }
        Ok(if now.resource_version() == object.resource_version() {
            RewriteOutcome::Unchanged
        } else {
            RewriteOutcome::Written {
                resource_version: now.resource_version().to_owned(),
            }
        })
    }
}

/// Where a resource, a namespace of it, or an object is.
fn segments<'a>(
    resource: &'a ApiResource,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
) -> Vec<&'a str> {
    let mut segments = group_segments(resource.group(), resource.version());
    if let Some(namespace) = namespace {
        segments.extend(["namespaces", namespace]);
    }
    segments.push(resource.plural());
    segments.extend(name);
    segments
}

pub(super) fn group_segments<'a>(group: &'a str, version: &'a str) -> Vec<&'a str> {
    if group.is_empty() {
        vec!["api", version]
    } else {
        vec!["apis", group, version]
    }
}

/// A value as it stands in a field selector.
fn selected(value: &str) -> String {
    let mut text = String::new();
    for letter in value.chars() {
        if matches!(letter, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// Says which rights are missing, if it is rights that are missing.
fn with_rights(error: Error, resource: &ApiResource) -> Error {
    if error.kind() != ErrorKind::PermissionDenied {
        return error;
    }
    error.with_remedy(format!(
        "grant the verbs `list` and `patch` on {resource}, such as with `kubectl create clusterrole kms-migrate --verb=list,patch --resource={resource}` and a clusterrolebinding; or name namespaces in which a role grants them"
    ))
}

/// Names the server.
impl fmt::Display for KubeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "API server {}", self.0.target())
    }
}

impl fmt::Debug for KubeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeApi")
            .field("target", self.0.target())
            .field("options", self.0.options())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_their_places() {
        let secrets = ApiResource::new("", "v1", "secrets").unwrap();
        assert_eq!(
            segments(&secrets, Some("a"), Some("b")).join("/"),
            "api/v1/namespaces/a/secrets/b"
        );
        let roles = ApiResource::new("rbac.authorization.k8s.io", "v1", "clusterroles").unwrap();
        assert_eq!(
            segments(&roles, None, Some("system:node")).join("/"),
            "apis/rbac.authorization.k8s.io/v1/clusterroles/system:node"
        );
        assert_eq!(segments(&secrets, None, None).join("/"), "api/v1/secrets");
    }

    #[test]
    fn a_name_selects_itself_alone() {
        assert_eq!(selected("a.b"), "a.b");
        assert_eq!(selected("a,metadata.name!=b"), r"a\,metadata.name!\=b");
    }

    #[test]
    fn missing_rights_are_named() {
        let secrets = ApiResource::new("", "v1", "secrets").unwrap();
        let error = with_rights(Error::new(ErrorKind::PermissionDenied, "no"), &secrets);
        assert!(
            error
                .remedy()
                .contains("--verb=list,patch --resource=secrets")
        );
        let error = with_rights(Error::new(ErrorKind::Unavailable, "no"), &secrets);
        assert_eq!(error.remedy(), ErrorKind::Unavailable.remedy());
    }
}
