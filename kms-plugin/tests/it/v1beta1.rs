//! KMS v1.

use kms_core::{ErrorKind, KeyProvider, WrappedKey};
use kms_plugin::client::{ClientOptions, V1Beta1Client};

use crate::support::{Served, current, dek, provider, quick, still, well};

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
}
