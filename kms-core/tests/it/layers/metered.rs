//! `Metered`.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use kms_core::layer::Metered;
use kms_core::{CallOptions, ErrorKind, KeyProvider as _, UnwrapOptions, WrapOptions};
use kms_testkit::{Operation, Outcome};
use metrics::Unit;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshot};

use super::{Faults, SECOND, dek, faults};

type M = Metered<Faults>;

/// Counters as text, and the values of histograms.
fn read(snapshot: Snapshot) -> (BTreeMap<String, u64>, Vec<f64>) {
    let (mut counters, mut seconds) = (BTreeMap::new(), Vec::new());
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
            DebugValue::Gauge(_) => panic!("no gauge is expected"),
        }
    }
    (counters, seconds)
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
    let (counters, seconds) = read(snapshotter.snapshot());
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
}
