//! One test for each outcome of each check.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kms_azure::credential::{Authority, Identity, SecretSource};
use kms_azure::doctor::{Caller, CheckId, DoctorOptions, Report, Status, run};
use kms_azure::key_url::{KeyUrl, Service};
use kms_azure::provider::{AesMode, AesSize, Operations};
use kms_azure::transport::TransportOptions;
use kms_core::{Clock as _, SecretBytes};
use kms_testkit::vault::{self, Fault, KeyStore, Network, Operation, Role, Scope};

use crate::support::{Lab, SECRET, create, hosts, version_of, versionless};

const NAME: &str = "etcd";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A loopback Azure with a key, and who examines it.
struct Ward {
    lab: Lab,
    store: KeyStore,
    kid: String,
}

impl Ward {
    async fn new(kind: &str) -> Self {
        let lab = Lab::with(|builder| builder.throttle_scale(None).soft_delete(90, true)).await;
        let store = lab.azure.key_vault();
        let kid = create(&store, NAME, kind);
        Self { lab, store, kid }
    }

    async fn in_hsm(kind: &str) -> Self {
        let mut ward = Self::new("RSA-2048").await;
        ward.store = ward.lab.azure.managed_hsm();
        ward.kid = create(&ward.store, NAME, kind);
        ward
    }

    fn options(&self) -> DoctorOptions {
        self.options_for(self.lab.key(versionless(&self.kid)))
    }

    fn options_for(&self, key: KeyUrl) -> DoctorOptions {
        DoctorOptions::new(key, Caller::Identity(self.lab.identity()), self.lab.clock())
            .with_authority(Authority::new(&self.lab.azure.authority()).unwrap())
            .with_transport(trusting(&self.lab.azure))
    }

    async fn examine(&self) -> Report {
        examined(self.options()).await
    }

    fn revoke(&self) {
        let role = Role::CryptoServiceEncryptionUser;
        self.store.revoke(&self.lab.identity, role, &Scope::Store);
    }

    /// Access policies instead of roles, with these operations.
    fn allow_only(&self, operations: &[Operation]) {
        self.store.use_access_policies(true);
        self.store.set_access_policy(&self.lab.identity, operations);
    }
}

fn trusting(azure: &vault::Vault) -> TransportOptions {
    let options = TransportOptions::default()
        .with_only_ca_pem(azure.ca_pem().as_bytes())
        .unwrap();
    azure.host_names().iter().fold(options, |options, host| {
        options.with_address(host, azure.address())
    })
}

/// Every report: all checks, in order; a remedy for whatever is not well; no secret.
async fn examined(options: DoctorOptions) -> Report {
    let report = run(options).await;
    println!("{report}\n");
    let ids: Vec<CheckId> = report.checks.iter().map(|check| check.id).collect();
    assert_eq!(ids, CheckId::ALL);
    for check in &report.checks {
        let is_well = matches!(check.status, Status::Ok | Status::Skipped);
        assert_eq!(check.remedy.is_none(), is_well, "{check:?}");
        assert!(!check.evidence.is_empty());
    }
    let json = serde_json::json!(report).to_string();
    for text in [json, report.to_string()] {
        assert!(!text.contains(SECRET));
        // The beginning of every token.
        assert!(!text.contains("eyJ"));
    }
    report
}

#[track_caller]
fn check(report: &Report, id: CheckId, status: Status, says: &str) {
    let check = report.check(id).unwrap();
    assert_eq!(check.status, status, "{report}");
    let remedy = check.remedy.as_deref().unwrap_or_default();
    assert!(
        format!("{} | {remedy}", check.evidence).contains(says),
        "{says:?} is not in {check:?}"
    );
}

