//! `Union`.

use std::sync::Arc;

use kms_core::layer::Union;
use kms_core::{
    CallOptions, Capabilities, EncryptionContext, Error, ErrorKind, KeyId, KeyInfo, KeyProvider,
    SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_testkit::{FaultProvider, ManualClock, Operation, Outcome, StaticProvider};
use proptest::prelude::*;

use super::{Faults, dek, wrapped_by};

/// Three static providers with one key each: `new`, `old`, `older`.
fn members() -> [Faults; 3] {
    [("new", 1), ("old", 2), ("older", 3)].map(|(id, byte)| {
        let keys = StaticProvider::new(id.parse().unwrap(), [byte; 32]);
        Arc::new(FaultProvider::new(keys, Arc::new(ManualClock::new())))
    })
}

fn union(members: &[Faults; 3]) -> Union {
    let [new, old, older] = members.clone();
    Union::new(new).with_older(old).with_older(older)
}

fn run<F: Future>(call: F) -> F::Output {
    ManualClock::new().run(call).expect("nothing hangs")
}

fn unwrap(union: &Union, wrapped: &WrappedKey) -> Result<SecretBytes, Error> {
    run(union.unwrap(wrapped, &UnwrapOptions::default()))
}

fn without_key_id(wrapped: &WrappedKey) -> WrappedKey {
    WrappedKey::without_key_id(wrapped.ciphertext().to_vec()).unwrap()
}

fn tampered(wrapped: &WrappedKey) -> WrappedKey {
    let mut ciphertext = wrapped.ciphertext().to_vec();
    ciphertext[20] ^= 1;
    WrappedKey::new(wrapped.key_id().unwrap().clone(), ciphertext).unwrap()
}

fn calls(members: &[Faults; 3]) -> [u64; 3] {
    [0, 1, 2].map(|index| members[index].calls(Operation::Unwrap))
}

#[test]
fn it_wraps_with_the_current_and_opens_what_any_has_wrapped() {
    let members = members();
    let union = union(&members);
    assert_eq!(union.to_string(), "static+static+static");
    let new = run(union.wrap(&dek(), &WrapOptions::default())).unwrap();
    assert_eq!(new.key_id().unwrap().as_str(), "new");
    for member in &members {
        let wrapped = wrapped_by(member);
        assert_eq!(unwrap(&union, &wrapped).unwrap(), dek());
        assert_eq!(unwrap(&union, &without_key_id(&wrapped)).unwrap(), dek());
    }
}

#[test]
fn a_claim_decides_who_is_asked() {
    let members = members();
    let [new, old, older] = members.clone();
    let union = Union::new(new)
        .with_older_claiming(old, |id| id.as_str() == "no-such-key")
        .with_older_claiming(older, |id| id.as_str() == "older");
    assert_eq!(unwrap(&union, &wrapped_by(&members[2])).unwrap(), dek());
    assert_eq!(
        calls(&members),
        [0, 0, 1],
        "only the one that claims the id is asked"
    );
    let error = unwrap(&union, &wrapped_by(&members[1])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotFound);
    assert_eq!(error.key_id().map(KeyId::as_str), Some("old"));
    assert_eq!(calls(&members), [1, 0, 1], "who says no is not asked");
}

#[test]
fn a_member_that_is_down_does_not_fail_the_others() {
    for kind in [
        ErrorKind::Unavailable,
        ErrorKind::PermissionDenied,
        ErrorKind::Crypto,
    ] {
        let members = members();
        members[0].set_error_rate(Operation::Unwrap, 1000, kind);
        members[1].set_error_rate(Operation::Unwrap, 1000, kind);
        let wrapped = wrapped_by(&members[2]);
        let union = union(&members);
        assert_eq!(unwrap(&union, &wrapped).unwrap(), dek(), "{kind}");
        assert_eq!(
            unwrap(&union, &without_key_id(&wrapped)).unwrap(),
            dek(),
            "{kind}"
        );
    }
}

#[test]
fn with_a_key_id_the_one_who_knows_the_key_has_the_word() {
    let members = members();
    let union = union(&members);
    let wrapped = wrapped_by(&members[1]);
    members[0].set_error_rate(Operation::Unwrap, 1000, ErrorKind::Unavailable);
    assert_eq!(
        unwrap(&union, &tampered(&wrapped)).unwrap_err().kind(),
        ErrorKind::Crypto
    );
    members[1]
        .inner()
        .disable(wrapped.key_id().unwrap())
        .unwrap();
    assert_eq!(
        unwrap(&union, &wrapped).unwrap_err().kind(),
        ErrorKind::KeyDisabled
    );
}

#[test]
fn a_member_that_may_hold_the_key_is_not_overruled() {
    let members = members();
    let union = union(&members);
    let wrapped = wrapped_by(&members[1]);
    members[1].set_error_rate(Operation::Unwrap, 1000, ErrorKind::Unavailable);
    // The others say KeyNotFound with a key id and Crypto without; neither is the last word.
    assert_eq!(
        unwrap(&union, &wrapped).unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    let error = unwrap(&union, &without_key_id(&wrapped)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn when_nobody_has_it_the_union_says_so() {
    let members = members();
    let union = union(&members);
    let stranger = WrappedKey::new("stranger".parse().unwrap(), vec![1; 60]).unwrap();
    let error = unwrap(&union, &stranger).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotFound);
    assert_eq!(error.provider(), Some("static+static+static"));
    let error = unwrap(&union, &without_key_id(&stranger)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Crypto);
}

#[test]
fn keys_are_described_and_listed_across_members() {
    let members = members();
    let union = union(&members);
    let call = CallOptions::default();
    let listed: Vec<KeyInfo> = run(union.list_keys(&call)).unwrap();
    let ids: Vec<_> = listed.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["older", "old", "new"]);
    for key in &listed {
        assert_eq!(run(union.describe_key(&key.id, &call)).unwrap(), *key);
    }
    let error = run(union.describe_key(&"no".parse().unwrap(), &call)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotFound);
}

#[test]
fn a_key_that_two_members_hold_is_listed_once() {
    let [new, old, _] = members();
    let union = Union::new(new.clone()).with_older(old).with_older(new);
    let listed = run(union.list_keys(&CallOptions::default())).unwrap();
    let ids: Vec<_> = listed.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["new", "old"]);
}

#[test]
fn a_list_that_lacks_a_member_is_no_list() {
    let members = members();
    members[1].script(Operation::ListKeys, [Outcome::Fail(ErrorKind::Unavailable)]);
    let union = union(&members);
    let error = run(union.list_keys(&CallOptions::default())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn a_context_is_refused_before_any_member_is_asked() {
    let members = members();
    let union = union(&members);
    let context = EncryptionContext::new().with("tenant", "a").unwrap();
    let options = WrapOptions::default().with_context(context.clone());
    let error = run(union.wrap(&dek(), &options)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let options = UnwrapOptions::default().with_context(context);
    let error = run(union.unwrap(&wrapped_by(&members[0]), &options)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(calls(&members), [0, 0, 0]);
}

#[test]
fn capabilities_are_the_current_members_where_only_it_is_asked() {
    let [new, old, _] = members();
    let capabilities = Union::new(new.clone()).with_older(old).capabilities();
    assert_eq!(capabilities, new.capabilities());
    assert_ne!(capabilities, Capabilities::basic());
}

proptest! {
    /// Whoever else fails, and with what: a member that holds the key and works opens it.
    #[test]
    fn one_working_member_is_enough(
        holder in 0_usize..3,
        faults in proptest::array::uniform3(proptest::option::of(0_usize..6)),
        with_id: bool,
    ) {
        let kinds = [
            ErrorKind::Unavailable, ErrorKind::Throttled, ErrorKind::PermissionDenied,
            ErrorKind::Crypto, ErrorKind::KeyDisabled, ErrorKind::Internal,
        ];
        let members = members();
        let wrapped = wrapped_by(&members[holder]);
        for (index, fault) in faults.iter().enumerate() {
            if let (Some(kind), true) = (fault, index != holder) {
                members[index].set_error_rate(Operation::Unwrap, 1000, kinds[*kind]);
            }
        }
        let wrapped = if with_id { wrapped } else { without_key_id(&wrapped) };
        prop_assert_eq!(unwrap(&union(&members), &wrapped).unwrap(), dek());
    }
}
