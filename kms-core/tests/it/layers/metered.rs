//! `Metered`.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use kms_core::layer::Metered;
use kms_core::{
    CallOptions, Capabilities, Error, ErrorKind, KeyInfo, KeyProvider, SecretBytes, UnwrapOptions,
    WrapOptions, WrappedKey,
};
use kms_testkit::{Operation, Outcome};
use metrics::Unit;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshot};

use super::{Faults, SECOND, dek, faults};

type M = Metered<Faults>;

/// Counters as text, the values of histograms, and gauges.
fn read(snapshot: Snapshot) -> (BTreeMap<String, u64>, Vec<f64>, Vec<(String, f64)>) {
    let (mut counters, mut seconds, mut gauges) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (key, unit, description, value) in snapshot.into_vec() {
        assert!(description.is_some_and(|text| text.ends_with('.')));
        let labels: Vec<_> = key
            .key()
            .labels()
            .map(|l| format!("{}={}", l.key(), l.value()))
            .collect();
        match value {
            DebugValue::Counter(count) => {
                assert_eq!((key.key().name(), unit), (M::CALLS, Some(Unit::Count)));
                counters.insert(labels.join(" "), count);
            }
            DebugValue::Histogram(values) => {
                assert_eq!((key.key().name(), unit), (M::DURATION, Some(Unit::Seconds)));
                seconds.extend(values.into_iter().map(f64::from));
            }
            DebugValue::Gauge(value) => {
                let name = key.key().name();
                assert_eq!((name, unit), (M::KEY_EXPIRY, Some(Unit::Seconds)));
                gauges.push((labels.join(" "), f64::from(value)));
            }
        }
    }
    (counters, seconds, gauges)
}

#[test]
fn every_outcome_is_counted_and_timed() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let (faults, clock) = faults();
        faults.set_latency(Operation::CurrentKey, SECOND * 2);
        faults.script(Operation::Unwrap, [Outcome::Fail(ErrorKind::Throttled)]);
        faults.script(Operation::ListKeys, [Outcome::Hang]);
        let provider = Metered::new(faults, Arc::new(clock.clone()), "vault-1");
        let call = CallOptions::default();
        clock.run(provider.current_key(&call)).unwrap().unwrap();
        clock
            .run(provider.describe_key(&"no".parse().unwrap(), &call))
            .unwrap()
            .unwrap_err();
        let wrap = || {
            clock
                .run(provider.wrap(&dek(), &WrapOptions::default()))
                .unwrap()
                .unwrap()
        };
        wrap();
        let wrapped = wrap();
        clock
            .run(provider.unwrap(&wrapped, &UnwrapOptions::default()))
            .unwrap()
            .unwrap_err();
        assert!(provider.list_keys(&call).now_or_never().is_none());
    });
    let (counters, seconds, gauges) = read(snapshotter.snapshot());
    let expected = [
        ("provider=vault-1 operation=current_key outcome=ok", 1),
        (
            "provider=vault-1 operation=describe_key outcome=key_not_found",
            1,
        ),
        ("provider=vault-1 operation=list_keys outcome=cancelled", 1),
        ("provider=vault-1 operation=unwrap outcome=throttled", 1),
        ("provider=vault-1 operation=wrap outcome=ok", 2),
    ];
    assert_eq!(
        counters,
        expected
            .map(|(labels, count)| (labels.to_owned(), count))
            .into()
    );
    assert_eq!(seconds.len(), 6);
    assert_eq!(
        seconds.iter().sum::<f64>(),
        2.0,
        "only current_key took time"
    );
    // A key of the static provider has no end.
    assert_eq!(gauges, [("provider=vault-1".to_owned(), f64::INFINITY)]);
}

/// A provider whose key ends at a time.
#[derive(Debug)]
struct Ending(Faults, Option<SystemTime>);

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl KeyProvider for Ending {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        let mut key = self.0.current_key(options).await?;
        key.expires = self.1;
        Ok(key)
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.0.wrap(dek, options).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.0.unwrap(wrapped, options).await
    }
}

/// R44: so that an alert can come before a key ends.
#[test]
fn the_end_of_the_key_is_a_gauge() {
    for (end, shown) in [
        (Some(UNIX_EPOCH + SECOND * 1_800_000_000), 1.8e9),
        (None, f64::INFINITY),
    ] {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let (faults, clock) = faults();
            let provider = Metered::new(Ending(faults, end), Arc::new(clock.clone()), "v");
            let call = CallOptions::default();
            clock.run(provider.current_key(&call)).unwrap().unwrap();
        });
        let (_, _, gauges) = read(snapshotter.snapshot());
        assert_eq!(gauges, [("provider=v".to_owned(), shown)]);
    }
}