/// This check fails, everything before it does not, and all from `next` on but the control plane's
/// own is skipped with its name.
#[track_caller]
fn stops_at(report: &Report, id: CheckId, says: &str) {
    check(report, id, Status::Fail, says);
    assert!(report.summary.has_failed());
    assert_eq!(report.summary.fail, 1, "{report}");
    for later in [CheckId::Wrap, CheckId::Unwrap, CheckId::Latency] {
        check(report, later, Status::Skipped, id.as_str());
    }
}

fn statuses(report: &Report, expected: Status) -> Vec<CheckId> {
    let of_status = report
        .checks
        .iter()
        .filter(|check| check.status == expected);
    of_status.map(|check| check.id).collect()
}

#[tokio::test]
async fn a_healthy_key_of_every_kind_passes() {
    for kind in ["RSA-2048", "RSA-3072", "RSA-4096"] {
        let ward = Ward::new(kind).await;
        let report = ward.examine().await;
        assert_eq!(
            statuses(&report, Status::Unknown),
            [CheckId::Firewall, CheckId::AksRoles, CheckId::AksView]
        );
        assert_eq!(report.summary.ok, CheckId::ALL.len() - 3, "{report}");
        check(&report, CheckId::Key, Status::Ok, &ward.kid);
        check(
            &report,
            CheckId::Tenant,
            Status::Ok,
            ward.lab.azure.tenant_id(),
        );
    }
    let ward = Ward::in_hsm("oct-256").await;
    assert!(!ward.examine().await.summary.has_failed());
    let gcm = ward.options().with_aes(AesMode::Gcm(AesSize::Aes256));
    let report = examined(gcm).await;
    check(
        &report,
        CheckId::Wrap,
        Status::Fail,
        "Managed HSM Crypto User",
    );
    ward.store
        .grant(&ward.lab.identity, Role::CryptoUser, Scope::Store);
    let gcm = ward.options().with_aes(AesMode::Gcm(AesSize::Aes256));
    assert!(!examined(gcm).await.summary.has_failed());
}

/// It reads, lists, wraps and unwraps once each, whatever it finds.
#[tokio::test]
async fn it_changes_nothing() {
    use Operation as O;
    let ward = Ward::new("RSA-2048").await;
    ward.examine().await;
    for once in [O::Get, O::ListVersions, O::WrapKey, O::UnwrapKey, O::Token] {
        assert_eq!(ward.lab.azure.calls(once), 1, "{once}");
    }
    ward.store.delete_key(NAME).unwrap();
    ward.examine().await;
    ward.store.set_network(Network::Private);
    ward.examine().await;
    for never in [
        O::Create,
        O::Import,
        O::Update,
        O::Encrypt,
        O::Decrypt,
        O::Sign,
        O::Verify,
        O::Release,
        O::Rotate,
        O::SetRotationPolicy,
        O::Delete,
        O::Recover,
        O::Purge,
        O::Backup,
        O::Restore,
        O::RandomBytes,
    ] {
        assert_eq!(ward.lab.azure.calls(never), 0, "{never}");
    }
    // R19: encrypt and decrypt in their place.
    let ward = Ward::new("RSA-2048").await;
    ward.store
        .grant(&ward.lab.identity, Role::CryptoUser, Scope::Store);
    examined(ward.options().with_operations(Operations::EncryptDecrypt)).await;
    for (operation, calls) in [
        (O::Encrypt, 1),
        (O::Decrypt, 1),
        (O::WrapKey, 0),
        (O::UnwrapKey, 0),
    ] {
        assert_eq!(ward.store.calls(operation), calls, "{operation}");
    }
}

/// R8.
#[tokio::test]
async fn a_system_assigned_identity_fails() {
    let ward = Ward::new("RSA-2048").await;
    let key = ward.lab.key(&ward.kid);
    let options = DoctorOptions::new(key, Caller::SystemAssigned, ward.lab.clock())
        .with_transport(trusting(&ward.lab.azure));
    let report = examined(options).await;
    stops_at(&report, CheckId::Identity, "az identity create");
    // What needs no identity is looked at all the same.
    check(
        &report,
        CheckId::Challenge,
        Status::Ok,
        "it takes tokens of",
    );
}

