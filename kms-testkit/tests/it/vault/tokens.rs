//! Logging in, in every way there is.

use core::time::Duration;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kms_testkit::ManualClock;
use kms_testkit::vault::{Credential, Fault, Identity, Operation, Role, Scope, Vault};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::client::{Answer, Client, http, token};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// A public test key.
const RSA: &str = include_str!("../../../src/vault/material/pool/rsa-2048.pem");
/// 2026-01-01, where a manual clock starts.
const NOW: i64 = 1_767_225_600;

async fn lab() -> (ManualClock, Vault, reqwest::Client) {
    let clock = ManualClock::new();
    let vault = Vault::builder()
        .clock(Arc::new(clock.clone()))
        .start()
        .await
        .unwrap();
    let http = http(&vault);
    (clock, vault, http)
}

fn scope(vault: &Vault) -> String {
    format!(
        "https://vault.localhost:{}/.default",
        vault.address().port()
    )
}

fn refused(answer: &Answer) -> (u16, &str, String) {
    let text = answer.body["error_description"].as_str().unwrap();
    (
        answer.status.as_u16(),
        answer.body["error"].as_str().unwrap(),
        text.split(':').next().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn a_secret_is_right_or_wrong() {
    let (_, vault, http) = lab().await;
    let app = vault.register([Credential::secret("right")]).unwrap();
    let scope = scope(&vault);
    let ask = |client_id: String, secret: &'static str, scope: String| {
        let (http, vault) = (&http, &vault);
        async move {
            let fields = [
                ("client_id", client_id.as_str()),
                ("client_secret", secret),
                ("scope", scope.as_str()),
            ];
            token(http, vault, &fields).await
        }
    };
    let id = app.client_id().to_owned();
    let good = ask(id.clone(), "right", scope.clone()).await.ok();
    assert_eq!(good["token_type"], "Bearer");
    assert_eq!(good["expires_in"], 3599);
    let wrong = ask(id.clone(), "wrong", scope.clone()).await;
    assert_eq!(
        refused(&wrong),
        (401, "invalid_client", "AADSTS7000215".to_owned())
    );
    let nobody = ask("nobody".to_owned(), "right", scope.clone()).await;
    assert_eq!(
        refused(&nobody),
        (400, "unauthorized_client", "AADSTS700016".to_owned())
    );
    let elsewhere = ask(
        id.clone(),
        "right",
        "https://example.org/.default".to_owned(),
    )
    .await;
    assert_eq!(
        refused(&elsewhere),
        (400, "invalid_resource", "AADSTS500011".to_owned())
    );
    let bare = ask(id, "right", "https://vault.localhost".to_owned()).await;
    assert_eq!(refused(&bare).1, "invalid_scope");
    assert_eq!(vault.calls(Operation::Token), 5);
}

#[tokio::test]
async fn discovery_leads_to_the_token_endpoint() {
    let (_, vault, http) = lab().await;
    let base = format!("{}/{}", vault.authority(), vault.tenant_id());
    let get = async |url: String| Answer::read(http.get(url).send().await.unwrap()).await;
    let instance = get(format!(
        "{}/common/discovery/instance?api-version=1.1&authorization_endpoint={base}/oauth2/v2.0/authorize",
        vault.authority()
    ))
    .await
    .ok();
    let found = instance["tenant_discovery_endpoint"].as_str().unwrap();
    let openid = get(found.to_owned()).await.ok();
    assert_eq!(
        openid["token_endpoint"],
        format!("{base}/oauth2/v2.0/token")
    );
    let keys = get(openid["jwks_uri"].as_str().unwrap().to_owned())
        .await
        .ok();
    assert_eq!(keys["keys"][0]["kty"], "EC");
    let elsewhere = format!(
        "{}/nobody/v2.0/.well-known/openid-configuration",
        vault.authority()
    );
    assert_eq!(refused(&get(elsewhere).await).2, "AADSTS90002");
}

fn certificate() -> (String, KeyPair) {
    let pem = RSA;
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let pair = KeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let signing = rcgen::KeyPair::try_from(key.secret_pkcs8_der()).unwrap();
    let params = rcgen::CertificateParams::new(vec!["app".to_owned()]).unwrap();
    (params.self_signed(&signing).unwrap().pem(), pair)
}

struct Assertion<'a> {
    vault: &'a Vault,
    app: &'a Identity,
    pem: &'a str,
    key: &'a KeyPair,
}

