//! Every documented way to be refused, with its exact body.

use core::time::Duration;
use std::sync::Arc;

use kms_core::Clock as _;
use kms_testkit::ManualClock;
use kms_testkit::vault::{Credential, Fault, KeyStore, Network, Operation, Role, Scope, Vault};
use serde_json::{Value, json};

use super::client::{Answer, Client, SECRET, http, token};

const DAY: Duration = Duration::from_secs(86_400);

/// A vault with the key `kek`, and somebody who may do everything.
struct Lab {
    clock: ManualClock,
    vault: Vault,
    store: KeyStore,
    client: Client,
}

impl Lab {
    async fn new() -> Self {
        let clock = ManualClock::new();
        let vault = Vault::builder()
            .clock(Arc::new(clock.clone()))
            .token_lifetime(DAY * 400)
            .start()
            .await
            .unwrap();
        let store = vault.key_vault();
        store.create_rsa_key("kek", 2048).unwrap();
        let client = Client::operator(&vault, &store).await;
        Self {
            clock,
            vault,
            store,
            client,
        }
    }

    async fn encrypt(&self) -> Answer {
        let body = json!({"alg": "RSA-OAEP-256", "value": "AAAA"});
        self.client.post("/keys/kek/encrypt", body).await
    }
}

/// A refused call: what to do first, the status, code, inner code, and how the message starts.
macro_rules! rows {
    ($($name:ident: $lab:ident => $call:expr, $status:literal, $code:literal, $inner:literal, $message:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let $lab = Lab::new().await;
            let answer: Answer = $call;
            let (status, code, inner, message) = answer.error();
            assert_eq!((status, code, inner), ($status, $code, $inner), "{message}");
            let expected: &str = &$message;
            assert!(message.starts_with(expected), "{message}");
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
            assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
        }
    )*};
}

async fn with_token(lab: &Lab, token: &str) -> Answer {
    let client = Client {
        token: token.to_owned(),
        ..lab.client.clone()
    };
    client.get("/keys/kek").await
}

async fn token_for(lab: &Lab, scope: &str) -> String {
    let app = lab.vault.register([Credential::secret(SECRET)]).unwrap();
    let fields = [
        ("client_id", app.client_id()),
        ("client_secret", SECRET),
        ("scope", scope),
    ];
    let answer = token(&lab.client.http, &lab.vault, &fields).await.ok();
    answer["access_token"].as_str().unwrap().to_owned()
}