#[tokio::test]
async fn a_persons_account_is_warned_of() {
    let ward = Ward::new("RSA-2048").await;
    let key = ward.lab.key(&ward.kid);
    let person = Caller::Identity(Identity::azure_cli(None).unwrap());
    let options =
        DoctorOptions::new(key, person, ward.lab.clock()).with_transport(trusting(&ward.lab.azure));
    let report = examined(options).await;
    check(
        &report,
        CheckId::Identity,
        Status::Warn,
        "managed:CLIENT_ID",
    );
    check(&report, CheckId::Token, Status::Fail, "az login");
}

/// R7: a vault that is deleted, or spelt wrong.
#[tokio::test]
async fn a_vault_without_an_address_fails() {
    let ward = Ward::new("RSA-2048").await;
    let hosts = hosts()
        .with_domain("vault.invalid", Service::KeyVault)
        .unwrap();
    let key = KeyUrl::parse("https://gone.vault.invalid/keys/etcd", &hosts).unwrap();
    let report = examined(ward.options_for(key)).await;
    stops_at(&report, CheckId::Dns, "vault gone still exists");
}

/// R30: names are not asked for behind a proxy.
#[tokio::test]
async fn behind_a_proxy_dns_is_skipped() {
    let ward = Ward::new("RSA-2048").await;
    let nobody = closed_port().await;
    let transport = trusting(&ward.lab.azure).with_proxy(format!("http://{nobody}"), "");
    let report = examined(ward.options().with_transport(transport)).await;
    check(&report, CheckId::Dns, Status::Skipped, "proxy");
    check(
        &report,
        CheckId::Connection,
        Status::Fail,
        "proxy and firewall",
    );
}

/// R9.
#[tokio::test]
async fn a_vault_that_does_not_answer_fails() {
    let ward = Ward::new("RSA-2048").await;
    let port = closed_port().await.port();
    let url = format!("https://{}:{port}/keys/etcd", ward.store.host_name());
    let report = examined(ward.options_for(ward.lab.key(&url))).await;
    stops_at(&report, CheckId::Connection, "firewall");
}

async fn closed_port() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_certificate_of_another_ca_fails() {
    let ward = Ward::new("RSA-2048").await;
    let other = vault::Vault::builder().start().await.unwrap();
    let options = TransportOptions::default()
        .with_only_ca_pem(other.ca_pem().as_bytes())
        .unwrap()
        .with_address(ward.store.host_name(), ward.lab.azure.address());
    let report = examined(ward.options().with_transport(options)).await;
    check(&report, CheckId::Connection, Status::Ok, "");
    stops_at(&report, CheckId::Tls, "CA certificate");
}

#[tokio::test]
async fn what_is_no_vault_fails() {
    let ward = Ward::new("RSA-2048").await;
    let hosts = hosts()
        .with_domain("login.localhost", Service::KeyVault)
        .unwrap();
    let url = format!("{}/keys/etcd", ward.lab.azure.authority());
    let key = KeyUrl::parse(&url, &hosts).unwrap();
    let report = examined(ward.options_for(key)).await;
    stops_at(&report, CheckId::Challenge, "without a challenge");
}

/// R18.
#[tokio::test]
async fn a_wrong_secret_fails() {
    let ward = Ward::new("RSA-2048").await;
    let secret = SecretSource::given(SecretBytes::copy_from_slice(b"wrong"));
    let client = ward.lab.identity.client_id();
    let identity = Identity::client_secret(ward.lab.azure.tenant_id(), client, secret).unwrap();
    let key = ward.lab.key(&ward.kid);
    let options = DoctorOptions::new(key, Caller::Identity(identity), ward.lab.clock())
        .with_authority(Authority::new(&ward.lab.azure.authority()).unwrap())
        .with_transport(trusting(&ward.lab.azure));
    stops_at(&examined(options).await, CheckId::Token, "secret");
}

