//! Commands over HTTP, as test programs in other languages give them.

use kms_testkit::vault::Vault;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Answer, Client, token};

async fn lab() -> (Vault, Client) {
    let vault = Vault::builder().admin().start().await.unwrap();
    let store = vault.key_vault();
    store.create_rsa_key("kek", 2048).unwrap();
    let client = Client::operator(&vault, &store).await;
    (vault, client)
}

async fn command(
    vault: &Vault,
    client: &Client,
    method: Method,
    path: &str,
    body: Value,
) -> Answer {
    let url = format!("{}{path}", vault.admin_url().unwrap());
    let request = client.http.request(method, url).body(body.to_string());
    Answer::read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn the_clock_moves_and_tokens_grow_old() {
    let (vault, client) = lab().await;
    client.get("/keys/kek").await.ok();
    let body = json!({"advance_seconds": 3600});
    let answer = command(&vault, &client, Method::POST, "/clock", body).await;
    assert!(answer.ok()["now"].as_i64().unwrap() > 1_767_225_600);
    let refused = client.get("/keys/kek").await;
    assert!(refused.error().3.starts_with("[TokenExpired]"));
}

#[tokio::test]
async fn faults_are_planned_and_cleared() {
    let (vault, client) = lab().await;
    for (fault, status) in [
        (json!({"fault": "throttled", "retry_after_seconds": 3}), 429),
        (json!({"fault": "status", "status": 503}), 503),
        (json!({"fault": "proxy_status", "status": 502}), 502),
    ] {
        let mut body = json!({"store": "vault", "operation": "get"});
        body.as_object_mut()
            .unwrap()
            .extend(fault.as_object().unwrap().clone());
        command(&vault, &client, Method::POST, "/faults", body)
            .await
            .ok();
        client.get("/keys").await.ok();
        assert_eq!(client.get("/keys/kek").await.status.as_u16(), status);
        assert_eq!(client.get("/keys/kek").await.status.as_u16(), status);
        command(&vault, &client, Method::DELETE, "/faults", json!({}))
            .await
            .ok();
        client.get("/keys/kek").await.ok();
    }
    for fault in ["drop", "truncated"] {
        let body = json!({"store": "vault", "fault": fault, "times": 1});
        command(&vault, &client, Method::POST, "/faults", body)
            .await
            .ok();
        let sent = client.send("GET", "/keys", "api-version=7.6", Value::Null);
        let answered = match sent.await {
            Ok(response) => response.bytes().await.is_ok(),
            Err(_) => false,
        };
        assert!(!answered, "{fault}");
    }
    let body = json!({"store": "tokens", "fault": "status", "status": 500, "times": 1});
    command(&vault, &client, Method::POST, "/faults", body)
        .await
        .ok();
    let answer = token(&client.http, &vault, &[("client_id", "x")]).await;
    assert_eq!(answer.status.as_u16(), 500);
    let nonsense = json!({"store": "vault", "fault": "earthquake"});
    let refused = command(&vault, &client, Method::POST, "/faults", nonsense).await;
    assert_eq!(refused.error().0, 400);
}

#[tokio::test]
async fn identities_roles_networks_and_counters() {
    let (vault, client) = lab().await;
    let body = json!({"secret": "hush"});
    let made = command(&vault, &client, Method::POST, "/identities", body)
        .await
        .ok();
    let scope = format!(
        "{}/.default",
        vault.vault_url().replacen("kms-testkit.", "", 1)
    );
    let fields = [
        ("client_id", made["client_id"].as_str().unwrap()),
        ("client_secret", "hush"),
        ("scope", &scope),
    ];
    let answer = token(&client.http, &vault, &fields).await;
    let stranger = Client {
        token: answer.ok()["access_token"].as_str().unwrap().to_owned(),
        ..client.clone()
    };
    let get = || stranger.get("/keys/kek");
    assert_eq!(get().await.error().2, "ForbiddenByRbac");
    let grant = json!({
        "store": "vault", "object_id": made["object_id"], "role": "CryptoUser", "key": "kek",
    });
    command(&vault, &client, Method::POST, "/roles", grant.clone())
        .await
        .ok();
    get().await.ok();
    command(&vault, &client, Method::DELETE, "/roles", grant)
        .await
        .ok();
    assert_eq!(get().await.error().2, "ForbiddenByRbac");

    let body = json!({"store": "vault", "network": "Private"});
    command(&vault, &client, Method::POST, "/network", body)
        .await
        .ok();
    let refused = client.get("/keys/kek").await;
    assert_eq!(refused.error().2, "ForbiddenByConnection");

    let calls = command(&vault, &client, Method::GET, "/calls", json!({})).await;
    let calls = calls.ok();
    assert_eq!(calls["vault"]["get"], 4);
    assert_eq!(calls["tokens"]["token"], 2);
    assert_eq!(calls["managed_hsm"], json!({}));
}

#[tokio::test]
async fn who_does_not_know_the_path_commands_nothing() {
    let (vault, client) = lab().await;
    let url = vault.admin_url().unwrap();
    let (base, _) = url.rsplit_once('/').unwrap();
    for url in [format!("{base}/calls"), format!("{base}/guess/calls")] {
        let answer = Answer::read(client.http.get(url).send().await.unwrap()).await;
        assert_eq!(answer.error().0, 404);
    }
    let unasked = Vault::builder().start().await.unwrap();
    assert_eq!(unasked.admin_url(), None);
    assert!(!unasked.host_names().contains(&"admin.localhost".to_owned()));
}
