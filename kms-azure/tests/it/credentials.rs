//! Every way to a token that needs no Azure around it.

use std::sync::Arc;
use std::time::Duration;

use kms_azure::credential::{AssertionAlgorithm, Authority, Credential, Identity, SecretSource};
use kms_azure::key_url::KeyUrl;
use kms_azure::vault::{Vault, VaultOptions};
use kms_core::{CallOptions, Error, ErrorKind, OsRandom, SecretBytes};
use kms_testkit::vault::{self, Fault, Operation, Role, Scope};

use crate::support::{Lab, SECRET, client_certificate};

const ISSUER: &str = "https://oidc.example/cluster";
const SUBJECT: &str = "system:serviceaccount:kube-system:kms";
const MINUTE: Duration = Duration::from_secs(60);

struct Case {
    lab: Lab,
    key: KeyUrl,
}

impl Case {
    async fn new() -> Self {
        let lab = Lab::new().await;
        let kid = lab.azure.key_vault().create_rsa_key("etcd", 2048).unwrap();
        let key = lab.key(&kid);
        Self { lab, key }
    }

    fn vault(&self, identity: Identity) -> Vault {
        let authority = Authority::new(&self.lab.azure.authority()).unwrap();
        let credential = Credential::new(
            identity,
            authority,
            &self.lab.transport,
            self.lab.clock(),
            Arc::new(OsRandom),
        );
        let options = VaultOptions::new(self.lab.clock());
        Vault::new(
            self.key.host().clone(),
            &credential,
            &self.lab.transport,
            options,
        )
        .unwrap()
    }

    async fn reads(&self, vault: &Vault) -> Result<(), Error> {
        vault
            .key(&self.key, &CallOptions::default())
            .await
            .map(drop)
    }

    fn tenant(&self) -> &str {
        self.lab.azure.tenant_id()
    }
}

fn given(secret: &str) -> SecretSource {
    SecretSource::given(SecretBytes::copy_from_slice(secret.as_bytes()))
}

#[tokio::test]
async fn a_client_certificate_signs_without_openssl() {
    let case = Case::new().await;
    let (identity, pem) = client_certificate(&case.lab);
    for algorithm in [AssertionAlgorithm::Ps256, AssertionAlgorithm::Rs256] {
        let identity = Identity::client_certificate(
            case.tenant(),
            identity.client_id(),
            given(&pem),
            algorithm,
        );
        case.reads(&case.vault(identity.unwrap())).await.unwrap();
    }
    let (_, other) = client_certificate(&case.lab);
    let wrong = Identity::client_certificate(
        case.tenant(),
        identity.client_id(),
        given(&other),
        AssertionAlgorithm::Ps256,
    );
    let error = case.reads(&case.vault(wrong.unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(
        error.remedy().contains("not registered"),
        "{}",
        error.remedy()
    );
}

#[tokio::test]
async fn a_certificate_file_is_one() {
    let case = Case::new().await;
    let (identity, pem) = client_certificate(&case.lab);
    let key_only = pem
        .split_inclusive("-----END PRIVATE KEY-----")
        .next()
        .unwrap();
    let certificate_only = &pem[key_only.len()..];
    for (bad, what) in [
        ("", "no private key"),
        ("hello", "no private key"),
        (key_only, "no certificate"),
        (certificate_only, "no private key"),
    ] {
        let identity = Identity::client_certificate(
            case.tenant(),
            identity.client_id(),
            given(bad),
            AssertionAlgorithm::Ps256,
        );
        let error = case
            .reads(&case.vault(identity.unwrap()))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(what), "{error}");
    }
}

/// A renewed secret is used with the next token: no restart.
#[tokio::test]
async fn a_secret_file_is_read_anew_for_every_token() {
    let case = Case::new().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "outdated\n").unwrap();
    let client = case.lab.identity.client_id();
    let identity = Identity::client_secret(case.tenant(), client, SecretSource::file(&path));
    let vault = case.vault(identity.unwrap());
    let error = case.reads(&vault).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.remedy().contains("not its id"), "{}", error.remedy());
    std::fs::write(&path, format!("{SECRET}\nignored\n")).unwrap();
    case.lab.clock.advance(MINUTE);
    case.reads(&vault).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    case.reads(&vault).await.unwrap();
    let missing = Identity::client_secret(case.tenant(), client, SecretSource::file(&path));
    let error = case.reads(&case.vault(missing.unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains("secret"), "{error}");
}

#[tokio::test]
async fn workload_identity() {
    let case = Case::new().await;
    let identity = case
        .lab
        .azure
        .register([vault::Credential::Federated {
            issuer: ISSUER.into(),
            subject: SUBJECT.into(),
        }])
        .unwrap();
    let store = case.lab.azure.key_vault();
    store.grant(&identity, Role::CryptoServiceEncryptionUser, Scope::Store);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let project = |subject: &str| {
        let token = case
            .lab
            .azure
            .service_account_token(ISSUER, subject, 10 * MINUTE);
        std::fs::write(&path, token.unwrap()).unwrap();
    };
    project(SUBJECT);
    let identity = Identity::workload(case.tenant(), identity.client_id(), &path).unwrap();
    let vault = case.vault(identity.clone());
    case.reads(&vault).await.unwrap();
    // An hour later both tokens have expired; Kubernetes has projected a new one meanwhile.
    case.lab.clock.advance(60 * MINUTE);
    project(SUBJECT);
    case.reads(&vault).await.unwrap();

    project("system:serviceaccount:default:other");
    let error = case.reads(&case.vault(identity.clone())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    std::fs::remove_file(&path).unwrap();
    let error = case.reads(&case.vault(identity)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(error.remedy().contains("mounted"), "{}", error.remedy());
}

#[tokio::test]
async fn a_tenant_and_a_client_that_are_not_there() {
    let case = Case::new().await;
    let nobody = "00000000-0000-0000-0000-000000000000";
    let client = case.lab.identity.client_id();
    for (tenant, client, remedy) in [
        (nobody, client, "tenant does not exist"),
        (case.tenant(), nobody, "client id is not known"),
    ] {
        let identity = Identity::client_secret(tenant, client, given(SECRET)).unwrap();
        let error = case.reads(&case.vault(identity)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.remedy().contains(remedy), "{}", error.remedy());
    }
}

/// Azure/kubernetes-kms#52: the token service throttles after a restart of all API servers.
#[tokio::test]
async fn a_token_service_that_throttles_is_asked_once() {
    let case = Case::new().await;
    let azure = &case.lab.azure;
    let retry_after = Some(30 * Duration::from_secs(1));
    azure.disturb_tokens(Fault::Throttled { retry_after }, None);
    let vault = case.vault(case.lab.identity());
    for _ in 0..50 {
        let error = case.reads(&vault).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled);
    }
    assert_eq!(azure.calls(Operation::Token), 1);
    azure.clear_faults();
    case.lab.clock.advance(MINUTE);
    case.reads(&vault).await.unwrap();
}

/// The vault moves to another tenant: its challenge says so, and the token has to be another one.
#[tokio::test]
async fn a_vault_that_moved_to_another_tenant() {
    let case = Case::new().await;
    let vault = case.vault(case.lab.identity());
    case.reads(&vault).await.unwrap();
    case.lab
        .azure
        .add_tenant("11111111-2222-3333-4444-555555555555");
    case.lab
        .azure
        .key_vault()
        .move_to_tenant("11111111-2222-3333-4444-555555555555");
    case.lab.clock.advance(MINUTE);
    let error = case.reads(&vault).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.remedy().contains("tenant"), "{}", error.remedy());
}