/// R11.
#[tokio::test]
async fn a_vault_of_another_tenant_fails() {
    let ward = Ward::new("RSA-2048").await;
    let other = "0f8fad5b-d9cb-469f-a165-70867728950e";
    ward.lab.azure.add_tenant(other);
    ward.store.move_to_tenant(other);
    let report = ward.examine().await;
    stops_at(
        &report,
        CheckId::Tenant,
        &format!("the vault is of {other}"),
    );
    check(
        &report,
        CheckId::Tenant,
        Status::Fail,
        "az keyvault show --name kms-testkit --query properties.tenantId",
    );
}

/// R9.
#[tokio::test]
async fn a_closed_firewall_fails() {
    let ward = Ward::new("RSA-2048").await;
    ward.store.set_network(Network::SelectedAddresses);
    let report = ward.examine().await;
    stops_at(
        &report,
        CheckId::Firewall,
        "az keyvault network-rule add --name kms-testkit",
    );
}

/// R30, R31, R32.
#[tokio::test]
async fn a_private_vault_without_a_link_fails() {
    let ward = Ward::new("RSA-2048").await;
    ward.store.set_network(Network::Private);
    let report = ward.examine().await;
    stops_at(
        &report,
        CheckId::PrivateEndpoint,
        "az network private-endpoint-connection list",
    );
}

/// R17, R20, R70: the command names role, identity and vault.
#[tokio::test]
async fn a_missing_role_fails() {
    let ward = Ward::new("RSA-2048").await;
    ward.revoke();
    let report = ward.examine().await;
    stops_at(&report, CheckId::Read, "up to 24 hours");
    for part in [
        "az role assignment create --role \"Key Vault Crypto Service Encryption User\"",
        ward.lab.identity.object_id(),
        "--name kms-testkit",
    ] {
        check(&report, CheckId::Read, Status::Fail, part);
    }
    // The role that gives nothing here (R51).
    ward.store
        .grant(&ward.lab.identity, Role::Contributor, Scope::Store);
    check(&ward.examine().await, CheckId::Read, Status::Fail, "");
}

/// R20 in a Managed HSM.
#[tokio::test]
async fn a_missing_local_role_fails() {
    let ward = Ward::in_hsm("oct-256").await;
    ward.revoke();
    let report = ward.examine().await;
    stops_at(
        &report,
        CheckId::Read,
        "az keyvault role assignment create --hsm-name kms-testkit",
    );
}

/// R19: access policies, permission by permission.
#[tokio::test]
async fn each_missing_permission_shows_where_it_is_used() {
    use Operation as O;
    let ward = Ward::new("RSA-2048").await;
    ward.allow_only(&[]);
    let report = ward.examine().await;
    stops_at(
        &report,
        CheckId::Read,
        "az keyvault set-policy --name kms-testkit --object-id",
    );

    ward.allow_only(&[O::Get, O::WrapKey, O::UnwrapKey]);
    let report = ward.examine().await;
    check(&report, CheckId::Versions, Status::Warn, "set-policy");
    assert!(!report.summary.has_failed());

    ward.allow_only(&[O::Get, O::ListVersions, O::UnwrapKey]);
    let report = ward.examine().await;
    check(&report, CheckId::Wrap, Status::Warn, "no hindrance");
    check(&report, CheckId::Unwrap, Status::Ok, "the same 32 bytes");

    ward.allow_only(&[O::Get, O::ListVersions, O::WrapKey]);
    let report = ward.examine().await;
    check(&report, CheckId::Wrap, Status::Ok, "");
    check(&report, CheckId::Unwrap, Status::Fail, "wrapKey unwrapKey");
}