rows! {
    no_token: lab => {
        let url = format!("{}/keys/kek?api-version=7.6", lab.client.url);
        Answer::read(http(&lab.vault).get(url).send().await.unwrap()).await
    }, 401, "Unauthorized", "", "Request is missing a Bearer or PoP token.";

    a_token_of_nobody: lab => {
        let (head, _) = lab.client.token.rsplit_once('.').unwrap();
        with_token(&lab, &format!("{head}.AAAA")).await
    }, 401, "Unauthorized", "", "Error validating token";

    an_expired_token: lab => {
        lab.clock.advance(DAY * 400);
        lab.client.get("/keys/kek").await
    }, 401, "Unauthorized", "", "[TokenExpired] ";

    a_token_for_somebody_else: lab => {
        let other = token_for(&lab, "https://management.azure.com/.default").await;
        with_token(&lab, &other).await
    }, 401, "Unauthorized", "", "AKV10022: Invalid audience.";

    a_token_for_an_hsm: lab => {
        let hsm = Client::operator(&lab.vault, &lab.vault.managed_hsm()).await;
        with_token(&lab, &hsm.token).await
    }, 401, "Unauthorized", "", "AKV10022: Invalid audience.";

    a_vault_that_moved: lab => {
        lab.store.move_to_tenant("aaaaaaaa-0000-0000-0000-000000000000");
        lab.client.get("/keys/kek").await
    }, 401, "Unauthorized", "", format!(
        "AKV10032: Invalid issuer. Expected one of \
         https://sts.windows.net/aaaaaaaa-0000-0000-0000-000000000000/, found \
         https://sts.windows.net/{}/.",
        lab.vault.tenant_id(),
    );

    without_a_role: lab => {
        let (_, stranger) = Client::stranger(&lab.vault, &lab.store).await;
        let answer = stranger.get("/keys/kek").await;
        let message = answer.error().3;
        for line in [
            "Action: 'Microsoft.KeyVault/vaults/keys/read'",
            "Assignment: (not found)",
            "DecisionReason: null",
            "Vault: kms-testkit;location=",
            "/vaults/kms-testkit/keys/kek'",
        ] {
            assert!(message.contains(line), "{line}: {message}");
        }
        answer
    }, 403, "Forbidden", "ForbiddenByRbac",
        "Caller is not authorized to perform action on resource.";

    behind_a_firewall: lab => {
        lab.store.set_network(Network::SelectedAddresses);
        lab.client.get("/keys/kek").await
    }, 403, "Forbidden", "ForbiddenByFirewall",
        "Client address is not authorized and caller is not a trusted service.";

    behind_a_private_link: lab => {
        lab.store.set_network(Network::Private);
        lab.client.get("/keys/kek").await
    }, 403, "Forbidden", "ForbiddenByConnection",
        "Public network access is disabled and request is not from a trusted service nor via an approved private link.";

    without_an_access_policy: lab => {
        lab.store.use_access_policies(true);
        let body = json!({"alg": "RSA-OAEP-256", "value": "AAAA"});
        lab.client.post("/keys/kek/decrypt", body).await
    }, 403, "Forbidden", "ForbiddenByPolicy", {
        "The user, group or application 'appid="
    };

    a_disabled_key: lab => {
        lab.store.set_enabled("kek", None, false).unwrap();
        lab.encrypt().await
    }, 403, "Forbidden", "KeyDisabled", "Operation encrypt is not allowed on a disabled key.";

    an_expired_key: lab => {
        let now = lab.clock.wall_time();
        lab.store.set_validity("kek", None, None, Some(now)).unwrap();
        lab.encrypt().await
    }, 403, "Forbidden", "KeyExpired", "Operation encrypt is not allowed on an expired key.";

    a_key_before_its_time: lab => {
        let later = lab.clock.wall_time() + DAY;
        lab.store.set_validity("kek", None, Some(later), None).unwrap();
        lab.encrypt().await
    }, 403, "Forbidden", "KeyNotYetValid", "Operation encrypt is not allowed on ";

    a_key_for_something_else: lab => {
        lab.store.set_key_ops("kek", None, &["wrapKey", "unwrapKey"]).unwrap();
        lab.encrypt().await
    }, 403, "Forbidden", "KeyOperationForbidden", "Operation encrypt is not permitted on this key.";

    a_key_that_never_was: lab => lab.client.get("/keys/dek").await,
        404, "KeyNotFound", "",
        "A key with (name/id) dek was not found in this key vault. If you recently deleted this key you may be able to recover it";

    a_version_that_never_was: lab => lab.client.get("/keys/kek/0123").await,
        404, "KeyNotFound", "", "A key with (name/id) kek/0123 was not found in this key vault.";

    a_deleted_key_looks_as_if_it_never_was: lab => {
        lab.store.delete_key("kek").unwrap();
        lab.encrypt().await
    }, 404, "KeyNotFound", "", "A key with (name/id) kek was not found in this key vault.";

    creating_over_a_deleted_key: lab => {
        lab.store.delete_key("kek").unwrap();
        lab.client.post("/keys/kek/create", json!({"kty": "RSA"})).await
    }, 409, "Conflict", "ObjectIsDeletedButRecoverable",
        "Key kek is currently in a deleted but recoverable state, and its name cannot be reused";

    creating_over_a_key_that_is_being_deleted: lab => {
        let vault = Vault::builder()
            .clock(Arc::new(lab.clock.clone()))
            .deletion_takes(DAY)
            .start()
            .await
            .unwrap();
        let store = vault.key_vault();
        store.create_rsa_key("kek", 2048).unwrap();
        store.delete_key("kek").unwrap();
        let client = Client::operator(&vault, &store).await;
        assert_eq!(client.get("/deletedkeys/kek").await.error().0, 404);
        let recovering = client.post("/deletedkeys/kek/recover", json!({})).await;
        assert_eq!(recovering.error().2, "ObjectIsBeingDeleted");
        client.post("/keys/kek/create", json!({"kty": "RSA"})).await
    }, 409, "Conflict", "ObjectIsBeingDeleted", "Key kek is currently being deleted.";

    an_algorithm_of_no_rsa_key: lab => {
        let body = json!({"alg": "A256KW", "value": "AAAA"});
        lab.client.post("/keys/kek/wrapkey", body).await
    }, 400, "BadParameter", "", "Algorithm A256KW is not supported";

    a_value_that_is_no_base64url: lab => {
        let body = json!({"alg": "RSA-OAEP-256", "value": "AAA="});
        lab.client.post("/keys/kek/wrapkey", body).await
    }, 400, "BadParameter", "", "Property value has invalid value";

    a_body_that_is_no_json: lab => {
        lab.client.post("/keys/kek/wrapkey", json!(["RSA-OAEP-256"])).await
    }, 400, "BadParameter", "", "The request body is not acceptable";

    no_api_version: lab => lab.client.call_with("GET", "/keys/kek", "", Value::Null).await,
        400, "BadParameter", "", "api-version must be specified";

    an_unknown_api_version: lab => {
        lab.client.call_with("GET", "/keys/kek", "api-version=9.9", Value::Null).await
    }, 400, "BadParameter", "", "The specified version (9.9) is not recognized.";

    an_aes_key_in_a_vault: lab => {
        lab.client.post("/keys/aes/create", json!({"kty": "oct"})).await
    }, 400, "BadParameter", "KeyTypeNotSupported", "Invalid kty value: oct";

    too_many_calls: lab => {
        lab.store.disturb(Operation::Encrypt, Fault::Throttled { retry_after: None }, 1);
        let answer = lab.encrypt().await;
        assert_eq!(answer.header("retry-after"), None);
        answer
    }, 429, "Throttled", "",
        "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached";

    out_of_order: lab => {
        lab.store.disturb(None, Fault::Status(500), 1);
        lab.encrypt().await
    }, 500, "InternalServerError", "", "";

    not_there_now: lab => {
        lab.store.disturb(None, Fault::Status(503), 1);
        lab.encrypt().await
    }, 503, "ServiceUnavailable", "", "";

    not_in_time: lab => {
        lab.store.disturb(None, Fault::Status(504), 1);
        lab.encrypt().await
    }, 504, "GatewayTimeout", "", "";
}

