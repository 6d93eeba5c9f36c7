//! The state as text.

use kms_envelope::ErrorKind;
use kms_envelope::rotation::{
    Change, Effect, Event, Observation, Policy, ProviderName, Start, State, step,
};
use serde_json::{Value, json};

use super::hand::Hand;
use super::{CLUSTER, enabled, id, provider, seconds, start};

/// One in which every part is in use.
fn full() -> State {
    let mut hand = Hand::on_first_key(Policy::default());
    hand.rotate_to("a2");
    hand.finish();
    hand.tell(hand.retire("a1"));
    hand.tell(Event::Change(Change::Replace {
        provider: provider("b"),
        key: enabled("b1").with_active_at(start()),
    }));
    hand.state
}

fn value(state: &State) -> Value {
    serde_json::from_str(&state.to_json().unwrap()).unwrap()
}

fn refusal(value: &Value) -> kms_envelope::Error {
    State::from_json(&value.to_string()).expect_err("it is refused")
}

/// Frozen: what version 1 of the text looks like.
#[test]
fn the_text_of_version_1() {
    let state = State::new(
        CLUSTER,
        Start::Key {
            provider: provider("a"),
            key: enabled("a1").with_active_at(start()),
        },
        Policy::default(),
        start(),
    )
    .unwrap();
    let expected = json!({
        "format": "kms-rotation-state",
        "version": 1,
        "state": {
            "cluster_id": "cdf818194e3a8c32",
            "policy": {
                "max_live_keys": 2,
                "retention": "while_needed",
                "rewrite": "fresh_deks",
                "skew_ms": 60_000,
                "activation_delay_ms": 660_000,
                "write_lease_ms": 300_000,
                "evidence_max_age_ms": 600_000,
                "permit_life_ms": 900_000,
                "first_retry_ms": 5_000,
                "longest_retry_ms": 600_000,
                "reissue_after_ms": 600_000,
                "verify_again_after_ms": 21_600_000,
            },
            "writer": { "key": "a1" },
            "epoch": 1,
            "next_task": 2,
            "changing": null,
            "work": {
                "settling": {
                    "task": {
                        "id": 1,
                        "issued": 1_800_000_000_000_u64,
                        "failures": 0,
                        "wait_until": 1_800_000_060_000_u64,
                    },
                    "confirmed": false,
                    "reconfigure": false,
                    "lagging": 0,
                    "migrate": false,
                },
            },
            "redo": false,
            "remaining": { "off_target": 0, "unnamed": 0, "unreadable": 0 },
            "providers": [
                { "name": "a", "names_keys": true, "release": null, "lagging": 0 },
            ],
            "keys": [{
                "id": "a1",
                "provider": "a",
                "stage": "active",
                "since": 1_800_000_000_000_u64,
                "health": "enabled",
                "compromised": false,
                "active_at": 1_800_000_000_000_u64,
                "late": false,
                "epoch": 1,
                "material": null,
                "generation": 0,
                "rewrapped": false,
                "drained": null,
                "objections": null,
                "permit": null,
            }],
        },
    });
    assert_eq!(value(&state), expected);
    assert_eq!(State::from_json(&expected.to_string()).unwrap(), state);
}

/// Every field counts: one that is missing, unknown or of another kind is refused, wherever it is.
#[test]
fn every_field_counts() {
    let whole = value(&full());
    let mut places = Vec::new();
    collect(&whole, String::new(), &mut places);
    assert!(places.len() > 100, "{}", places.len());
    for place in places {
        let (parent, field) = place.rsplit_once('/').unwrap();
        let mut without = whole.clone();
        let holder = without
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap();
        holder.remove(field).unwrap();
        assert!(
            State::from_json(&without.to_string()).is_err(),
            "without {place}"
        );
        let mut more = whole.clone();
        let holder = more.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        holder.insert("more".to_owned(), json!(1));
        assert!(
            State::from_json(&more.to_string()).is_err(),
            "more at {parent}"
        );
        let mut other = whole.clone();
        *other.pointer_mut(&place).unwrap() = json!([[]]);
        assert!(
            State::from_json(&other.to_string()).is_err(),
            "another {place}"
        );
    }
}

fn collect(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let place = format!("{place}/{name}");
                places.push(place.clone());
                collect(field, place, places);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                collect(item, format!("{place}/{at}"), places);
            }
        }
        _ => {}
    }
}