/// R7.
#[tokio::test]
async fn a_key_that_is_not_there_fails() {
    let ward = Ward::new("RSA-2048").await;
    let never = ward.lab.key(&format!("{}/keys/never", ward.store.url()));
    let report = examined(ward.options_for(never)).await;
    stops_at(
        &report,
        CheckId::Key,
        "az keyvault key list --vault-name kms-testkit",
    );
    ward.store.delete_key(NAME).unwrap();
    let report = ward.examine().await;
    stops_at(
        &report,
        CheckId::Key,
        "az keyvault key recover --vault-name kms-testkit --name etcd",
    );
    check(&report, CheckId::Key, Status::Fail, "can be recovered");
}

/// R44: extend, then rotate; and what is stored can still be read.
#[tokio::test]
async fn an_expired_key_fails_and_still_unwraps() {
    let ward = Ward::new("RSA-2048").await;
    let end = ward.lab.clock.wall_time() + DAY;
    ward.store
        .set_validity(NAME, None, None, Some(end))
        .unwrap();
    ward.lab.clock.advance(2 * DAY);
    let report = ward.examine().await;
    let version = version_of(&ward.kid);
    for part in [
        format!(
            "set-attributes --vault-name kms-testkit --name etcd --version {version} --expires"
        ),
        "&& az keyvault key rotate --vault-name kms-testkit --name etcd".to_owned(),
        "goes on unwrapping".to_owned(),
    ] {
        check(&report, CheckId::State, Status::Fail, &part);
    }
    for id in [CheckId::Expiry, CheckId::Wrap] {
        check(&report, id, Status::Skipped, "`state`");
    }
    check(&report, CheckId::Unwrap, Status::Ok, "the same 32 bytes");
}

/// R44.
#[tokio::test]
async fn a_key_that_ends_soon_is_warned_of() {
    let ward = Ward::new("RSA-2048").await;
    let end = ward.lab.clock.wall_time() + 20 * DAY;
    ward.store
        .set_validity(NAME, None, None, Some(end))
        .unwrap();
    let report = ward.examine().await;
    check(&report, CheckId::Expiry, Status::Warn, "in 20 days");
    check(
        &report,
        CheckId::Expiry,
        Status::Warn,
        "az keyvault key rotate",
    );
    assert!(!report.summary.has_failed());
    let report = examined(ward.options().with_expiry_warning(10 * DAY)).await;
    check(&report, CheckId::Expiry, Status::Ok, "in 20 days");
}

#[tokio::test]
async fn a_key_before_its_time_fails() {
    let ward = Ward::new("RSA-2048").await;
    let start = ward.lab.clock.wall_time() + DAY;
    ward.store
        .set_validity(NAME, None, Some(start), None)
        .unwrap();
    let report = ward.examine().await;
    check(&report, CheckId::State, Status::Fail, "--not-before");
    check(&report, CheckId::Unwrap, Status::Ok, "the same 32 bytes");
}

#[tokio::test]
async fn a_disabled_key_fails() {
    let ward = Ward::new("RSA-2048").await;
    ward.store.set_enabled(NAME, None, false).unwrap();
    let report = ward.examine().await;
    check(&report, CheckId::State, Status::Fail, "--enabled true");
    for id in [CheckId::Wrap, CheckId::Unwrap] {
        check(&report, id, Status::Skipped, "`state`");
    }
}

#[tokio::test]
async fn an_elliptic_curve_fails() {
    let ward = Ward::new("EC").await;
    let report = ward.examine().await;
    stops_at(&report, CheckId::Type, "whatever roles are granted");
    check(
        &report,
        CheckId::Type,
        Status::Fail,
        "az keyvault key create",
    );
}

/// R19.
#[tokio::test]
async fn a_key_without_the_operations_fails() {
    let ward = Ward::new("RSA-2048").await;
    ward.store
        .set_key_ops(NAME, None, &["wrapKey", "sign"])
        .unwrap();
    let report = ward.examine().await;
    stops_at(&report, CheckId::Operations, "unwrapKey not");
    check(
        &report,
        CheckId::Operations,
        Status::Fail,
        "--ops wrapKey unwrapKey",
    );
}