impl Assertion<'_> {
    /// What the official clients send, changed by `edit`.
    async fn send(
        &self,
        alg: &str,
        padding: &'static dyn RsaEncoding,
        edit: impl FnOnce(&mut Value, &mut Value),
    ) -> Answer {
        let der = rustls::pki_types::CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
        let mut header = json!({"alg": alg, "x5t#S256": URL_SAFE_NO_PAD.encode(sha256)});
        let url = format!(
            "{}/{}/oauth2/v2.0/token",
            self.vault.authority(),
            self.vault.tenant_id()
        );
        let id = self.app.client_id();
        let mut claims =
            json!({"aud": url, "iss": id, "sub": id, "nbf": NOW, "exp": NOW + 600, "jti": "1"});
        edit(&mut header, &mut claims);
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                padding,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .unwrap();
        let assertion = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let fields = [
            ("client_id", id),
            ("client_assertion_type", ASSERTION),
            ("client_assertion", &assertion),
            ("scope", &scope(self.vault)),
        ];
        token(&http(self.vault), self.vault, &fields).await
    }
}

#[tokio::test]
async fn a_certificate_vouches_for_the_assertion_it_signed() {
    let (clock, vault, _) = lab().await;
    let (pem, key) = certificate();
    let app = vault
        .register([Credential::Certificate(pem.clone())])
        .unwrap();
    assert!(
        vault
            .register([Credential::Certificate("no".to_owned())])
            .is_err()
    );
    let assertion = Assertion {
        vault: &vault,
        app: &app,
        pem: &pem,
        key: &key,
    };
    let send = |edit: fn(&mut Value, &mut Value)| assertion.send("PS256", &RSA_PSS_SHA256, edit);
    send(|_, _| {}).await.ok();
    assertion
        .send("RS256", &RSA_PKCS1_SHA256, |_, _| {})
        .await
        .ok();
    let edits: [(fn(&mut Value, &mut Value), &str); 7] = [
        (
            |header, _| header["x5t#S256"] = "AAAA".into(),
            "AADSTS700027",
        ),
        (|header, _| header["alg"] = "RS256".into(), "AADSTS700027"),
        (|header, _| header["alg"] = "none".into(), "AADSTS5002723"),
        (|_, claims| claims["sub"] = "other".into(), "AADSTS700021"),
        (
            |_, claims| claims["aud"] = "https://other/".into(),
            "AADSTS700023",
        ),
        (|_, claims| claims["exp"] = NOW.into(), "AADSTS700024"),
        (|_, claims| claims["nbf"] = (NOW + 1).into(), "AADSTS700024"),
    ];
    for (edit, code) in edits {
        let answer = send(edit).await;
        assert_eq!(refused(&answer).2, code);
        assert_eq!(refused(&answer).1, "invalid_client");
    }
    clock.advance(Duration::from_secs(600));
    assert_eq!(refused(&send(|_, _| {}).await).2, "AADSTS700024");
}

/// R63: a service account's token is exchanged, if issuer and subject are those that were federated.
#[tokio::test]
async fn a_workload_logs_in_with_its_service_account() {
    const ISSUER: &str = "https://oidc.example.org/cluster";
    const SUBJECT: &str = "system:serviceaccount:kube-system:kms";
    let (clock, vault, http) = lab().await;
    let app = vault
        .register([Credential::Federated {
            issuer: ISSUER.to_owned(),
            subject: SUBJECT.to_owned(),
        }])
        .unwrap();
    let hour = Duration::from_secs(3600);
    let ask = async |assertion: &str| {
        let fields = [
            ("client_id", app.client_id()),
            ("client_assertion_type", ASSERTION),
            ("client_assertion", assertion),
            ("scope", &scope(&vault)),
        ];
        token(&http, &vault, &fields).await
    };
    let issue = |issuer, subject| vault.service_account_token(issuer, subject, hour).unwrap();
    let good = issue(ISSUER, SUBJECT);
    let access = ask(&good).await.ok();
    let access = access["access_token"].as_str().unwrap();
    for (assertion, code) in [
        (issue("https://other", SUBJECT), "AADSTS700211"),
        (
            issue(ISSUER, "system:serviceaccount:default:kms"),
            "AADSTS700213",
        ),
        (access.to_owned(), "AADSTS50013"),
        ("a.b.c".to_owned(), "AADSTS50027"),
    ] {
        assert_eq!(refused(&ask(&assertion).await).2, code);
    }
    clock.advance(hour);
    assert_eq!(refused(&ask(&good).await).2, "AADSTS700024");
}

