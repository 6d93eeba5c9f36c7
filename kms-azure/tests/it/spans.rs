//! What a tracer sees of calls, looks and tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use kms_azure::provider::ProviderOptions;
use kms_core::{CallOptions, KeyProvider as _, SecretBytes, UnwrapOptions, WrapOptions};
use kms_testkit::vault::{Fault, Operation};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::{Lab, listen, version_of, versionless};

/// A span: its name, target, the name of the span it was opened in, and its fields.
#[derive(Clone, Debug, Default)]
struct Seen {
    name: &'static str,
    target: &'static str,
    within: Option<&'static str>,
    fields: BTreeMap<&'static str, String>,
}

/// Collects the spans of this crate. On one thread, so that one stack is enough.
#[derive(Clone, Default)]
struct Tracer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    spans: Vec<Seen>,
    open: Vec<u64>,
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Tracer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("kms_azure")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut state = self.0.lock().unwrap();
        let metadata = attributes.metadata();
        let outer = state.open.last().copied();
        let mut seen = Seen {
            name: metadata.name(),
            target: metadata.target(),
            within: outer.map(|id| state.spans[id as usize - 1].name),
            fields: BTreeMap::new(),
        };
        attributes.record(&mut Fields(&mut seen.fields));
        state.spans.push(seen);
        Id::from_u64(state.spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut state = self.0.lock().unwrap();
        let seen = &mut state.spans[id.into_u64() as usize - 1];
        values.record(&mut Fields(&mut seen.fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        self.0.lock().unwrap().open.push(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        let mut state = self.0.lock().unwrap();
        let at = state.open.iter().rposition(|open| *open == id.into_u64());
        state.open.remove(at.unwrap());
    }
}

impl Tracer {
    fn named(&self, name: &str) -> Vec<Seen> {
        let state = self.0.lock().unwrap();
        let spans = state.spans.iter().filter(|span| span.name == name);
        spans.cloned().collect()
    }
}

#[tokio::test(flavor = "current_thread")]
async fn calls_looks_and_tokens_are_spans_with_their_outcome() {
    let lab = Lab::new().await;
    let store = lab.azure.key_vault();
    let kid = store.create_rsa_key("etcd", 2048).unwrap();
    let tracer = Tracer::default();
    let _guard = listen(tracer.clone());
    let options = ProviderOptions::default().with_max_attempts(1);
    let provider = lab.provider(versionless(&kid), options);
    let dek = SecretBytes::from_vec(vec![7; 32]);
    let call = CallOptions::default().with_request_id("3f1c2a5e");
    let wrap = WrapOptions::default().with_call(call.clone());
    let wrapped = provider.wrap(&dek, &wrap).await.unwrap();
    let unwrap = UnwrapOptions::default().with_call(call);
    provider.unwrap(&wrapped, &unwrap).await.unwrap();
    store.disturb(Operation::UnwrapKey, Fault::Status(503), 1);
    provider.unwrap(&wrapped, &unwrap).await.unwrap_err();

    let version = version_of(&kid);
    let shows = |seen: &Seen, fields: &[(&str, &str)]| {
        for (field, value) in fields {
            let found = seen.fields.get(field).map(|text| text.trim_matches('"'));
            assert_eq!(found, Some(*value), "{field} of {seen:?}");
        }
    };
    let [wrap] = tracer.named("wrap").try_into().unwrap();
    assert_eq!(wrap.target, "kms_azure::provider");
    let common = [
        ("key", versionless(&kid)),
        ("version", version),
        ("request_id", "3f1c2a5e"),
    ];
    shows(&wrap, &common);
    shows(&wrap, &[("local", "true"), ("outcome", "ok")]);
    let [opened, failed] = tracer.named("unwrap").try_into().unwrap();
    shows(&opened, &common);
    shows(&opened, &[("outcome", "ok")]);
    shows(&failed, &[("outcome", "unavailable")]);
    let [look] = tracer.named("look").try_into().unwrap();
    shows(&look, &[("outcome", "ok")]);
    let [token] = tracer.named("token").try_into().unwrap();
    assert_eq!(token.target, "kms_azure::credential");
    shows(&token, &[("outcome", "ok")]);
    let calls = tracer.named("vault_call");
    let seen: Vec<_> = calls
        .iter()
        .map(|call| {
            (
                call.fields["operation"].as_str(),
                call.within,
                call.fields["outcome"].as_str(),
            )
        })
        .map(|(operation, within, outcome)| (operation, within, outcome.trim_matches('"')))
        .collect();
    assert_eq!(
        seen,
        [
            ("get", Some("look"), "ok"),
            // The version is so new that there might be an older one.
            ("list versions", Some("look"), "ok"),
            ("unwrapKey", Some("unwrap"), "ok"),
            ("unwrapKey", Some("unwrap"), "unavailable"),
        ]
    );
}

/// What a caller calls its request may be anything; what is not fit for a log line is left out.
#[tokio::test(flavor = "current_thread")]
async fn a_request_id_that_is_no_id_is_not_shown() {
    let lab = Lab::new().await;
    let kid = lab.azure.key_vault().create_rsa_key("etcd", 2048).unwrap();
    let tracer = Tracer::default();
    let _guard = listen(tracer.clone());
    let provider = lab.provider(versionless(&kid), ProviderOptions::default());
    let dek = SecretBytes::from_vec(vec![7; 32]);
    for id in ["a\nb", "", &"x".repeat(129)] {
        let call = CallOptions::default().with_request_id(id);
        let options = WrapOptions::default().with_call(call);
        provider.wrap(&dek, &options).await.unwrap();
    }
    for seen in tracer.named("wrap") {
        assert!(!seen.fields.contains_key("request_id"), "{seen:?}");
    }
    assert_eq!(tracer.named("wrap").len(), 3);
}
