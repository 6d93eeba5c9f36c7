//! Every layer passes the suite.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kms_core::layer::{Coalesce, Retry, Timeout, Union};
use kms_core::{
    CallOptions, Capabilities, ContextSupport, Error, KeyId, KeyInfo, KeyProvider, OsRandom,
    SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_testkit::conformance::{self, WrapperHarness};
use kms_testkit::{ManualClock, StaticProvider};

use super::SECOND;

async fn conforms<P: KeyProvider>(wrap: impl FnMut(Arc<StaticProvider>) -> P) {
    conformance::run_all(&WrapperHarness::new(wrap))
        .await
        .assert_complete();
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new())
}

fn another(id: &str) -> StaticProvider {
    StaticProvider::new(id.parse().unwrap(), [3; 32])
}

#[tokio::test(flavor = "multi_thread")]
async fn pointers_conform() {
    conforms(|keys| keys as Arc<dyn KeyProvider>).await;
    conforms(|keys| Box::new(keys) as Box<dyn KeyProvider>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timeout_conforms() {
    conforms(|keys| Timeout::new(keys, clock(), SECOND)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_conforms() {
    conforms(|keys| Retry::new(keys, clock(), Arc::new(OsRandom))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coalesce_conforms() {
    conforms(Coalesce::new).await;
}

#[cfg(feature = "metrics")]
#[tokio::test(flavor = "multi_thread")]
async fn metered_conforms() {
    conforms(|keys| kms_core::layer::Metered::new(keys, clock(), "static")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_union_conforms() {
    conforms(Union::new).await;
    conforms(|keys| Union::new(keys).with_older(another("old"))).await;
    conforms(|keys| {
        Union::new(keys).with_older_claiming(another("old/1"), |id| id.as_str().starts_with("old/"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_stack_conforms() {
    conforms(|keys| {
        let attempt = Timeout::new(keys, clock(), SECOND);
        let retried = Retry::new(attempt, clock(), Arc::new(OsRandom));
        let both = Union::new(retried).with_older(another("old"));
        Timeout::new(Coalesce::new(both), clock(), SECOND)
    })
    .await;
}

/// A provider that can do nothing but the least.
#[derive(Debug)]
struct Basic(StaticProvider);

impl fmt::Display for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("basic")
    }
}

#[async_trait]
impl KeyProvider for Basic {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.0.current_key(options).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.0.wrap(dek, options).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        if wrapped.key_id().is_none() {
            let error = Error::new(kms_core::ErrorKind::Unsupported, "no key id");
            return Err(error.with_provider("basic"));
        }
        self.0.unwrap(wrapped, options).await
    }
}

/// What the current member can and an older one cannot, the union does not announce; and what
/// an older one can and the current one cannot neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_union_of_unequal_members_conforms() {
    conforms(|keys| Union::new(keys).with_older(Basic(another("old")))).await;

    let basic = || Basic(StaticProvider::generate().unwrap());
    let union = Union::new(basic()).with_older(another("old"));
    assert_eq!(union.capabilities(), Capabilities::basic());
    struct Unequal(Arc<Union>);
    #[async_trait]
    impl conformance::Harness for Unequal {
        fn provider(&self) -> Arc<dyn KeyProvider> {
            self.0.clone()
        }
    }
    let _ = conformance::run_all(&Unequal(Arc::new(union))).await;
}

/// Binds a context to a static provider, by keeping its digest beside the DEK.
#[derive(Debug)]
struct Native(StaticProvider);

impl fmt::Display for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("native")
    }
}

#[async_trait]
impl KeyProvider for Native {
    fn capabilities(&self) -> Capabilities {
        let inner = self.0.capabilities();
        inner
            .with_context(ContextSupport::Native)
            .with_max_plaintext_len(1024)
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.0.current_key(options).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        if dek.is_empty() || dek.len() > 1024 {
            let error = Error::new(kms_core::ErrorKind::InvalidInput, "DEK length");
            return Err(error.with_provider("native"));
        }
        let context = options.context.to_canonical_bytes();
        let length = u16::try_from(context.len()).unwrap().to_be_bytes();
        let bound = [&length[..], &context, dek.expose()].concat();
        let bound = SecretBytes::from_vec(bound);
        self.0.wrap(&bound, &WrapOptions::default()).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        let opened = self.0.unwrap(wrapped, &UnwrapOptions::default()).await?;
        let context = options.context.to_canonical_bytes();
        let length = u16::try_from(context.len()).unwrap().to_be_bytes();
        let dek = opened
            .expose()
            .strip_prefix(&length[..])
            .and_then(|rest| rest.strip_prefix(&context[..]))
            .ok_or_else(|| Error::crypto().with_provider("native"))?;
        Ok(SecretBytes::copy_from_slice(dek))
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.0.describe_key(id, options).await
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        self.0.list_keys(options).await
    }
}

/// Coalesced calls of different contexts do not mix, and a union binds a context if all do.
#[tokio::test(flavor = "multi_thread")]
async fn native_contexts_pass_through() {
    struct Contexts(Arc<dyn KeyProvider>);
    #[async_trait]
    impl conformance::Harness for Contexts {
        fn provider(&self) -> Arc<dyn KeyProvider> {
            self.0.clone()
        }
    }
    let native = |id| Native(another(id));
    let layers: [Arc<dyn KeyProvider>; 5] = [
        Arc::new(native("k")),
        Arc::new(Coalesce::new(native("k"))),
        Arc::new(Timeout::new(native("k"), clock(), SECOND)),
        Arc::new(Retry::new(native("k"), clock(), Arc::new(OsRandom))),
        Arc::new(Union::new(native("k")).with_older(native("old"))),
    ];
    for layer in layers {
        assert_eq!(layer.capabilities().context, ContextSupport::Native);
        let _ = conformance::run_all(&Contexts(layer)).await;
    }
    let mixed = Union::new(native("k")).with_older(another("old"));
    assert_eq!(mixed.capabilities().context, ContextSupport::None);
    let _ = conformance::run_all(&Contexts(Arc::new(mixed))).await;
}
