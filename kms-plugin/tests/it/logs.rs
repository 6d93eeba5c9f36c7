//! What is logged when, and what is not.

use std::fmt;
use std::sync::{Arc, Mutex};

use kms_core::{ErrorKind, KeyProvider};
use kms_testkit::Operation;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::{Served, current, dek, eventually, provider, quick, unwell, well};

/// Keeps all events as `LEVEL target message field=value ...`.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn of(&self, start: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(start).map(ToOwned::to_owned))
            .collect()
    }

    fn lifecycle(&self) -> Vec<String> {
        let mut lines = self.of("INFO kms_plugin::lifecycle ");
        lines.extend(self.of("WARN kms_plugin::lifecycle "));
        lines
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0 += &format!(" {value:?}"),
            name => self.0 += &format!(" {name}={value:?}"),
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("kms_plugin")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}", metadata.level(), metadata.target()));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn an_operator_reads_what_changes_and_nothing_else() {
    let lines = Lines::default();
    // Everything in this test runs on this thread.
    let _guard = tracing::subscriber::set_default(lines.clone());
    let provider = provider();
    let served = Served::new(quick(provider.clone())).await;
    let client = served.client();
    let old = well(&client).await;
    let begin = lines.lifecycle();
    assert_eq!(begin.len(), 2, "{begin:?}");
    assert!(begin[0].starts_with("listening address="), "{begin:?}");
    assert_eq!(begin[1], format!("ready key_id={old}"));

    let new = provider.inner().rotate().unwrap();
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    let opened = client.unwrap(&wrapped, &Default::default()).await.unwrap();
    assert_eq!(opened, dek());
    assert_eq!(current(&client).await.unwrap(), new);
    let changed = lines.lifecycle().split_off(2);
    assert_eq!(
        changed,
        [format!("key changed key_id={new} replaced={old}")]
    );

    // Once for each failure, however often it is seen, and once more when it changes.
    for kind in [ErrorKind::PermissionDenied, ErrorKind::Unauthenticated] {
        provider.set_error_rate(Operation::CurrentKey, 1000, kind);
        unwell(&client, ErrorKind::Unavailable).await;
        let before = provider.calls(Operation::CurrentKey);
        eventually("it fails again and again", || async {
            (provider.calls(Operation::CurrentKey) > before + 4).then_some(())
        })
        .await;
    }
    provider.set_error_rate(Operation::CurrentKey, 0, ErrorKind::Unavailable);
    well(&client).await;
    let infos = lines.of("INFO kms_plugin::lifecycle ").split_off(3);
    assert_eq!(infos, [format!("recovered after failure key_id={new}")]);
    let warnings = lines.of("WARN ");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (warning, kind) in warnings
        .iter()
        .zip(["permission_denied", "unauthenticated"])
    {
        assert!(warning.starts_with("kms_plugin::lifecycle "), "{warning}");
        assert!(warning.contains(kind), "{warning}");
    }

    let calls = lines.of("DEBUG kms_plugin::server::service ");
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls[0].starts_with("v2 encrypt uid="), "{calls:?}");
    assert!(calls[1].starts_with("v2 decrypt uid="), "{calls:?}");
    // The DEK of the test, however it might be written.
    let all = lines.0.lock().unwrap().join("\n");
    assert!(!all.contains("7, 7, 7") && !all.contains("070707"), "{all}");
}
