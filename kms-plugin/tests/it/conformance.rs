//! Client, socket and server together are a provider like any other.

use std::sync::Arc;

use async_trait::async_trait;
use kms_core::{Error, KeyId, KeyProvider};
use kms_plugin::client::{ClientOptions, V1Beta1Client, V2Client};
use kms_testkit::conformance::{self, Harness, HookOutcome};

use crate::support::{Provider, Served, dek, provider, quick};

struct OverTheSocket {
    provider: Arc<Provider>,
    served: Served,
    client: Arc<dyn KeyProvider>,
    v1beta1: bool,
}

#[async_trait]
impl Harness for OverTheSocket {
    fn provider(&self) -> Arc<dyn KeyProvider> {
        Arc::clone(&self.client)
    }

    async fn reopen(&self) -> Result<Option<Arc<dyn KeyProvider>>, Error> {
        Ok((!self.v1beta1).then(|| Arc::new(self.served.client()) as Arc<dyn KeyProvider>))
    }

    async fn rotate(&self) -> Result<HookOutcome, Error> {
        if self.v1beta1 {
            return Ok(HookOutcome::Absent);
        }
        self.provider.inner().rotate()?;
        // Encrypt takes the new key over at once, and Status names it from then on.
        self.client.wrap(&dek(), &Default::default()).await?;
        Ok(HookOutcome::Done)
    }

    async fn disable(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        if self.v1beta1 {
            return Ok(HookOutcome::Absent);
        }
        self.provider.inner().disable(id)?;
        Ok(HookOutcome::Done)
    }

    async fn enable(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        self.provider.inner().enable(id)?;
        Ok(HookOutcome::Done)
    }

    async fn destroy(&self, id: &KeyId) -> Result<HookOutcome, Error> {
        if self.v1beta1 {
            return Ok(HookOutcome::Absent);
        }
        self.provider.inner().remove(id)?;
        Ok(HookOutcome::Done)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v2_client_and_server() {
    let provider = provider();
    let served = Served::new(quick(provider.clone()).cache(None)).await;
    let client = Arc::new(V2Client::new(
        served.address.clone(),
        // What the static provider makes of it is just within KMS v2: 12 + 996 + 16 bytes.
        ClientOptions::default().with_max_plaintext_len(996),
    ));
    let harness = OverTheSocket {
        provider,
        served,
        client,
        v1beta1: false,
    };
    let report = conformance::run_all(&harness).await;
    println!("{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v1beta1_client_and_server() {
    let provider = provider();
    let served = Served::new(quick(provider.clone()).serve_v1beta1(true)).await;
    let client = Arc::new(V1Beta1Client::new(
        served.address.clone(),
        "old-plugin".parse().unwrap(),
        ClientOptions::default().with_max_plaintext_len(4096),
    ));
    let harness = OverTheSocket {
        provider,
        served,
        client,
        v1beta1: true,
    };
    let report = conformance::run_all(&harness).await;
    println!("{report}");
}
