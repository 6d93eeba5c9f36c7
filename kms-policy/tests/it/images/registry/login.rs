//! Logging in to registries.

use std::sync::Arc;

use kms_policy::ErrorKind;
use kms_policy::image::{CollectOptions, DockerConfig, Registry};

use super::server::{Answer, Content, Request, Server};
use super::{options, web};

/// A server that wants this header, and else answers with this challenge.
fn guarded(content: &Content, expected: &'static str, challenge: String) -> Server {
    let content = content.clone();
    Server::start(move |request| {
        if request.header("authorization") == Some(expected) {
            return content.answer(request);
        }
        Answer::new(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#)
            .with("WWW-Authenticate", challenge.clone())
    })
}

/// A server that gives the token `t0ken` to whom the test wants.
fn tokens(is_known: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Server {
    Server::start(move |request| match is_known(request) {
        true => Answer::new(200, r#"{"token":"t0ken","expires_in":60}"#),
        false => Answer::new(403, "no"),
    })
}

fn config(registry: &Server, auth: &str) -> DockerConfig {
    DockerConfig::parse(&format!(r#"{{"auths":{{"{}":{auth}}}}}"#, registry.place)).unwrap()
}

// me:hunter2
const PASSWORD: &str = r#"{"auth":"bWU6aHVudGVyMg=="}"#;
const BASIC: &str = "Basic bWU6aHVudGVyMg==";

#[tokio::test]
async fn a_name_and_password_are_shown_when_asked_for() {
    let (content, ..) = web();
    let server = guarded(&content, BASIC, r#"Basic realm="x""#.to_owned());
    let name = content.name(&server, "1");
    let collect = CollectOptions::default();
    let known = options(&[&server]).with_docker_config(config(&server, PASSWORD));
    Registry::new(known)
        .unwrap()
        .image(&name, &collect)
        .await
        .unwrap();
    assert_eq!(server.requests()[0].header("authorization"), None);
    for wrong in [None, Some(r#"{"username":"me","password":"wrong"}"#)] {
        let mut options = options(&[&server]);
        if let Some(wrong) = wrong {
            options = options.with_docker_config(config(&server, wrong));
        }
        let error = Registry::new(options).unwrap().image(&name, &collect).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Registry);
        assert!(error.remedy().contains("docker login"), "{error}");
    }
}

#[tokio::test]
async fn a_token_is_got_where_the_registry_says() {
    let (content, ..) = web();
    for (auth, expected) in [(None, None), (Some(PASSWORD), Some(BASIC))] {
        let giver = tokens(move |request| request.header("authorization") == expected);
        let challenge = format!(
            r#"Bearer realm="http://{}/token?a=b",service="s x""#,
            giver.place
        );
        let server = guarded(&content, "Bearer t0ken", challenge);
        let mut options = options(&[&server, &giver]);
        if let Some(auth) = auth {
            options = options.with_docker_config(config(&server, auth));
        }
        let registry = Registry::new(options).unwrap();
        let name = content.name(&server, "1");
        registry
            .image(&name, &CollectOptions::default())
            .await
            .unwrap();
        let asked = giver.requests();
        assert_eq!(
            asked[0].path,
            "/token?a=b&service=s+x&scope=repository%3Ateam%2Fweb%3Apull"
        );
        assert_eq!(asked.len(), 1, "a token is used again");
    }
}

#[tokio::test]
async fn an_identity_token_is_changed_for_another() {
    let (content, ..) = web();
    let giver = tokens(|request| {
        request.method == "POST"
            && request.body.contains("grant_type=refresh_token")
            && request.body.contains("refresh_token=id-t0ken")
            && request
                .body
                .contains("scope=repository%3Ateam%2Fweb%3Apull")
            && request.header("authorization").is_none()
    });
    let challenge = format!(r#"Bearer realm="http://{}/token",service="s""#, giver.place);
    let server = guarded(&content, "Bearer t0ken", challenge);
    let known = config(&server, r#"{"identitytoken":"id-t0ken"}"#);
    let options = options(&[&server, &giver]).with_docker_config(known);
    let registry = Registry::new(options).unwrap();
    let name = content.name(&server, "1");
    registry
        .image(&name, &CollectOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_password_does_not_go_where_it_could_be_read() {
    let (content, ..) = web();
    let giver = tokens(|_| true);
    let challenge = format!(r#"Bearer realm="http://{}/token",service="s""#, giver.place);
    let server = guarded(&content, "Bearer t0ken", challenge);
    // The server of tokens was not named as insecure.
    let options = options(&[&server]).with_docker_config(config(&server, PASSWORD));
    let registry = Registry::new(options).unwrap();
    let name = content.name(&server, "1");
    let error = registry
        .image(&name, &CollectOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Registry);
    assert!(giver.requests().is_empty());
}

#[tokio::test]
async fn another_host_is_shown_no_credentials() {
    let (content, ..) = web();
    let elsewhere = content.clone();
    let store = Arc::new(Server::start(move |request| {
        let mut request = request.clone();
        request.path = request.path.replace("/signed/", "/");
        elsewhere.answer(&request)
    }));
    let (answering, place) = (content.clone(), store.place.clone());
    let server = Server::start(move |request| {
        if request.header("authorization") != Some(BASIC) {
            return Answer::new(401, "").with("WWW-Authenticate", "Basic");
        }
        match request.path.contains("/blobs/") {
            true => Answer::new(307, "")
                .with("Location", format!("http://{place}/signed{}", request.path)),
            false => answering.answer(request),
        }
    });
    let name = content.name(&server, "1");
    let known = || config(&server, PASSWORD);
    let collect = CollectOptions::default();
    let both = options(&[&server, &store]).with_docker_config(known());
    Registry::new(both)
        .unwrap()
        .image(&name, &collect)
        .await
        .unwrap();
    let asked = store.requests();
    assert_eq!(asked.len(), 4, "a configuration and three layers");
    assert!(asked.iter().all(|it| it.header("authorization").is_none()));
    // Where it was not named as insecure, nothing is asked in clear.
    let one = options(&[&server]).with_docker_config(known());
    let error = Registry::new(one).unwrap().image(&name, &collect).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Registry);
    assert_eq!(store.requests().len(), 4);
}

#[tokio::test]
async fn being_sent_around_comes_to_an_end() {
    let (content, ..) = web();
    let server =
        Server::start(|request| Answer::new(302, "").with("Location", request.path.clone()));
    let registry = Registry::new(options(&[&server])).unwrap();
    let name = content.name(&server, "1");
    let error = registry.image(&name, &CollectOptions::default()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Registry);
    assert_eq!(server.requests().len(), 6);
}