/// R8, R19: access policies rule until roles do, and the other way round.
#[tokio::test]
async fn turning_to_roles_puts_every_access_policy_out_of_force() {
    let lab = Lab::new().await;
    let (identity, client) = Client::stranger(&lab.vault, &lab.store).await;
    lab.store.use_access_policies(true);
    lab.store
        .set_access_policy(&identity, &[Operation::Encrypt, Operation::Decrypt]);
    let encrypt = || {
        client.post(
            "/keys/kek/encrypt",
            json!({"alg": "RSA1_5", "value": "AAAA"}),
        )
    };
    let sealed = encrypt().await.ok();
    let body = json!({"alg": "RSA1_5", "value": sealed["value"]});
    assert_eq!(
        client.post("/keys/kek/decrypt", body).await.ok()["value"],
        "AAAA"
    );
    let refused = client.get("/keys/kek").await;
    assert!(
        refused
            .error()
            .3
            .contains("does not have keys get permission on key vault 'kms-testkit;location=")
    );
    lab.store.use_access_policies(false);
    assert_eq!(encrypt().await.error().2, "ForbiddenByRbac");
    lab.store.use_access_policies(true);
    encrypt().await.ok();
}

/// R70: a grant takes its time, and so does taking it away.
#[tokio::test]
async fn roles_propagate_in_their_own_time() {
    let lab = Lab::new().await;
    let (identity, client) = Client::stranger(&lab.vault, &lab.store).await;
    let role = Role::CryptoServiceEncryptionUser;
    let minute = Duration::from_secs(60);
    lab.store
        .grant_after(&identity, role, Scope::Store, minute * 10);
    let refused = client.get("/keys/kek").await;
    assert_eq!(refused.error().2, "ForbiddenByRbac");
    lab.clock.advance(minute * 10);
    client.get("/keys/kek").await.ok();
    lab.store
        .revoke_after(&identity, role, &Scope::Store, minute);
    client.get("/keys/kek").await.ok();
    lab.clock.advance(minute);
    assert_eq!(client.get("/keys/kek").await.error().2, "ForbiddenByRbac");
}
