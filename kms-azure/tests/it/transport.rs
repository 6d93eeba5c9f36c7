//! The way to a vault, and what can be wrong with it.

use std::net::SocketAddr;

use kms_azure::error::{Fault, VaultError};
use kms_azure::key_url::{KeyUrl, Service, VaultHosts};
use kms_azure::transport::{Transport, TransportOptions};
use kms_azure::vault::{Vault, VaultOptions};
use kms_core::{CallOptions, ErrorKind};

use crate::support::Lab;

async fn fault(lab: &Lab, options: TransportOptions, key: &KeyUrl) -> Fault {
    let transport = Transport::new(&options).unwrap();
    let options = VaultOptions::new(lab.clock());
    let vault = Vault::new(key.host().clone(), &lab.credential(), &transport, options).unwrap();
    let error = vault.key(key, &CallOptions::default()).await.unwrap_err();
    VaultError::of(&error)
        .unwrap_or_else(|| panic!("{error:?}"))
        .fault()
}

async fn lab() -> (Lab, KeyUrl) {
    let lab = Lab::new().await;
    let kid = lab.azure.key_vault().create_rsa_key("etcd", 2048).unwrap();
    let key = lab.key(&kid);
    (lab, key)
}

fn trusting(lab: &Lab) -> TransportOptions {
    let pem = lab.azure.ca_pem().as_bytes();
    TransportOptions::default().with_only_ca_pem(pem).unwrap()
}

/// A vault that was deleted, or is spelt wrong.
#[tokio::test]
async fn a_name_without_an_address() {
    let lab = Lab::new().await;
    let hosts = VaultHosts::default()
        .with_domain("vault.invalid", Service::KeyVault)
        .unwrap();
    let key = KeyUrl::parse("https://nowhere.vault.invalid/keys/etcd", &hosts).unwrap();
    assert_eq!(
        fault(&lab, trusting(&lab), &key).await,
        Fault::NameNotResolved
    );
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let (lab, key) = lab().await;
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let url = key
        .to_string()
        .replace(&format!(":{}", lab.azure.address().port()), "");
    let key = lab.key(&url);
    let options = trusting(&lab).with_address(key.host().name(), nobody);
    assert_eq!(fault(&lab, options, &key).await, Fault::ConnectionFailed);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted() {
    let (lab, key) = lab().await;
    let other = Lab::new().await;
    let options = trusting(&other).with_address(key.host().name(), lab.azure.address());
    assert_eq!(
        fault(&lab, options, &key).await,
        Fault::CertificateNotTrusted
    );
}

/// The certificate must be the host's, wherever it is reached.
#[tokio::test]
async fn a_certificate_of_another_host() {
    let (lab, _) = lab().await;
    let hosts = VaultHosts::default()
        .with_domain("vault.elsewhere", Service::KeyVault)
        .unwrap();
    let port = lab.azure.address().port();
    let url = format!("https://kv1.vault.elsewhere:{port}/keys/etcd");
    let key = KeyUrl::parse(&url, &hosts).unwrap();
    let options = trusting(&lab).with_address("kv1.vault.elsewhere", lab.azure.address());
    assert_eq!(
        fault(&lab, options, &key).await,
        Fault::CertificateNotTrusted
    );
}

/// What is trusted here, and what this machine trusts besides.
#[tokio::test]
async fn a_ca_beside_those_of_this_machine() {
    let (lab, key) = lab().await;
    let options = TransportOptions::default()
        .with_extra_ca_pem(lab.azure.ca_pem().as_bytes())
        .unwrap();
    let options = lab
        .azure
        .host_names()
        .iter()
        .fold(options, |options, host| {
            options.with_address(host, lab.azure.address())
        });
    let transport = Transport::new(&options).unwrap();
    let vault_options = VaultOptions::new(lab.clock());
    let vault = Vault::new(
        key.host().clone(),
        &lab.credential(),
        &transport,
        vault_options,
    );
    vault
        .unwrap()
        .key(&key, &CallOptions::default())
        .await
        .unwrap();
    assert_eq!(transport.requests(), 2, "the challenge and the answer");
}

#[test]
fn a_proxy_is_a_url() {
    let options = TransportOptions::default().with_proxy("http://user:hunter2@", "");
    let error = Transport::new(&options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

/// Requests go by way of a proxy, which here is none.
#[tokio::test]
async fn a_proxy_that_is_down() {
    let (lab, key) = lab().await;
    let direct = lab
        .azure
        .host_names()
        .iter()
        .fold(trusting(&lab), |options, host| {
            options.with_address(host, lab.azure.address())
        });
    let options = direct.clone().with_proxy("http://127.0.0.1:1", "");
    assert_eq!(fault(&lab, options, &key).await, Fault::ConnectionFailed);
    let transport = Transport::new(&direct.with_proxy("http://127.0.0.1:1", "localhost")).unwrap();
    let options = VaultOptions::new(lab.clock());
    let vault = Vault::new(key.host().clone(), &lab.credential(), &transport, options).unwrap();
    vault.key(&key, &CallOptions::default()).await.unwrap();
}