/// R8: a machine's identity, chosen by its ids or the only one there is.
#[tokio::test]
async fn a_machine_gets_tokens_for_its_identities() {
    let clock = ManualClock::new();
    let vault = Vault::builder()
        .clock(Arc::new(clock))
        .metadata("127.0.0.1:0".parse().unwrap())
        .start()
        .await
        .unwrap();
    let http = http(&vault);
    let base = format!(
        "{}/metadata/identity/oauth2/token",
        vault.metadata_url().unwrap()
    );
    let resource = format!("https://vault.localhost:{}", vault.address().port());
    let ask = async |header: Option<&str>, more: &str| {
        let url = format!("{base}?api-version=2018-02-01&resource={resource}{more}");
        let mut request = http.get(url);
        if let Some(header) = header {
            request = request.header("metadata", header);
        }
        Answer::read(request.send().await.unwrap()).await
    };
    let text = |answer: &Answer| {
        assert_eq!(answer.status.as_u16(), 400);
        answer.body["error_description"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(text(&ask(None, "").await).contains("metadata header"));
    assert_eq!(text(&ask(Some("true"), "").await), "Identity not found");
    let id = "/subscriptions/1/userAssignedIdentities/one";
    let user = Credential::UserAssigned {
        resource_id: id.to_owned(),
    };
    let one = vault.register([user.clone()]).unwrap();
    assert_eq!(
        ask(Some("true"), "").await.ok()["client_id"],
        one.client_id()
    );
    let two = vault.register([user]).unwrap();
    assert!(text(&ask(Some("true"), "").await).starts_with("Multiple user assigned"));
    for (more, expected) in [
        (format!("&client_id={}", two.client_id()), &two),
        (format!("&object_id={}", two.object_id()), &two),
        (format!("&msi_res_id={id}"), &one),
    ] {
        let answer = ask(Some("true"), &more).await.ok();
        assert_eq!(answer["client_id"], expected.client_id(), "{more}");
        assert_eq!(answer["expires_in"], "3599");
        assert_eq!(answer["expires_on"], (NOW + 3599).to_string());
    }
    let own = vault.register([Credential::SystemAssigned]).unwrap();
    let answer = ask(Some("true"), "").await.ok();
    assert_eq!(answer["client_id"], own.client_id());
    vault
        .key_vault()
        .grant(&own, Role::CryptoUser, Scope::Store);
    let client = Client {
        http: http.clone(),
        url: vault.vault_url(),
        token: answer["access_token"].as_str().unwrap().to_owned(),
    };
    client.get("/keys").await.ok();
    vault.disturb_tokens(Fault::Status(500), 1);
    assert_eq!(ask(Some("true"), "").await.status.as_u16(), 500);
    assert_eq!(vault.calls(Operation::ManagedIdentityToken), 9);
}

/// The storm of #52: the token service itself throttles.
#[tokio::test]
async fn the_token_service_has_its_own_bad_days() {
    let (_, vault, http) = lab().await;
    let app = vault.register([Credential::secret("s")]).unwrap();
    let scope = scope(&vault);
    let fields = [
        ("client_id", app.client_id()),
        ("client_secret", "s"),
        ("scope", &scope),
    ];
    let after = Some(Duration::from_secs(5));
    vault.disturb_tokens(Fault::Throttled { retry_after: after }, 1);
    vault.disturb_tokens(Fault::Status(503), 1);
    let throttled = token(&http, &vault, &fields).await;
    assert_eq!(throttled.status.as_u16(), 429);
    assert_eq!(throttled.header("retry-after"), Some("5"));
    let down = token(&http, &vault, &fields).await;
    assert_eq!(refused(&down).1, "temporarily_unavailable");
    token(&http, &vault, &fields).await.ok();
}
