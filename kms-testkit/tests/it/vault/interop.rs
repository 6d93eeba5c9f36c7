//! The official clients of another language, unchanged.

use core::time::Duration;
use std::process::Command;

use kms_testkit::vault::{Credential, Role, Scope, Vault};
use serde_json::json;

use super::client::SECRET;

const ISSUER: &str = "https://oidc.example.org/cluster";
const SUBJECT: &str = "system:serviceaccount:kube-system:kms";

/// D14 of the design, for Python: every operation of `azure-keyvault-keys`, allowed and forbidden,
/// logged in by secret, certificate, workload identity and managed identity.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs python3 with PyPI's azure-identity, azure-keyvault-keys and aiohttp"]
async fn the_clients_for_python_work_unchanged() {
    let vault = Vault::builder()
        .unlimited_creation()
        .admin()
        .metadata("127.0.0.1:0".parse().unwrap())
        .start()
        .await
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);

    let key = include_str!("../../../src/vault/material/pool/rsa-2048.pem");
    let signing = rcgen::KeyPair::from_pem(key).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["app".to_owned()])
        .unwrap()
        .self_signed(&signing)
        .unwrap()
        .pem();
    std::fs::write(
        path("app.pem"),
        format!("{}{certificate}", signing.serialize_pem()),
    )
    .unwrap();

    let operator = vault.register_operator(SECRET).unwrap();
    let identity = |credential, role: Option<Role>| {
        let identity = vault.register([credential]).unwrap();
        for store in [vault.key_vault(), vault.managed_hsm()] {
            if let Some(role) = role {
                store.grant(&identity, role, Scope::Store);
            }
        }
        identity
    };
    let user = Some(Role::CryptoServiceEncryptionUser);
    let nobody = identity(Credential::secret(SECRET), None);
    let service = identity(Credential::secret(SECRET), user);
    let certified = identity(Credential::Certificate(certificate), user);
    let workload = identity(
        Credential::Federated {
            issuer: ISSUER.to_owned(),
            subject: SUBJECT.to_owned(),
        },
        user,
    );
    let managed = identity(Credential::SystemAssigned, user);
    let token = vault
        .service_account_token(ISSUER, SUBJECT, Duration::from_secs(3600))
        .unwrap();
    let info = json!({
        "vault_url": vault.vault_url(),
        "managed_hsm_url": vault.managed_hsm_url(),
        "authority": vault.authority(),
        "tenant_id": vault.tenant_id(),
        "client_id": operator.client_id(),
        "client_secret": SECRET,
        "admin_url": vault.admin_url(),
        "metadata_url": vault.metadata_url(),
        "identities": {
            "nobody": {"client_id": nobody.client_id(), "client_secret": SECRET},
            "crypto_service_encryption_user": {
                "client_id": service.client_id(), "client_secret": SECRET,
            },
            "certificate": {"client_id": certified.client_id(), "path": path("app.pem")},
            "workload": {"client_id": workload.client_id(), "token": token},
            "managed": {"client_id": managed.client_id()},
        },
    });
    std::fs::write(path("info.json"), info.to_string()).unwrap();
    std::fs::write(path("ca.pem"), vault.ca_pem()).unwrap();
    let address = vault.address().ip();
    let hosts: String = vault
        .host_names()
        .iter()
        .map(|name| format!("{address} {name}\n"))
        .collect();
    std::fs::write(path("hosts"), hosts).unwrap();

    let files = ["info.json", "ca.pem", "hosts"].map(path);
    let output = tokio::task::spawn_blocking(move || {
        Command::new("python3")
            .arg("tests/interop/vault.py")
            .args(files)
            .output()
            .expect("python3 runs")
    })
    .await
    .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert_eq!(said.lines().count(), 18, "{said}");
}
