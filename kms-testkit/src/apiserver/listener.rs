//! The listener: sockets, TLS, HTTP/1.1, who is asking, and what for.

use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::access::Verb;
use super::discovery;
use super::fault::Fault;
use super::list::{self, Asked};
use super::meta::{Form, text};
use super::objects::Desk;
use super::place::Place;
use super::refusal::Refusal;
use super::schema::Resource;
use super::shared::Shared;
use super::update::Change;
use crate::loopback::accept;
use crate::loopback::form::{parse_form, parse_path};
use crate::loopback::wire::{Body, Cut, json as answer, proxy_error, set, truncated};

/// kube-apiserver takes 3 MiB.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// Serves until it is dropped; its connections end with it.
pub(super) async fn listen(listener: TcpListener, tls: Arc<ServerConfig>, shared: Arc<Shared>) {
    let acceptor = TlsAcceptor::from(tls);
    accept(listener, |stream| {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        async move { connection(stream, acceptor, shared).await }
    })
    .await;
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // Who cannot shake hands is not served, and nobody is there to be told.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|certificate| certificate.to_vec());
    let service =
        service_fn(move |request| respond(Arc::clone(&shared), certificate.clone(), request));
    // A client may go away at any time; nobody is there to be told.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    shared: Arc<Shared>,
    certificate: Option<Vec<u8>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(refuse(&Refusal::bad_request("the request is too large")));
    };
    let Some(user) = user(&shared, &parts.headers, certificate.as_deref()) else {
        return Ok(refuse(&Refusal::unauthorized()));
    };
    let call = match Call::new(&shared, parts, &body.to_bytes(), user) {
        Ok(call) => call,
        Err(refusal) => return Ok(refuse(&refusal)),
    };
    shared.count(call.verb);
    let fault = shared.lock().faults.next(&call.verb);
    match &fault {
        Some(Fault::Drop) => return Err(Cut),
        Some(Fault::Hang) => core::future::pending().await,
        Some(Fault::ProxyStatus(status)) => return Ok(proxy_error(*status)),
        Some(Fault::Status(code)) => return Ok(refuse(&Refusal::ordered(*code))),
        Some(Fault::Unauthorized) => return Ok(refuse(&Refusal::unauthorized())),
        Some(Fault::Throttled { retry_after }) => {
            return Ok(refuse(&Refusal::throttled(*retry_after)));
        }
        Some(Fault::Overtaken) => call.overtake().await,
        _ => {}
    }
    let form = match &fault {
        Some(Fault::WholeObjects) => Ok(Form::Whole),
        _ => Form::of(&call.accept),
    };
    let result = match form {
        Ok(form) => call.carry_out(form).await,
        Err(refusal) => Err(refusal),
    };
    match (result, fault) {
        (_, Some(Fault::LostAnswer)) => Err(Cut),
        (Ok((code, body)), Some(Fault::Truncated)) => Ok(truncated(code, HeaderMap::new(), &body)),
        (Ok((code, body)), _) => Ok(answer(code, HeaderMap::new(), &body)),
        (Err(refusal), _) => Ok(refuse(&refusal)),
    }
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut headers = HeaderMap::new();
    if let Some(after) = refusal.retry_after {
        set(&mut headers, "retry-after", &after.as_secs().to_string());
    }
    answer(refusal.code, headers, &refusal.body())
}

/// Who is asking: by token, or else by certificate.
fn user(shared: &Shared, headers: &HeaderMap, certificate: Option<&[u8]>) -> Option<String> {
    let changing = shared.lock();
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let user = match (token, certificate) {
        (Some(token), _) => changing.tokens.get(token)?.clone(),
        (None, Some(certificate)) => changing.certificates.get(certificate)?.clone(),
        (None, None) => return None,
    };
    let acted_for = headers
        .get("impersonate-user")
        .and_then(|value| value.to_str().ok());
    Some(acted_for.map_or(user, str::to_owned))
}

/// What is asked for.
enum Target<'s> {
    Discovery(Option<Value>),
    Review,
    Many(&'s Resource, Asked),
    One(&'s Resource, Place),
}

struct Call<'s> {
    shared: &'s Shared,
    verb: Verb,
    target: Target<'s>,
    user: String,
    replica: usize,
    accept: String,
    content_type: String,
    body: Value,
}

