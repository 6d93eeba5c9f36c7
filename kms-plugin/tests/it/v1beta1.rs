//! KMS v1.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Error, ErrorKind, KeyInfo, KeyProvider, SecretBytes, UnwrapOptions,
    WrapOptions, WrappedKey,
};
use kms_plugin::client::{ClientOptions, V1Beta1Client};
use kms_testkit::StaticProvider;

use crate::support::{Served, current, dek, provider, quick, still, unwell, well};

fn client(served: &Served) -> V1Beta1Client {
    V1Beta1Client::new(
        served.address.clone(),
        "old".parse().unwrap(),
        ClientOptions::default(),
    )
}

#[tokio::test]
async fn it_is_served_beside_v2_when_asked_for() {
    let served = Served::new(quick(provider()).serve_v1beta1(true)).await;
    let old = client(&served);
    let wrapped = old.wrap(&dek(), &Default::default()).await.unwrap();
    assert_eq!(wrapped.key_id().unwrap().as_str(), "old");
    let bare = WrappedKey::without_key_id(wrapped.ciphertext().to_vec()).unwrap();
    for wrapped in [&wrapped, &bare] {
        let opened = old.unwrap(wrapped, &Default::default()).await.unwrap();
        assert_eq!(opened, dek());
    }
    let foreign = WrappedKey::new("new".parse().unwrap(), vec![1]).unwrap();
    let error = old.unwrap(&foreign, &Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotFound);
    let info = old.current_key(&Default::default()).await.unwrap();
    assert_eq!(info.id.as_str(), "old");
    well(&served.client()).await;
}

#[tokio::test]
async fn it_is_not_served_unless_asked_for() {
    let served = Served::new(still(provider())).await;
    current(&served.client()).await.unwrap();
    let error = client(&served)
        .wrap(&dek(), &Default::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("does not serve KMS v1"), "{error}");
    assert!(error.remedy().contains("--kms-v1"), "{}", error.remedy());
}

/// Claims to unwrap without a key id, and needs what KMS v1 does not keep.
#[derive(Debug)]
enum Needs {
    Annotation(StaticProvider),
    KeyId(StaticProvider),
}

impl Needs {
    fn inner(&self) -> &StaticProvider {
        match self {
            Self::Annotation(inner) | Self::KeyId(inner) => inner,
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("needs")
    }
}

#[async_trait]
impl KeyProvider for Needs {
    fn capabilities(&self) -> Capabilities {
        self.inner()
            .capabilities()
            .with_unwraps_without_key_id(true)
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.inner().current_key(options).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        let wrapped = self.inner().wrap(dek, options).await?;
        match self {
            Self::Annotation(_) => wrapped.with_annotation("needed.example.com", vec![1]),
            Self::KeyId(_) => Ok(wrapped),
        }
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let lost = match self {
            Self::Annotation(_) => wrapped.annotations().is_empty(),
            Self::KeyId(_) => wrapped.key_id().is_none(),
        };
        if lost {
            return Err(Error::crypto());
        }
        self.inner().unwrap(wrapped, options).await
    }
}

#[tokio::test]
async fn what_needs_an_annotation_is_not_written() {
    let provider = Needs::Annotation(StaticProvider::generate().unwrap());
    let served = Served::new(quick(Arc::new(provider)).serve_v1beta1(true)).await;
    let refused = client(&served).wrap(&dek(), &Default::default()).await;
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("annotations"), "{error}");
    assert!(error.remedy().contains("write with KMS v2"), "{error}");
    // KMS v2 keeps them.
    let new = served.client();
    well(&new).await;
    let wrapped = new.wrap(&dek(), &Default::default()).await.unwrap();
    let opened = new.unwrap(&wrapped, &Default::default()).await.unwrap();
    assert_eq!(opened, dek());
}

#[tokio::test]
async fn the_proof_covers_what_v1_gives_back() {
    let provider = || Arc::new(Needs::KeyId(StaticProvider::generate().unwrap()));
    let served = Served::new(quick(provider()).serve_v1beta1(true)).await;
    let error = unwell(&served.client(), ErrorKind::Protocol).await;
    assert!(error.message().contains("without its key id"), "{error}");
    let served = Served::new(quick(provider())).await;
    well(&served.client()).await;
}
