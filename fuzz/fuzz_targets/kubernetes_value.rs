//! Stored values of every format: inspecting and reading any bytes must not panic, and what reads
//! as KMS v2 must inspect as KMS v2.
#![no_main]

use core::fmt;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use futures_util::FutureExt as _;
use kms_core::{
    CallOptions, Capabilities, Clock, Error, KeyInfo, KeyProvider, KeyState, OsRandom, SecretBytes,
    Sleep, Tick, UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_envelope::kubernetes::{
    ConfiguredNames, EncryptionConfiguration, ProviderKind, Transformer, inspect,
};
use libfuzzer_sys::fuzz_target;

const ETCD_KEY: &[u8] = b"/registry/secrets/default/demo";

/// Names are short, so that a fuzzer comes by them; `a` starts another name.
const CONFIGURATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: ["*.*"]
    providers:
      - kms: {apiVersion: v2, name: k, endpoint: "unix:///k"}
      - kms: {apiVersion: v1, name: "k:1", endpoint: "unix:///k"}
      - aesgcm:
          keys:
            - {name: a, secret: AAAAAAAAAAAAAAAAAAAAAA==}
            - {name: "a:b", secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}
      - aescbc:
          keys:
            - {name: a, secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}
      - secretbox:
          keys:
            - {name: a, secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}
      - identity: {}
"#;

/// Unwraps everything to the same key, so that the fuzzer gets past the KMS.
#[derive(Debug)]
struct Yes;

impl fmt::Display for Yes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("yes")
    }
}

#[async_trait::async_trait]
impl KeyProvider for Yes {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic().with_unwraps_without_key_id(true)
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Ok(KeyInfo::new("key-1".parse()?, KeyState::Enabled))
    }

    async fn wrap(&self, _: &SecretBytes, _: &WrapOptions) -> Result<WrappedKey, Error> {
        WrappedKey::new("key-1".parse()?, vec![1])
    }

    async fn unwrap(&self, _: &WrappedKey, _: &UnwrapOptions) -> Result<SecretBytes, Error> {
        Ok(SecretBytes::copy_from_slice(&[0; 32]))
    }
}

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Tick {
        Tick::ORIGIN
    }

    fn wall_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep_until(&self, _: Tick) -> Sleep {
        Box::pin(core::future::pending())
    }
}

static READER: LazyLock<(Transformer, ConfiguredNames)> = LazyLock::new(|| {
    let configuration = EncryptionConfiguration::parse(CONFIGURATION).expect("it is valid");
    let providers = &configuration.resources[0].providers;
    let transformer = Transformer::builder(providers, Arc::new(Stopped), Arc::new(OsRandom))
        .kms("k", Arc::new(Yes))
        .kms("k:1", Arc::new(Yes))
        .build()
        .expect("it is complete");
    transformer
        .refresh()
        .now_or_never()
        .expect("nothing waits")
        .expect("nothing fails");
    (transformer, ConfiguredNames::new(providers))
});

fuzz_target!(|value: &[u8]| {
    let (transformer, names) = &*READER;
    let _ = inspect(value);
    let inspection = names.inspect(value);
    let opened = transformer
        .read(ETCD_KEY, value)
        .now_or_never()
        .expect("nothing waits");
    if let Ok(opened) = opened
        && opened.provider() == ProviderKind::KmsV2
    {
        assert_eq!(
            inspection.map(|inspection| inspection.provider),
            Ok(ProviderKind::KmsV2)
        );
    }
});