/// What does not go together is refused, and the message names the field.
#[test]
fn what_does_not_go_together_is_refused() {
    let whole = value(&full());
    type Damage = fn(&mut Value);
    let cases: [(&str, Damage); 20] = [
        ("cluster_id", |it| it["cluster_id"] = json!("")),
        ("cluster_id", |it| it["cluster_id"] = json!("a\nb")),
        ("cluster_id", |it| it["cluster_id"] = json!("c".repeat(257))),
        ("policy", |it| it["policy"]["max_live_keys"] = json!(1)),
        ("writer", |it| it["writer"] = json!({ "key": "a1" })),
        ("writer", |it| it["writer"] = json!("plain")),
        ("epoch", |it| it["epoch"] = json!(1)),
        ("writer", |it| it["epoch"] = json!(9)),
        ("next_task", |it| it["next_task"] = json!(1)),
        ("keys", |it| {
            let first = it["keys"][0].clone();
            it["keys"].as_array_mut().unwrap().push(first);
        }),
        ("drained", |it| it["keys"][0]["drained"] = Value::Null),
        ("objections", |it| {
            it["keys"][0]["stage"] = json!("retirable");
            it["keys"][0]["permit"] = Value::Null;
            it["keys"][0]["objections"] = json!(1);
        }),
        ("permit", |it| {
            it["keys"][0]["stage"] = json!("previous");
        }),
        ("material", |it| it["keys"][0]["material"] = json!("a1")),
        ("change", |it| it["keys"][2]["stage"] = json!("previous")),
        ("change", |it| it["keys"][2]["provider"] = json!("a")),
        ("providers", |it| it["providers"][0]["name"] = json!("z")),
        ("providers", |it| {
            let first = it["providers"][0].clone();
            it["providers"].as_array_mut().unwrap().push(first);
        }),
        ("writer", |it| it["writer"] = json!({ "unnamed": "b" })),
        ("year 9999", |it| {
            it["keys"][0]["since"] = json!(253_402_300_800_000_u64);
        }),
    ];
    for (field, damage) in cases {
        let mut damaged = whole.clone();
        damage(&mut damaged["state"]);
        let error = refusal(&damaged);
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.message().contains(field), "{field}: {error}");
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    let mut other = value(&full());
    other["format"] = json!("something-else");
    assert_eq!(refusal(&other).kind(), ErrorKind::Malformed);
    let mut newer = value(&full());
    newer["version"] = json!(2);
    assert_eq!(refusal(&newer).kind(), ErrorKind::Unsupported);
    newer["version"] = json!(0);
    assert_eq!(refusal(&newer).kind(), ErrorKind::Malformed);
    let text = full().to_json().unwrap();
    assert!(State::from_json(&text[..text.len() - 1]).is_err());
    assert!(State::from_json(&format!("{text}x")).is_err());
    let blown = format!("{text}{}", " ".repeat(State::MAX_JSON_LEN));
    assert_eq!(
        State::from_json(&blown).unwrap_err().kind(),
        ErrorKind::Malformed
    );
    let twice = text.replacen("\"redo\":false", "\"redo\":false,\"redo\":false", 1);
    assert_ne!(twice, text);
    assert!(State::from_json(&twice).is_err());
}

/// At its bounds a state still fits, and no step goes beyond them.
#[test]
fn a_state_at_its_bounds_can_be_kept() {
    // Quotes are two bytes in JSON.
    let long = |number: usize, length: usize| {
        let mut name = format!("{number:04}");
        name.extend(core::iter::repeat_n('"', length - name.len()));
        name
    };
    let name = ProviderName::new(long(0, ProviderName::MAX_LEN)).unwrap();
    let key = |number: usize| {
        enabled(&long(number, 1024))
            .with_active_at(start())
            .with_material(id(&long(9_999, 1024)))
    };
    let begin = Start::Key {
        provider: name.clone(),
        key: key(0),
    };
    let cluster = "\"".repeat(State::MAX_CLUSTER_ID_LEN);
    let mut state = State::new(cluster, begin, Policy::default(), start()).unwrap();
    let seen = Observation::new(name, (0..State::MAX_KEYS + 5).map(key).collect());
    let taken = step(&state, &Event::Observed(seen), start());
    let alert = |it: &&Effect| matches!(it, Effect::Alert(alert) if alert.code() == "no_room");
    assert_eq!(taken.effects.iter().filter(alert).count(), 5);
    state = taken.state;
    assert_eq!(state.keys().len(), State::MAX_KEYS);
    let text = state.to_json().unwrap();
    assert!(text.len() > 500_000, "{}", text.len());
    assert_eq!(State::from_json(&text).unwrap(), state);

    // Providers.
    let mut hand = Hand::plain();
    let mut refused = None;
    for number in 0..=State::MAX_PROVIDERS {
        let change = Event::Change(Change::Enable {
            provider: provider(&format!("p{number}")),
            key: enabled(&format!("k{number}")).with_active_at(start() - seconds(99)),
        });
        let taken = hand.step(&change);
        refused = taken.refusal.map(|refusal| refusal.code());
        if refused.is_none() {
            hand.tell(Event::Abandon);
        }
    }
    assert_eq!(
        refused,
        Some("not_migrated"),
        "the bound on live keys comes first"
    );
}

/// Room is made by forgetting what is retired and gone, the oldest first.
#[test]
fn what_is_retired_and_gone_makes_room() {
    let mut hand = Hand::on_first_key(Policy::default());
    for number in 2..=State::MAX_KEYS + 3 {
        let (old, new) = (format!("a{}", number - 1), format!("a{number}"));
        hand.rotate_to(&new);
        hand.finish();
        hand.tell(hand.retire(&old));
        hand.turn(&old, kms_core::KeyState::Destroyed);
    }
    assert_eq!(hand.state.keys().len(), State::MAX_KEYS);
    assert!(hand.state.key(&id("a1")).is_none());
    assert!(hand.state.key(&id("a4")).is_some());
}