impl<'s> Call<'s> {
    fn new(shared: &'s Shared, parts: Parts, body: &[u8], user: String) -> Result<Self, Refusal> {
        let header = |name| {
            let value = parts.headers.get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let body = if body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(body)
                .map_err(|_| Refusal::bad_request("the body is not JSON"))?
        };
        let path = parse_path(parts.uri.path());
        let query = parts.uri.query().map(parse_form).unwrap_or_default();
        let target = route(shared, &path, &query)?;
        let verb = match (&parts.method, &target) {
            (&Method::GET, Target::Discovery(_)) => Verb::Discover,
            (&Method::POST, Target::Review) => Verb::Review,
            (&Method::GET, Target::Many(..)) => Verb::List,
            (&Method::POST, Target::Many(..)) => Verb::Create,
            (&Method::GET, Target::One(..)) => Verb::Get,
            (&Method::PUT, Target::One(..)) => Verb::Update,
            (&Method::PATCH, Target::One(..)) => Verb::Patch,
            (&Method::DELETE, Target::One(..)) => Verb::Delete,
            _ => return Err(Refusal::method_not_allowed()),
        };
        Ok(Self {
            replica: shared.next_replica(),
            accept: header(ACCEPT).unwrap_or_default(),
            content_type: header(CONTENT_TYPE).unwrap_or_default(),
            shared,
            verb,
            target,
            user,
            body,
        })
    }

    async fn carry_out(&self, form: Form) -> Result<(u16, Value), Refusal> {
        match &self.target {
            Target::Discovery(found) => {
                let found = found.clone().ok_or_else(Refusal::no_route)?;
                Ok((200, found))
            }
            Target::Review => Ok((201, self.review())),
            Target::Many(resource, asked) if self.verb == Verb::List => {
                let name = asked.name.as_deref().unwrap_or_default();
                self.authorize(resource, asked.namespace.as_deref(), name)?;
                let (shared, replica) = (self.shared, self.replica);
                let listed = list::list(shared, resource, replica, asked, form).await?;
                Ok((200, listed))
            }
            Target::Many(resource, asked) => {
                let name = text(&self.body, "name").to_owned();
                let namespace = asked.namespace.clone();
                self.authorize(resource, namespace.as_deref(), &name)?;
                let place = Place {
                    resource: resource.name(),
                    namespace,
                    name,
                };
                let made = self
                    .desk(resource, &place)?
                    .create(self.body.clone())
                    .await?;
                Ok((201, form.show(made)))
            }
            Target::One(resource, place) => self.on_one(resource, place, form).await,
        }
    }

    async fn on_one(
        &self,
        resource: &Resource,
        place: &Place,
        form: Form,
    ) -> Result<(u16, Value), Refusal> {
        self.authorize(resource, place.namespace.as_deref(), &place.name)?;
        let desk = self.desk(resource, place)?;
        let object = match self.verb {
            Verb::Get => desk.current().await?.object,
            Verb::Delete => {
                let preconditions = self.body.get("preconditions").cloned();
                let deleted = desk.delete(&preconditions.unwrap_or_default()).await?;
                return Ok((200, deleted));
            }
            Verb::Update => {
                let mut given = self.body.clone();
                desk.set_type(&mut given)?;
                desk.update(&Change::Replace(given)).await?
            }
            _ => {
                let change = match self.content_type.as_str() {
                    "application/merge-patch+json" => Change::Merge(self.body.clone()),
                    "application/apply-patch+yaml" => Change::Apply(self.body.clone()),
                    other => return Err(Refusal::unsupported_media_type(other)),
                };
                change.check()?;
                desk.update(&change).await?
            }
        };
        Ok((200, form.show(object)))
    }

