//! The table of `kms_azure::provider`, row by row, and recovery without a restart.

use std::sync::Arc;
use std::time::Duration;

use kms_azure::credential::{Authority, Credential, Identity, SecretSource};
use kms_azure::error::{Fault as Said, VaultError};
use kms_azure::provider::{KeyVaultProvider, ProviderOptions};
use kms_azure::vault::{Vault, VaultOptions};
use kms_core::{
    CallOptions, Clock as _, Error, ErrorKind, KeyProvider as _, OsRandom, SecretBytes,
    UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_testkit::vault::{Fault, KeyStore, Operation, Role, Scope};

use crate::support::{Lab, until, version_of, versionless};

const NAME: &str = "etcd";
const MINUTE: Duration = Duration::from_secs(60);

/// A provider that has looked at its key, and something wrapped under it.
struct Case {
    lab: Lab,
    store: KeyStore,
    kid: String,
    provider: KeyVaultProvider,
    /// Another one over the same key, which wraps in the vault.
    remote: KeyVaultProvider,
    wrapped: WrappedKey,
}

/// What `current_key`, local `wrap`, remote `wrap` and `unwrap` say, which are the columns of the
/// table: `Ok`, or a kind.
type Answers = [Result<(), ErrorKind>; 4];

const FINE: Answers = [Ok(()); 4];

const fn all(kind: ErrorKind) -> Answers {
    [Err(kind); 4]
}

/// What was seen before still counts, and nothing that needs the vault works.
const fn from_memory(kind: ErrorKind) -> Answers {
    [Ok(()), Ok(()), Err(kind), Err(kind)]
}

/// What is there is still opened.
const fn only_unwraps(kind: ErrorKind) -> Answers {
    [Err(kind), Err(kind), Err(kind), Ok(())]
}

fn dek() -> SecretBytes {
    SecretBytes::from_vec((0..32).collect())
}

impl Case {
    async fn new() -> Self {
        let lab = Lab::new().await;
        let store = lab.azure.key_vault();
        let kid = store.create_rsa_key(NAME, 2048).unwrap();
        // One attempt, so that nothing waits for the clock.
        let options = ProviderOptions::default().with_max_attempts(1);
        let provider = lab.provider(versionless(&kid), options);
        let remote = lab.provider(versionless(&kid), options.wrapping_remotely());
        for provider in [&provider, &remote] {
            provider.refresh().await.unwrap();
        }
        let wrapped = provider
            .wrap(&dek(), &WrapOptions::default())
            .await
            .unwrap();
        Self {
            lab,
            store,
            kid,
            provider,
            remote,
            wrapped,
        }
    }

    const fn providers(&self) -> [&KeyVaultProvider; 2] {
        [&self.provider, &self.remote]
    }

    async fn errors(&self) -> [Result<(), Error>; 4] {
        let current = self.provider.current_key(&CallOptions::default()).await;
        let wrap = self.provider.wrap(&dek(), &WrapOptions::default()).await;
        let remote = self.remote.wrap(&dek(), &WrapOptions::default()).await;
        let unwrap = self
            .provider
            .unwrap(&self.wrapped, &UnwrapOptions::default())
            .await;
        [
            current.map(drop),
            wrap.map(drop),
            remote.map(drop),
            unwrap.map(|opened| assert_eq!(opened, dek())),
        ]
    }

    async fn answers(&self) -> Answers {
        self.errors()
            .await
            .map(|answer| answer.map_err(|error| error.kind()))
    }

    /// A look by both, whatever comes of it.
    async fn look(&self) {
        for provider in self.providers() {
            let _ = provider.refresh().await;
        }
    }

    /// Time goes by, and the background task does what is due.
    async fn pass(&self, by: Duration) {
        self.lab.pass(by, &self.providers()).await;
    }

    /// Time goes by, and the background task looks at the key again.
    async fn recovers(&self) {
        let providers = self.providers();
        let fine = || {
            let healths = providers.map(KeyVaultProvider::health);
            healths.iter().all(|health| health.last_error.is_none())
        };
        let what = "the key is confirmed";
        self.lab.pass_until(what, &providers, fine).await;
        assert_eq!(self.answers().await, FINE);
    }
}

#[tokio::test]
async fn a_vault_that_is_down_for_a_while_and_for_long() {
    let case = Case::new().await;
    case.store.disturb(None, Fault::Drop, None);
    case.look().await;
    let while_down = from_memory(ErrorKind::Unavailable);
    assert_eq!(case.answers().await, while_down);
    // Three polls after the last look that succeeded.
    case.pass(Duration::from_secs(900) - MINUTE).await;
    assert_eq!(case.answers().await, while_down);
    case.pass(2 * MINUTE).await;
    assert_eq!(case.answers().await, all(ErrorKind::Unavailable));
    let [current, ..] = case.errors().await;
    let message = current.unwrap_err().to_string();
    assert!(message.contains("has not been confirmed for"), "{message}");
    case.lab.azure.clear_faults();
    case.recovers().await;
}

#[tokio::test]
async fn a_vault_behind_a_broken_proxy() {
    let case = Case::new().await;
    case.store.disturb(None, Fault::ProxyStatus(502), None);
    case.look().await;
    assert_eq!(case.answers().await, from_memory(ErrorKind::Unavailable));
    case.lab.azure.clear_faults();
    case.recovers().await;
    for broken in [
        Fault::Truncated,
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(504),
    ] {
        case.store.disturb(None, broken.clone(), None);
        case.look().await;
        assert_eq!(
            case.answers().await,
            from_memory(ErrorKind::Unavailable),
            "{broken:?}"
        );
        case.lab.azure.clear_faults();
        case.recovers().await;
    }
}

#[tokio::test]
async fn a_vault_that_throttles() {
    for retry_after in [None, Some(Duration::from_secs(7))] {
        let case = Case::new().await;
        case.store
            .disturb(None, Fault::Throttled { retry_after }, None);
        case.look().await;
        assert_eq!(case.answers().await, from_memory(ErrorKind::Throttled));
        let [.., unwrap] = case.errors().await;
        assert_eq!(unwrap.unwrap_err().retry_after(), retry_after);
        case.lab.azure.clear_faults();
        case.recovers().await;
    }
}

/// It answers after 5 s, and kube-apiserver waits for 3.
#[tokio::test]
async fn a_vault_that_is_slow() {
    let case = Arc::new(Case::new().await);
    case.store
        .disturb(None, Fault::Slow(Duration::from_secs(5)), None);
    for operation in [Operation::WrapKey, Operation::UnwrapKey] {
        let before = case.store.calls(operation);
        let waiting = tokio::spawn({
            let case = Arc::clone(&case);
            async move {
                let deadline = case.lab.clock.now() + Duration::from_secs(3);
                let call = CallOptions::default().with_deadline(deadline);
                if operation == Operation::WrapKey {
                    let options = WrapOptions::default().with_call(call);
                    return case.remote.wrap(&dek(), &options).await.map(drop);
                }
                let options = UnwrapOptions::default().with_call(call);
                case.provider
                    .unwrap(&case.wrapped, &options)
                    .await
                    .map(drop)
            }
        });
        until("the vault is asked", || {
            case.store.calls(operation) > before
        })
        .await;
        case.lab.clock.advance(Duration::from_secs(3));
        let late = waiting.await.unwrap().unwrap_err();
        assert_eq!(late.kind(), ErrorKind::DeadlineExceeded, "{operation}");
    }
    assert!(
        case.provider
            .current_key(&CallOptions::default())
            .await
            .is_ok()
    );
    assert!(
        case.provider
            .wrap(&dek(), &WrapOptions::default())
            .await
            .is_ok()
    );
    case.lab.azure.clear_faults();
    case.recovers().await;
}

/// R44: nothing is wrapped, with the two steps of the remedy; what is there is still opened.
#[tokio::test]
async fn an_expired_key() {
    let case = Case::new().await;
    let version = Some(version_of(&case.kid));
    let end = case.lab.clock.wall_time() + MINUTE;
    case.store
        .set_validity(NAME, version, None, Some(end))
        .unwrap();
    case.look().await;
    assert_eq!(case.answers().await, FINE);
    assert_eq!(case.provider.health().expires, Some(end));
    // By the clock alone: no look is needed.
    case.pass(MINUTE).await;
    let expired = only_unwraps(ErrorKind::KeyExpired);
    assert_eq!(case.answers().await, expired);
    let [_, wrap, ..] = case.errors().await;
    let error = wrap.unwrap_err();
    assert!(
        error.remedy().contains("extend its expiry"),
        "{}",
        error.remedy()
    );
    assert!(
        error.remedy().contains("az keyvault key rotate"),
        "{}",
        error.remedy()
    );
    case.look().await;
    assert_eq!(case.answers().await, expired);
    let later = end + 60 * MINUTE;
    case.store
        .set_validity(NAME, version, None, Some(later))
        .unwrap();
    case.look().await;
    assert_eq!(case.answers().await, FINE);
}

#[tokio::test]
async fn a_key_before_its_time() {
    let case = Case::new().await;
    let start = case.lab.clock.wall_time() + 10 * MINUTE;
    case.store
        .set_validity(NAME, None, Some(start), None)
        .unwrap();
    case.look().await;
    let early = only_unwraps(ErrorKind::KeyNotYetValid);
    assert_eq!(case.answers().await, early);
    case.pass(10 * MINUTE).await;
    assert_eq!(case.answers().await, FINE);
}

#[tokio::test]
async fn a_disabled_key() {
    let case = Case::new().await;
    case.lab.rest(&case.providers()).await;
    case.store.set_enabled(NAME, None, false).unwrap();
    // What an unwrap meets is looked into at once, not with the next poll.
    let [current, .., unwrap] = case.answers().await;
    assert_eq!((current, unwrap), (Ok(()), Err(ErrorKind::KeyDisabled)));
    // A look is not made sooner than 5 s after the one before.
    case.lab.clock.advance(Duration::from_secs(5));
    until("the background task takes the hint", || {
        case.provider.health().active.is_err()
    })
    .await;
    assert_eq!(case.answers().await, all(ErrorKind::KeyDisabled));
    case.store.set_enabled(NAME, None, true).unwrap();
    case.look().await;
    assert_eq!(case.answers().await, FINE);
}

/// Nothing older is taken instead, since what the newer one wrapped would be forgotten when the
/// older one goes.
#[tokio::test]
async fn the_newest_version_disabled_after_a_rotation() {
    let case = Case::new().await;
    case.pass(MINUTE).await;
    let second = case.store.create_rsa_key(NAME, 2048).unwrap();
    case.look().await;
    case.pass(11 * MINUTE).await;
    let current = case
        .provider
        .current_key(&CallOptions::default())
        .await
        .unwrap();
    assert_eq!(current.id.as_str(), second);
    case.store
        .set_enabled(NAME, Some(version_of(&second)), false)
        .unwrap();
    case.look().await;
    let stopped = only_unwraps(ErrorKind::KeyDisabled);
    assert_eq!(case.answers().await, stopped);
    let restarted = case
        .lab
        .provider(versionless(&second), ProviderOptions::default());
    let error = restarted
        .current_key(&CallOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::KeyDisabled,
        "a restart does not fall back either"
    );
    case.store
        .set_enabled(NAME, Some(version_of(&second)), true)
        .unwrap();
    case.look().await;
    assert_eq!(case.answers().await, FINE);
}

#[tokio::test]
async fn an_older_version_disabled() {
    let case = Case::new().await;
    case.pass(MINUTE).await;
    case.store.create_rsa_key(NAME, 2048).unwrap();
    case.look().await;
    case.pass(11 * MINUTE).await;
    case.store
        .set_enabled(NAME, Some(version_of(&case.kid)), false)
        .unwrap();
    case.look().await;
    let but_its_data = [Ok(()), Ok(()), Ok(()), Err(ErrorKind::KeyDisabled)];
    assert_eq!(case.answers().await, but_its_data);
}

/// R7, R15: recoverable, and the error says how.
#[tokio::test]
async fn a_deleted_key() {
    let case = Case::new().await;
    case.store.delete_key(NAME).unwrap();
    case.look().await;
    assert_eq!(case.answers().await, all(ErrorKind::KeyDisabled));
    for answer in case.errors().await {
        let error = answer.unwrap_err();
        assert_eq!(
            VaultError::of(&error).map(VaultError::fault),
            Some(Said::KeyDeleted)
        );
        assert!(
            error.remedy().contains("az keyvault key recover"),
            "{}",
            error.remedy()
        );
    }
    case.store.recover_key(NAME).unwrap();
    case.recovers().await;
}

#[tokio::test]
async fn a_purged_key() {
    let case = Case::new().await;
    case.store.delete_key(NAME).unwrap();
    case.store.purge_key(NAME).unwrap();
    case.look().await;
    assert_eq!(case.answers().await, all(ErrorKind::KeyNotFound));
}

/// R20, R70.
#[tokio::test]
async fn a_role_taken_away() {
    let case = Case::new().await;
    let role = Role::CryptoServiceEncryptionUser;
    case.store.revoke(&case.lab.identity, role, &Scope::Store);
    case.look().await;
    assert_eq!(case.answers().await, all(ErrorKind::PermissionDenied));
    let [current, ..] = case.errors().await;
    let error = current.unwrap_err();
    assert!(
        error
            .remedy()
            .contains("Key Vault Crypto Service Encryption User")
    );
    case.store.grant(&case.lab.identity, role, Scope::Store);
    case.recovers().await;
}

/// R9.
#[tokio::test]
async fn a_vault_that_is_closed_to_us() {
    use kms_testkit::vault::Network;
    let case = Case::new().await;
    for (network, said) in [
        (Network::SelectedAddresses, Said::ForbiddenByFirewall),
        (Network::Private, Said::ForbiddenByConnection),
    ] {
        case.store.set_network(network);
        case.look().await;
        assert_eq!(case.answers().await, all(ErrorKind::PermissionDenied));
        let [current, ..] = case.errors().await;
        assert_eq!(VaultError::of(&current.unwrap_err()).unwrap().fault(), said);
        case.store.set_network(Network::Public);
        case.recovers().await;
    }
}

#[tokio::test]
async fn an_operation_that_the_key_does_not_allow() {
    let case = Case::new().await;
    for operations in [&["wrapKey", "encrypt"][..], &["unwrapKey"], &["sign"]] {
        case.store.set_key_ops(NAME, None, operations).unwrap();
        case.look().await;
        let [current, wrap, remote, unwrap] = case.answers().await;
        let denied = Err(ErrorKind::PermissionDenied);
        assert_eq!([current, wrap, remote], [denied; 3], "{operations:?}");
        let may_unwrap = operations.contains(&"unwrapKey");
        assert_eq!(unwrap, if may_unwrap { Ok(()) } else { denied });
    }
    case.store
        .set_key_ops(NAME, None, &["wrapKey", "unwrapKey"])
        .unwrap();
    case.look().await;
    assert_eq!(case.answers().await, FINE);
}

#[tokio::test]
async fn an_answer_that_names_another_key() {
    let case = Case::new().await;
    for operation in [Operation::WrapKey, Operation::UnwrapKey] {
        case.store.disturb(operation, Fault::WrongKid, 1);
    }
    assert_eq!(case.answers().await, from_memory(ErrorKind::Protocol));
    assert_eq!(case.answers().await, FINE);
}

/// A captive portal's 404 must not pass for a key that is gone.
#[tokio::test]
async fn something_else_answers_in_the_vaults_place() {
    let case = Case::new().await;
    case.store.disturb(None, Fault::ProxyStatus(404), None);
    case.look().await;
    assert_eq!(case.answers().await, from_memory(ErrorKind::Protocol));
    case.pass(16 * MINUTE).await;
    assert_eq!(case.answers().await, all(ErrorKind::Protocol));
    case.lab.azure.clear_faults();
    case.recovers().await;
}

/// EC keys can never serve: said before the first wrap, with the reason.
#[tokio::test]
async fn a_key_on_an_elliptic_curve() {
    let lab = Lab::new().await;
    let kid = lab.azure.key_vault().create_ec_key(NAME).unwrap();
    for url in [versionless(&kid), &kid] {
        let provider = lab.provider(url, ProviderOptions::default());
        for error in [
            provider
                .current_key(&CallOptions::default())
                .await
                .unwrap_err(),
            provider
                .wrap(&dek(), &WrapOptions::default())
                .await
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("elliptic curve"), "{error}");
            assert!(error.remedy().contains("RSA key"), "{}", error.remedy());
        }
    }
}

