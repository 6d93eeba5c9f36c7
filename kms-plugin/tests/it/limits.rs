//! kube-apiserver's limits: at the limit passes, one more does not.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kms_core::{ErrorKind, KeyProvider, SecretBytes};
use kms_plugin::client::{ClientOptions, V2Client};

use crate::support::{Served, Sized, current, dek, still};

async fn wraps(provider: Sized) -> Result<(), kms_core::Error> {
    let served = Served::new(still(Arc::new(provider))).await;
    let client = served.client();
    current(&client).await?;
    let wrapped = client.wrap(&dek(), &Default::default()).await?;
    let opened = client.unwrap(&wrapped, &Default::default()).await?;
    assert_eq!(opened, dek());
    Ok(())
}

fn annotated(annotations: &[(&str, usize)]) -> Sized {
    let mut provider = Sized::new(1, 32);
    for (name, length) in annotations {
        provider.annotations.push(((*name).to_owned(), *length));
    }
    provider
}

#[tokio::test]
async fn at_the_limit_passes() {
    wraps(Sized::new(1024, 1024)).await.unwrap();
    wraps(annotated(&[("a.b", 32_765)])).await.unwrap();
    wraps(annotated(&[("a.b", 16_381), ("c.d", 16_381)]))
        .await
        .unwrap();
}

#[tokio::test]
async fn one_more_is_refused_and_named() {
    let error = wraps(Sized::new(1, 1025)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains("1024"), "{error}");
    let error = wraps(annotated(&[("a.b", 16_381), ("c.d", 16_382)])).await;
    let error = error.unwrap_err();
    assert!(error.message().contains("32768"), "{error}");
    for name in ["a", "A.b", "a/b.c", "", "a..b"] {
        let error = wraps(annotated(&[(name, 1)])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.message().contains("annotation name"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_is_checked_even_when_the_proof_was_within_the_limits() {
    let provider = Arc::new(Sized::new(1, 1024));
    let served = Served::new(still(provider.clone())).await;
    let client = served.client();
    current(&client).await.unwrap();
    provider.ciphertext_len.store(1025, Ordering::SeqCst);
    let error = client.wrap(&dek(), &Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    // Said by the server, which did not send it.
    assert!(error.message().contains("the provider's answer"), "{error}");
}

#[tokio::test]
async fn plaintext_is_bounded_by_the_provider() {
    let served = Served::new(still(Arc::new(Sized::new(1, 1024)))).await;
    // The client lets more through than the server.
    let client = V2Client::new(
        served.address.clone(),
        ClientOptions::default().with_max_plaintext_len(1 << 20),
    );
    let wrap = async |length| {
        let dek = SecretBytes::from_vec(vec![1; length]);
        client.wrap(&dek, &Default::default()).await
    };
    assert!(wrap(32).await.is_ok());
    assert_eq!(wrap(0).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(
        wrap(4097).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    // A message over the limit is not even read.
    assert!(wrap(200_000).await.is_err());
    current(&client).await.unwrap();
}