    fn desk(&self, resource: &'s Resource, place: &Place) -> Result<Desk<'s>, Refusal> {
        Desk::new(self.shared, resource, self.replica, place.clone())
    }

    fn authorize(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(), Refusal> {
        if !resource.verbs.contains(&self.verb.as_str()) {
            return Err(Refusal::method_not_allowed());
        }
        if self.shared.may(self.verb, &resource.name(), namespace) {
            return Ok(());
        }
        let place = match namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let why = format!(
            "User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            self.user,
            self.verb.as_str(),
            resource.plural,
            resource.group
        );
        Err(Refusal::forbidden(&resource.name(), name, &why))
    }

    /// `SelfSubjectAccessReview`
    fn review(&self) -> Value {
        let attributes = self.body.pointer("/spec/resourceAttributes");
        let attribute = |name: &str| {
            attributes
                .and_then(|it| it.get(name))
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let resource = match attribute("group") {
            "" => attribute("resource").to_owned(),
            group => format!("{}.{group}", attribute("resource")),
        };
        let namespace = Some(attribute("namespace")).filter(|it| !it.is_empty());
        let verbs = [
            Verb::Get,
            Verb::List,
            Verb::Create,
            Verb::Update,
            Verb::Patch,
            Verb::Delete,
        ];
        let verb = verbs
            .into_iter()
            .find(|it| it.as_str() == attribute("verb"));
        let allowed = verb.is_some_and(|verb| self.shared.may(verb, &resource, namespace));
        let mut review = self.body.clone();
        if let Some(fields) = review.as_object_mut() {
            fields.insert("status".to_owned(), json!({ "allowed": allowed }));
        }
        review
    }

    /// Another client is faster.
    async fn overtake(&self) {
        if let Target::One(resource, place) = &self.target
            && let Ok(desk) = self.desk(resource, place)
        {
            // One object may be overtaken more than once, and each time shows.
            let once = format!("overtaken.{}", self.shared.next_uid());
            let annotations = json!({ "overtaken": "yes", once: "yes" });
            let change = json!({ "metadata": { "annotations": annotations } });
            // What cannot be changed cannot be overtaken.
            let _ = desk.update(&Change::Merge(change)).await;
        }
    }
}

fn route<'s>(
    shared: &'s Shared,
    path: &[String],
    query: &[(String, String)],
) -> Result<Target<'s>, Refusal> {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["version"] => {
            let version = json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.0" });
            return Ok(Target::Discovery(Some(version)));
        }
        ["api"] => {
            let versions = json!({ "kind": "APIVersions", "versions": ["v1"] });
            return Ok(Target::Discovery(Some(versions)));
        }
        ["apis"] => return Ok(Target::Discovery(Some(discovery::groups(shared)))),
        ["apis", group] => return Ok(Target::Discovery(discovery::group(shared, group))),
        [
            "apis",
            "authorization.k8s.io",
            "v1",
            "selfsubjectaccessreviews",
        ] => {
            return Ok(Target::Review);
        }
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(Refusal::no_route()),
    };
    if shared.lock().unserved.contains(group) {
        return Err(Refusal::ordered(503));
    }
    let (namespace, rest) = match rest {
        [] => {
            return Ok(Target::Discovery(discovery::resources(
                shared, group, version,
            )));
        }
        // A namespace itself is an object without one.
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let find = |plural: &str| {
        shared
            .resources
            .iter()
            .find(|it| it.group == group && it.version == version && it.plural == plural)
            .ok_or_else(Refusal::no_route)
    };
    match rest {
        [plural] => Ok(Target::Many(find(plural)?, asked(namespace, query)?)),
        [plural, name] => {
            let resource = find(plural)?;
            Ok(Target::One(
                resource,
                Place {
                    resource: resource.name(),
                    namespace: namespace.map(str::to_owned),
                    name: (*name).to_owned(),
                },
            ))
        }
        _ => Err(Refusal::no_route()),
    }
}

fn asked(namespace: Option<&str>, query: &[(String, String)]) -> Result<Asked, Refusal> {
    let mut asked = Asked {
        namespace: namespace.map(str::to_owned),
        ..Asked::default()
    };
    for (name, value) in query {
        match name.as_str() {
            "limit" => {
                let limit = value
                    .parse()
                    .map_err(|_| Refusal::bad_request("limit is no number"))?;
                asked.limit = Some(limit).filter(|limit| *limit > 0);
            }
            "continue" => asked.after = Some(value.clone()).filter(|token| !token.is_empty()),
            "fieldSelector" => asked.select(value)?,
            "labelSelector" => {
                return Err(Refusal::bad_request("this server selects by no label"));
            }
            _ => {}
        }
    }
    Ok(asked)
}