/// The vault is down when the program starts; it comes up later.
#[tokio::test]
async fn a_start_without_a_vault() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let kid = store.create_rsa_key(NAME, 2048).unwrap();
    store.disturb(None, Fault::Drop, None);
    let options = ProviderOptions::default().with_max_attempts(1);
    let provider = lab.provider(versionless(&kid), options);
    let call = CallOptions::default();
    let error = provider.current_key(&call).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    lab.azure.clear_faults();
    let is_up = || provider.health().active.is_ok();
    lab.pass_until("it comes up by itself", &[&provider], is_up)
        .await;
    assert_eq!(provider.current_key(&call).await.unwrap().id.as_str(), kid);
}

/// A secret that is wrong, or is no longer one.
#[tokio::test]
async fn an_identity_that_is_refused() {
    let case = Case::new().await;
    let lab = &case.lab;
    let wrong = SecretSource::given(SecretBytes::copy_from_slice(b"wrong"));
    let client = lab.identity.client_id();
    let credential = Credential::new(
        Identity::client_secret(lab.azure.tenant_id(), client, wrong).unwrap(),
        Authority::new(&lab.azure.authority()).unwrap(),
        &lab.transport,
        lab.clock(),
        Arc::new(OsRandom),
    );
    let key = lab.key(versionless(&case.kid));
    for wraps_remotely in [false, true] {
        let options = VaultOptions::new(lab.clock());
        let host = key.host().clone();
        let vault = Vault::new(host, &credential, &lab.transport, options).unwrap();
        let mut options = ProviderOptions::default().with_max_attempts(1);
        if wraps_remotely {
            options = options.wrapping_remotely();
        }
        let refused = KeyVaultProvider::new(vault, key.clone(), options).unwrap();
        let current = refused.current_key(&CallOptions::default()).await;
        let wrap = refused.wrap(&dek(), &WrapOptions::default()).await;
        let unwrap = UnwrapOptions::default();
        let unwrap = refused.unwrap(&case.wrapped, &unwrap).await;
        let answers = [current.map(drop), wrap.map(drop), unwrap.map(drop)];
        for answer in answers {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unauthenticated);
        }
    }
}
