//! `kms doctor azure`, against the loopback vault.

use std::path::Path;

use kms_testkit::vault::{Credential, Identity, Role, Scope, Vault};
use tempfile::TempDir;

use crate::command::{Ran, kms};

const SECRET: &str = "correct-horse-battery-staple";

struct Ward {
    runtime: tokio::runtime::Runtime,
    azure: Vault,
    identity: Identity,
    key: String,
    directory: TempDir,
}

impl Ward {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let azure = runtime.block_on(Vault::builder().start()).unwrap();
        let identity = azure.register([Credential::secret(SECRET)]).unwrap();
        let store = azure.key_vault();
        store.grant(&identity, Role::CryptoServiceEncryptionUser, Scope::Store);
        let key = store.create_rsa_key("etcd", 2048).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), azure.ca_pem()).unwrap();
        std::fs::write(directory.path().join("secret"), SECRET).unwrap();
        Self {
            runtime,
            azure,
            identity,
            key,
            directory,
        }
    }

    fn path(&self, name: &str) -> String {
        let path: &Path = self.directory.path();
        path.join(name).to_str().unwrap().to_owned()
    }

    fn examine(&self, more: &[&str]) -> Ran {
        let ca = self.path("ca.pem");
        let identity = format!("secret:{}", self.path("secret"));
        let authority = self.azure.authority();
        let resolve: Vec<String> = self
            .azure
            .host_names()
            .iter()
            .map(|host| format!("--azure-address={host}={}", self.azure.address()))
            .collect();
        let mut arguments = vec![
            "doctor",
            "azure",
            "--key-id",
            &self.key,
            "--identity",
            &identity,
            "--azure-tenant",
            self.azure.tenant_id(),
            "--azure-client-id",
            self.identity.client_id(),
            "--azure-authority",
            &authority,
            "--azure-ca",
            &ca,
            "--azure-vault-domain",
            "vault.localhost",
        ];
        arguments.extend(resolve.iter().map(String::as_str));
        arguments.extend(more);
        let _serving = self.runtime.enter();
        kms(&arguments)
    }
}

#[test]
fn a_healthy_key_is_exit_code_0() {
    let ward = Ward::new();
    let ran = ward.examine(&["--json"]).ok();
    let report = ran.json();
    assert_eq!(report["summary"]["fail"], 0, "{report}");
    assert_eq!(report["checks"][0]["id"], "identity");
    assert_eq!(report["key"], ward.key.as_str());
    let ran = ward.examine(&[]).ok();
    let table = ran.text();
    assert!(table.contains("ok       unwrap"), "{table}");
    assert!(table.contains("az keyvault update"), "{table}");
    assert!(!table.contains(SECRET));
}

/// Whether the vault keeps up with a restart of all API servers.
#[test]
fn the_call_rate_is_that_of_this_configuration() {
    let ward = Ward::new();
    let rate = |more: &[&str]| {
        let report = ward.examine(&[&["--json"], more].concat()).ok().json();
        let mut checks = report["checks"].as_array().unwrap().iter();
        let found = checks.find(|check| check["id"] == "call_rate").unwrap();
        (
            found["status"].as_str().unwrap().to_owned(),
            found["evidence"].as_str().unwrap().to_owned(),
        )
    };
    let (status, evidence) = rate(&[]);
    assert_eq!(status, "ok");
    for said in [
        "this examination made 4 calls of 4 units",
        "the vault throttled 0",
        "makes 13 calls in an hour",
        "4000 operations of this key in 10 s",
    ] {
        assert!(evidence.contains(said), "{said} is not in {evidence}");
    }
    let eager = ["--azure-poll", "60", "--azure-wrap-remotely"];
    let (_, evidence) = rate(&eager);
    assert!(evidence.contains("makes 62 calls in an hour"), "{evidence}");
    let (status, evidence) = rate(&["--deks", "5000"]);
    assert_eq!(status, "warn");
    assert!(evidence.contains("the last after 15 s"), "{evidence}");
}

#[test]
fn a_missing_role_is_exit_code_1_with_the_command_that_mends_it() {
    let ward = Ward::new();
    let store = ward.azure.key_vault();
    let role = Role::CryptoServiceEncryptionUser;
    store.revoke(&ward.identity, role, &Scope::Store);
    let ran = ward.examine(&[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let table = String::from_utf8(ran.stdout).unwrap();
    assert!(table.contains("az role assignment create"), "{table}");
    assert!(
        ran.stderr.contains("the key cannot serve: read"),
        "{}",
        ran.stderr
    );
}

/// R8.
#[test]
fn a_system_assigned_identity_is_exit_code_1() {
    let ran = kms(&[
        "doctor",
        "azure",
        "--key-id",
        "https://kv1.vault.localhost/keys/etcd",
        "--azure-vault-domain",
        "vault.localhost",
        "--azure-address",
        "kv1.vault.localhost=127.0.0.1:1",
        "--identity",
        "system",
    ]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let table = String::from_utf8(ran.stdout).unwrap();
    assert!(table.contains("az identity create"), "{table}");
}
