//! The life of a version, through the provider.

use core::time::Duration;

use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::{CallOptions, Clock as _, ErrorKind, KeyProvider as _, KeyState};

use super::{Place, current, kind, now, secret, unwrap, wrap};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn rotation_keeps_what_was_wrapped_before() {
    let place = Place::new();
    let provider = place.create();
    let before = wrap(&provider, "before").unwrap();
    place.clock.advance(DAY);
    let rotated = provider.rotate().unwrap();
    assert_eq!((rotated.version, rotated.current), (2, true));
    assert_eq!(current(&provider).unwrap(), rotated.info.id);
    let after = wrap(&provider, "after").unwrap();
    assert_ne!(before.key_id(), after.key_id());
    assert_eq!(unwrap(&provider, &before).unwrap(), secret("before"));
    assert_eq!(unwrap(&provider, &after).unwrap(), secret("after"));
    let again = place.open().unwrap();
    assert_eq!(unwrap(&again, &before).unwrap(), secret("before"));
    assert_eq!(again.list().unwrap(), provider.list().unwrap());
}

#[test]
fn a_disabled_version_does_not_unwrap_until_it_is_enabled() {
    let place = Place::new();
    let provider = place.create();
    let wrapped = wrap(&provider, "dek").unwrap();
    let refused = provider.disable(1).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(
        refused.remedy().contains("rotate first"),
        "{}",
        refused.remedy()
    );
    provider.rotate().unwrap();
    assert_eq!(provider.disable(1).unwrap().info.state, KeyState::Disabled);
    assert_eq!(kind(unwrap(&provider, &wrapped)), ErrorKind::KeyDisabled);
    provider.enable(1).unwrap();
    assert_eq!(unwrap(&provider, &wrapped).unwrap(), secret("dek"));
}

#[test]
fn destruction_waits_for_its_grace_period_and_leaves_a_tombstone() {
    let place = Place::new();
    let provider = place.create();
    let wrapped = wrap(&provider, "dek").unwrap();
    provider.rotate().unwrap();
    let grace = LocalOptions::DEFAULT_MIN_GRACE;
    let short = provider.schedule_destruction(1, grace - Duration::from_millis(1));
    assert_eq!(kind(short), ErrorKind::InvalidInput);
    let scheduled = provider.schedule_destruction(1, grace).unwrap();
    let now = place.clock.wall_time();
    assert_eq!(scheduled.destroy_due, Some(now + grace));
    assert_eq!(kind(unwrap(&provider, &wrapped)), ErrorKind::KeyDisabled);

    place.clock.advance(grace - Duration::from_millis(1));
    assert!(provider.destroy_due().unwrap().is_empty());
    place.set_back(30 * DAY);
    assert!(provider.destroy_due().unwrap().is_empty());
    place.clock.advance(30 * DAY + Duration::from_millis(1));
    let destroyed = provider.destroy_due().unwrap();
    assert_eq!(destroyed.len(), 1);
    assert_eq!(destroyed[0].info.state, KeyState::Destroyed);
    assert_eq!(Some(&destroyed[0].info.id), wrapped.key_id());
    assert_eq!(kind(unwrap(&provider, &wrapped)), ErrorKind::KeyDestroyed);
    assert_eq!(
        kind(provider.cancel_destruction(1)),
        ErrorKind::KeyDestroyed
    );

    let text = std::fs::read_to_string(place.path()).unwrap();
    assert_eq!(text.matches("\"material\"").count(), 1, "{text}");
    let again = place.open().unwrap();
    assert_eq!(again.list().unwrap().len(), 2);
    assert_eq!(again.rotate().unwrap().version, 3);
}

#[test]
fn a_clock_that_was_behind_when_destruction_was_scheduled_destroys_nothing_early() {
    let place = Place::new();
    let provider = place.create();
    provider.rotate().unwrap();
    place.set_back(300 * DAY);
    provider.schedule_destruction(1, 7 * DAY).unwrap();
    place.clock.advance(300 * DAY);
    assert!(provider.destroy_due().unwrap().is_empty());
    place.clock.advance(7 * DAY);
    assert_eq!(provider.destroy_due().unwrap().len(), 1);
}

#[test]
fn destruction_can_be_cancelled_even_when_due() {
    let place = Place::new();
    let provider = place.create();
    let wrapped = wrap(&provider, "dek").unwrap();
    provider.rotate().unwrap();
    provider.schedule_destruction(1, 7 * DAY).unwrap();
    place.clock.advance(8 * DAY);
    let saved = provider.cancel_destruction(1).unwrap();
    assert_eq!(
        (saved.info.state, saved.destroy_due),
        (KeyState::Disabled, None)
    );
    assert!(provider.destroy_due().unwrap().is_empty());
    provider.enable(1).unwrap();
    assert_eq!(unwrap(&provider, &wrapped).unwrap(), secret("dek"));
}

#[test]
fn a_shorter_grace_period_must_be_allowed() {
    let place = Place::new();
    drop(place.create());
    let options = place.options().with_min_grace(Duration::ZERO);
    let provider = LocalProvider::open(place.path(), options).unwrap();
    provider.rotate().unwrap();
    provider.schedule_destruction(1, Duration::ZERO).unwrap();
    assert_eq!(provider.destroy_due().unwrap().len(), 1);
}

#[test]
fn an_imported_key_becomes_the_current_one() {
    let place = Place::new();
    let provider = place.create();
    let key = "0123456789abcdef0123456789abcdef";
    let imported = provider.import(secret(key)).unwrap();
    assert!(imported.imported && imported.current);
    assert_eq!(
        wrap(&provider, "dek").unwrap().key_id(),
        Some(&imported.info.id)
    );
    assert_eq!(kind(provider.import(secret(key))), ErrorKind::InvalidInput);
    assert_eq!(
        kind(provider.import(secret("short"))),
        ErrorKind::InvalidInput
    );
    assert!(place.open().unwrap().list().unwrap()[1].imported);
}

#[test]
fn an_operation_that_changes_nothing_writes_nothing() {
    let place = Place::new();
    let provider = place.create();
    provider.rotate().unwrap();
    provider.disable(1).unwrap();
    // Whoever writes, replaces the file; what is written into this one would stay otherwise.
    std::fs::hard_link(place.path(), place.directory.path().join("same")).unwrap();
    let same = || {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(place.path())
            .unwrap();
        std::io::Write::write_all(&mut file, b" ").unwrap();
        let grown = std::fs::read(place.directory.path().join("same")).unwrap();
        file.set_len(u64::try_from(grown.len()).unwrap() - 1)
            .unwrap();
        grown.ends_with(b" ")
    };
    provider.disable(1).unwrap();
    provider.enable(2).unwrap();
    provider.destroy_due().unwrap();
    assert!(provider.disable(2).is_err());
    assert!(same());
    provider.enable(1).unwrap();
    assert!(!same());
}

#[test]
fn versions_are_described_and_listed() {
    let place = Place::new();
    let provider = place.create();
    provider.rotate().unwrap();
    let keys = now(provider.list_keys(&CallOptions::default())).unwrap();
    assert_eq!(keys.len(), 2);
    for key in &keys {
        let described = now(provider.describe_key(&key.id, &CallOptions::default())).unwrap();
        assert_eq!(&described, key);
        assert_eq!(described.algorithm.as_deref(), Some("AES-256-GCM"));
    }
    let unknown = "local/00/1-0123456789abcdef".parse().unwrap();
    let error = now(provider.describe_key(&unknown, &CallOptions::default())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotFound);
    assert_eq!(error.key_id(), Some(&unknown));
}
