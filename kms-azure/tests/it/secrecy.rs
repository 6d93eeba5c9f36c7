//! Nothing secret in any log, at the highest level, of any crate.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kms_azure::credential::{AssertionAlgorithm, Authority, Credential, Identity, SecretSource};
use kms_azure::provider::{AesMode, AesSize, KeyVaultProvider, ProviderOptions};
use kms_azure::vault::{Vault, VaultOptions};
use kms_core::{
    CallOptions, KeyProvider as _, OsRandom, SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_testkit::vault::{Fault, Operation, Role, Scope};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::support::{Lab, SECRET, client_certificate, listen, versionless};

/// Everything that was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// The forms in which a secret would show.
fn forms(secret: &[u8]) -> Vec<String> {
    let hex = secret.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let list: Vec<String> = secret.iter().take(8).map(u8::to_string).collect();
    let text = secret.escape_ascii().to_string();
    // Inside of something longer base64 looks otherwise at either end.
    let inner = |skip: usize| base64(&secret[skip..skip + (secret.len() - skip) / 3 * 3]);
    vec![hex, list.join(", "), text, inner(0), inner(1), inner(2)]
}

/// One thread, so that nothing is logged elsewhere.
#[tokio::test(flavor = "current_thread")]
async fn nothing_secret_is_logged() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .with_max_level(LevelFilter::TRACE)
        .with_span_events(FmtSpan::FULL)
        .finish();
    let _guard = listen(subscriber);
    let lab = Lab::new().await;
    for store in [lab.azure.key_vault(), lab.azure.managed_hsm()] {
        store.grant(&lab.identity, Role::CryptoUser, Scope::Store);
    }
    let dek = SecretBytes::random(&OsRandom, 32).unwrap();
    let rsa = lab.azure.key_vault().create_rsa_key("etcd", 2048).unwrap();
    let aes = lab.azure.managed_hsm().create_aes_key("etcd", 256).unwrap();
    let options = ProviderOptions::default().with_max_attempts(1);
    for (kid, options) in [
        (&rsa, options),
        (&rsa, options.wrapping_remotely()),
        (&aes, options),
        (&aes, options.with_aes(AesMode::Gcm(AesSize::Aes256))),
    ] {
        let provider = lab.provider(versionless(kid), options);
        everything(&lab, &provider, &dek).await;
    }
    let (pem, token) = identities(&lab, &rsa).await;

    let text = log.text();
    for crate_name in [
        "kms_azure",
        "azure_core",
        "azure_identity",
        "typespec",
        "reqwest",
        "hyper_util",
    ] {
        assert!(text.contains(crate_name), "{crate_name} has logged nothing");
    }
    for span in ["wrap{", "unwrap{", "look{", "vault_call{", "token{"] {
        assert!(text.contains(span), "{span} has not been opened");
    }
    let key = pem.split("-----").nth(2).unwrap().trim();
    let mut secrets = forms(dek.expose());
    secrets.extend(forms(SECRET.as_bytes()));
    secrets.extend(key.lines().map(str::to_owned));
    secrets.push(token);
    // Every token and assertion is a JWT, and begins so.
    secrets.push("eyJ".to_owned());
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        if let Some(at) = text.find(secret.as_str()) {
            let line = text[..at].rsplit('\n').next().unwrap();
            panic!("a secret is logged behind: {line}");
        }
    }
}

/// What goes well and what goes wrong.
async fn everything(lab: &Lab, provider: &KeyVaultProvider, dek: &SecretBytes) {
    let wrapped = provider.wrap(dek, &WrapOptions::default()).await.unwrap();
    let options =
        UnwrapOptions::default().with_call(CallOptions::default().with_request_id("3f1c2a5e"));
    assert_eq!(provider.unwrap(&wrapped, &options).await.unwrap(), *dek);
    provider.list_keys(&CallOptions::default()).await.unwrap();
    let mut tampered = wrapped.ciphertext().to_vec();
    *tampered.last_mut().unwrap() ^= 1;
    let tampered = WrappedKey::new(wrapped.key_id().unwrap().clone(), tampered).unwrap();
    assert!(provider.unwrap(&tampered, &options).await.is_err());
    for store in [lab.azure.key_vault(), lab.azure.managed_hsm()] {
        for fault in [
            Fault::Drop,
            Fault::Truncated,
            Fault::WrongKid,
            Fault::ProxyStatus(502),
            Fault::Throttled { retry_after: None },
        ] {
            for operation in [Operation::UnwrapKey, Operation::Decrypt] {
                store.disturb(operation, fault.clone(), 1);
            }
            let _ = provider.unwrap(&wrapped, &options).await;
            lab.azure.clear_faults();
        }
    }
    // The token is refused, and another one fetched.
    lab.clock.advance(Duration::from_secs(4000));
    assert_eq!(provider.unwrap(&wrapped, &options).await.unwrap(), *dek);
    println!("{provider:?} {:?}", provider.health());
}

/// The other ways to a token, and a wrong secret.
async fn identities(lab: &Lab, kid: &str) -> (String, String) {
    let key = lab.key(kid);
    let (identity, pem) = client_certificate(lab);
    let token = lab
        .azure
        .service_account_token(
            "https://issuer.example",
            "system:serviceaccount:a:b",
            Duration::from_secs(3600),
        )
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, &token).unwrap();
    let tenant = lab.azure.tenant_id();
    let client = lab.identity.client_id();
    let given = |secret: &str| SecretSource::given(SecretBytes::copy_from_slice(secret.as_bytes()));
    let wrong = format!("{SECRET}-and-more");
    for identity in [
        Identity::client_certificate(
            tenant,
            identity.client_id(),
            given(&pem),
            AssertionAlgorithm::Ps256,
        ),
        Identity::client_secret(tenant, client, given(&wrong)),
        Identity::workload(tenant, client, &token_file),
    ] {
        let credential = Credential::new(
            identity.unwrap(),
            Authority::new(&lab.azure.authority()).unwrap(),
            &lab.transport,
            lab.clock(),
            Arc::new(OsRandom),
        );
        let options = VaultOptions::new(lab.clock());
        let vault = Vault::new(key.host().clone(), &credential, &lab.transport, options).unwrap();
        let answer = vault.key(&key, &CallOptions::default()).await;
        println!("{credential:?} {:?}", answer.map(drop));
    }
    (pem, token)
}