/// R7.
#[tokio::test]
async fn a_key_that_can_be_purged_is_warned_of() {
    let lab = Lab::with(|builder| builder.soft_delete(7, false)).await;
    let store = lab.azure.key_vault();
    let kid = create(&store, NAME, "RSA-2048");
    let report = Ward { lab, store, kid }.examine().await;
    check(
        &report,
        CheckId::Recovery,
        Status::Warn,
        "az keyvault update --name kms-testkit --enable-purge-protection true",
    );
}

#[tokio::test]
async fn a_vault_that_throttles_fails() {
    let ward = Ward::new("RSA-2048").await;
    let throttled = Fault::Throttled { retry_after: None };
    ward.store.disturb(Operation::Get, throttled.clone(), None);
    stops_at(&ward.examine().await, CheckId::CallRate, "fewer calls");
    ward.lab.azure.clear_faults();
    ward.store.disturb(Operation::UnwrapKey, throttled, None);
    let report = ward.examine().await;
    check(&report, CheckId::Unwrap, Status::Fail, "Throttled");
}

#[tokio::test]
async fn a_failing_service_fails() {
    let ward = Ward::new("RSA-2048").await;
    ward.store.disturb(Operation::Get, Fault::Status(503), None);
    stops_at(&ward.examine().await, CheckId::Key, "503");
    ward.lab.azure.clear_faults();
    ward.store
        .disturb(Operation::UnwrapKey, Fault::WrongKid, None);
    check(
        &ward.examine().await,
        CheckId::Unwrap,
        Status::Fail,
        "another key",
    );
}

/// kube-apiserver waits 3 s.
#[tokio::test]
async fn a_slow_vault_is_warned_of_and_fails() {
    for (seconds, status) in [(2, Status::Warn), (4, Status::Fail)] {
        let ward = Ward::new("RSA-2048").await;
        let slow = Duration::from_secs(seconds);
        ward.store
            .disturb(Operation::UnwrapKey, Fault::Slow(slow), 1);
        let clock = ward.lab.clock.clone();
        let store = ward.store.clone();
        let passing = tokio::spawn(async move {
            // The double sleeps, and nothing else is due before it wakes.
            while store.calls(Operation::UnwrapKey) == 0
                || clock.next_deadline() != Some(clock.now() + slow)
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            clock.advance(slow);
        });
        let report = ward.examine().await;
        passing.await.unwrap();
        check(
            &report,
            CheckId::Unwrap,
            Status::Ok,
            &format!("{seconds}000 ms"),
        );
        check(&report, CheckId::Latency, status, "a smaller RSA key");
    }
}

/// R43, R51: what only the control plane knows comes with the command that tells.
#[tokio::test]
async fn what_the_vault_does_not_know_is_unknown() {
    let ward = Ward::new("RSA-2048").await;
    let report = ward.examine().await;
    check(
        &report,
        CheckId::AksRoles,
        Status::Unknown,
        "Key Vault Contributor",
    );
    check(
        &report,
        CheckId::AksRoles,
        Status::Unknown,
        "az role assignment list --assignee",
    );
    check(&report, CheckId::AksView, Status::Unknown, "az aks show");
    check(
        &report,
        CheckId::Firewall,
        Status::Unknown,
        "az keyvault show --name kms-testkit",
    );
}

#[tokio::test]
async fn the_json_has_the_documented_fields() {
    let ward = Ward::new("RSA-2048").await;
    let json = serde_json::json!(ward.examine().await);
    assert_eq!(json["checks"][0]["id"], "identity");
    assert_eq!(json["checks"][0]["rows"], serde_json::json!(["R8", "R18"]));
    assert_eq!(json["checks"][0]["status"], "ok");
    assert_eq!(json["summary"]["fail"], 0);
    let clock = Arc::new(ward.lab.clock.clone());
    assert!(clock.now().since(kms_core::Tick::ORIGIN).is_zero());
}
