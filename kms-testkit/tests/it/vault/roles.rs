//! Which role may do what, in a vault and in an HSM.

use kms_testkit::vault::{Role, Scope, Vault};
use serde_json::{Value, json};

use super::client::Client;

/// A call of every kind that a role decides on. The key is deleted in between, so all that matters
/// is whether the answer is `ForbiddenByRbac`.
fn calls() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        ("get", "GET", "/keys/kek"),
        ("list", "GET", "/keys/kek/versions"),
        ("encrypt", "POST", "/keys/kek/encrypt"),
        ("decrypt", "POST", "/keys/kek/decrypt"),
        ("wrap", "POST", "/keys/kek/wrapkey"),
        ("unwrap", "POST", "/keys/kek/unwrapkey"),
        ("sign", "POST", "/keys/kek/sign"),
        ("verify", "POST", "/keys/kek/verify"),
        ("update", "PATCH", "/keys/kek"),
        ("backup", "POST", "/keys/kek/backup"),
        ("release", "POST", "/keys/kek/release"),
        ("create", "POST", "/keys/kek/create"),
        ("import", "PUT", "/keys/kek"),
        ("rotate", "POST", "/keys/kek/rotate"),
        ("getpolicy", "GET", "/keys/kek/rotationpolicy"),
        ("setpolicy", "PUT", "/keys/kek/rotationpolicy"),
        ("delete", "DELETE", "/keys/kek"),
        ("recover", "POST", "/deletedkeys/kek/recover"),
        ("purge", "DELETE", "/deletedkeys/kek"),
    ]
}

async fn allowed(vault: &Vault, hsm: bool, role: Role, scope: Scope) -> Vec<&'static str> {
    let store = if hsm {
        vault.managed_hsm()
    } else {
        vault.key_vault()
    };
    let (identity, client) = Client::stranger(vault, &store).await;
    store.grant(&identity, role, scope);
    let mut allowed = Vec::new();
    for (name, method, path) in calls() {
        let answer = client.call(method, path, json!({})).await;
        let inner = answer.body.pointer("/error/innererror/code");
        if inner.and_then(Value::as_str) != Some("ForbiddenByRbac") {
            allowed.push(name);
        }
    }
    allowed
}

const USER: [&str; 10] = [
    "get", "list", "encrypt", "decrypt", "wrap", "unwrap", "sign", "verify", "update", "backup",
];
const SERVICE: [&str; 4] = ["get", "list", "wrap", "unwrap"];

/// R20: what the roles of the requirements give, and no more.
#[tokio::test]
async fn each_role_gives_what_its_table_says() {
    let vault = Vault::builder().start().await.unwrap();
    let all: Vec<&str> = calls().iter().map(|(name, ..)| *name).collect();
    let hsm_user: Vec<&str> = all
        .iter()
        .copied()
        .filter(|name| !["recover", "purge"].contains(name))
        .collect();
    for (role, hsm, expected) in [
        (Role::CryptoOfficer, false, all),
        (Role::CryptoUser, false, USER.to_vec()),
        (Role::CryptoServiceEncryptionUser, false, SERVICE.to_vec()),
        (Role::CryptoServiceReleaseUser, false, vec!["release"]),
        (Role::Contributor, false, vec![]),
        (Role::CryptoOfficer, true, vec!["recover", "purge"]),
        (Role::CryptoUser, true, hsm_user),
        (Role::CryptoServiceEncryptionUser, true, SERVICE.to_vec()),
        (Role::CryptoServiceReleaseUser, true, vec!["release"]),
        (Role::CryptoAuditor, true, vec!["get", "list"]),
    ] {
        let found = allowed(&vault, hsm, role, Scope::Store).await;
        assert_eq!(found, expected, "{role:?} hsm={hsm}");
    }
}

#[tokio::test]
async fn a_role_for_one_key_is_none_for_another() {
    let vault = Vault::builder().start().await.unwrap();
    let hsm = vault.managed_hsm();
    hsm.create_aes_key("mine", 256).unwrap();
    hsm.create_aes_key("yours", 256).unwrap();
    let (identity, client) = Client::stranger(&vault, &hsm).await;
    let role = Role::CryptoServiceEncryptionUser;
    hsm.grant(&identity, role, Scope::key("mine"));
    let body = json!({"alg": "A256KW", "value": "AAAAAAAAAAAAAAAAAAAAAA"});
    client.post("/keys/mine/wrapkey", body.clone()).await.ok();
    let refused = client.post("/keys/yours/wrapkey", body).await;
    assert_eq!(refused.error().2, "ForbiddenByRbac");
    assert!(
        refused
            .error()
            .3
            .contains("'Microsoft.KeyVault/managedHsm/keys/wrap/action'")
    );
    // A list is of the whole HSM.
    assert_eq!(client.get("/keys").await.error().2, "ForbiddenByRbac");
    hsm.revoke(&identity, role, &Scope::key("mine"));
    assert_eq!(client.get("/keys/mine").await.error().0, 403);
}

/// What is taken away is what was named, and nothing that looks like it.
#[tokio::test]
async fn revoking_one_role_leaves_the_others() {
    let vault = Vault::builder().start().await.unwrap();
    let store = vault.key_vault();
    store.create_rsa_key("kek", 2048).unwrap();
    let (identity, client) = Client::stranger(&vault, &store).await;
    let (other, _) = Client::stranger(&vault, &store).await;
    let role = Role::CryptoServiceEncryptionUser;
    store.grant(&identity, role, Scope::Store);
    for (whose, what, scope) in [
        (&other, role, Scope::Store),
        (&identity, Role::CryptoUser, Scope::Store),
        (&identity, role, Scope::key("kek")),
    ] {
        store.revoke(whose, what, &scope);
        client.get("/keys/kek").await.ok();
    }
    store.revoke(&identity, role, &Scope::Store);
    assert_eq!(client.get("/keys/kek").await.error().2, "ForbiddenByRbac");
    // Given once more, it counts once more.
    store.grant(&identity, role, Scope::Store);
    client.get("/keys/kek").await.ok();
}
