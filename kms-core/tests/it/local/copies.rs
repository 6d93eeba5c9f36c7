//! Copies of one keyring that are changed apart.

use std::fs;

use kms_core::local::LocalProvider;
use kms_core::{CallOptions, ErrorKind, KeyProvider as _, WrappedKey};

use super::{Place, current, kind, now, secret, unwrap, wrap};

/// Two places with a provider each, over copies of one keyring.
fn copies() -> [(Place, LocalProvider); 2] {
    let (one, two) = (Place::new(), Place::new());
    let first = one.create();
    fs::copy(one.path(), two.path()).unwrap();
    let second = two.open().unwrap();
    [(one, first), (two, second)]
}

#[test]
fn copies_that_rotate_apart_never_give_one_id_to_two_keys() {
    let [(_one, first), (two, second)] = copies();
    assert_eq!(current(&first).unwrap(), current(&second).unwrap());
    let (here, there) = (first.rotate().unwrap(), second.rotate().unwrap());
    assert_eq!(here.version, there.version);
    assert_ne!(here.info.id, there.info.id);

    let wrapped = wrap(&first, "dek").unwrap();
    assert_eq!(unwrap(&first, &wrapped).unwrap(), secret("dek"));
    let describe = now(second.describe_key(&here.info.id, &CallOptions::default()));
    let unwrapped = unwrap(&second, &wrapped);
    for error in [describe.unwrap_err(), unwrapped.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::KeyNotFound);
        assert_eq!(error.key_id(), Some(&here.info.id));
        assert!(error.message().contains("another copy"), "{error}");
        assert!(error.remedy().contains("in one place"), "{error:?}");
    }
    // The copy may lie at the path by now; as long as it cannot be served, its fault is told.
    fs::remove_file(two.path()).unwrap();
    assert_eq!(kind(unwrap(&second, &wrapped)), ErrorKind::Io);
}

#[test]
fn a_copy_that_has_not_been_brought_up_to_date_says_so() {
    let [(_one, first), (_two, second)] = copies();
    first.rotate().unwrap();
    let error = unwrap(&second, &wrap(&first, "dek").unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotFound);
    assert!(error.remedy().contains("newest copy"), "{error:?}");
}

#[test]
fn without_a_key_id_copies_cannot_be_told_apart() {
    let [(_one, first), (_two, second)] = copies();
    first.rotate().unwrap();
    second.rotate().unwrap();
    let wrapped = wrap(&first, "dek").unwrap();
    let bare = WrappedKey::without_key_id(wrapped.ciphertext().to_vec()).unwrap();
    assert_eq!(kind(unwrap(&second, &bare)), ErrorKind::Crypto);
}

#[test]
fn another_history_is_not_taken_over_however_far_it_has_come() {
    let [(one, first), (two, second)] = copies();
    first.rotate().unwrap();
    let wrapped = wrap(&first, "dek").unwrap();
    for _ in 0..5 {
        second.rotate().unwrap();
    }
    fs::copy(two.path(), one.path()).unwrap();
    let error = current(&first).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("another history"), "{error}");
    assert_eq!(unwrap(&first, &wrapped).unwrap(), secret("dek"));
    // A key id of the other history is not unknown while its file lies here.
    let other = wrap(&second, "dek").unwrap();
    assert_eq!(kind(unwrap(&first, &other)), ErrorKind::Corrupt);
}
