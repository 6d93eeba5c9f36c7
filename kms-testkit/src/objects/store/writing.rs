//! What a swap does.

use kms_core::object::{ObjectSource as _, Revision, ScanOptions, Swap};

use super::{
    StoreHarness, call, holds, must, must_create, must_lose, must_read, must_replace, read,
};
use crate::objects::report::{Checked, Done, ensure, ensure_eq};
use crate::objects::source::{key, walk};

pub(super) async fn create<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let revision = must_create(&*store, &key, b"first").await?;
    holds(&*store, &key, b"first", revision).await?;
    let value = b"second".to_vec();
    must_lose(&*store, &key, Swap::Create { value }).await?;
    Ok(Done::Checked)
}

pub(super) async fn replace<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let (key, other) = (key("k")?, key("kk")?);
    let first = must_create(&*store, &key, b"first").await?;
    let second = must_replace(&*store, &key, first, b"second").await?;
    holds(&*store, &key, b"second", second).await?;
    let unrelated = must_create(&*store, &other, b"").await?;
    for expected in [
        first,
        unrelated,
        Revision::default(),
        Revision::new(second.get().saturating_add(1000)),
    ] {
        let value = b"third".to_vec();
        must_lose(&*store, &key, Swap::Replace { expected, value }).await?;
    }
    let missing = self::key("missing")?;
    for expected in [first, Revision::default()] {
        let value = b"third".to_vec();
        must_lose(&*store, &missing, Swap::Replace { expected, value }).await?;
    }
    Ok(Done::Checked)
}

pub(super) async fn delete<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let first = must_create(&*store, &key, b"first").await?;
    let second = must_replace(&*store, &key, first, b"second").await?;
    must_lose(&*store, &key, Swap::Delete { expected: first }).await?;
    let deleted = must(&*store, &key, Swap::Delete { expected: second }).await?;
    ensure(deleted > second, || {
        "a deletion has no newer revision".to_owned()
    })?;
    ensure_eq(&read(&*store, &key).await?, &None, "fetch after deletion")?;
    ensure_eq(
        &walk(&*store, ScanOptions::default()).await?,
        &Vec::new(),
        "scan after deletion",
    )?;
    for expected in [second, deleted, Revision::default()] {
        must_lose(&*store, &key, Swap::Delete { expected }).await?;
        let value = b"third".to_vec();
        must_lose(&*store, &key, Swap::Replace { expected, value }).await?;
    }
    Ok(Done::Checked)
}

pub(super) async fn made_again<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let first = must_create(&*store, &key, b"same").await?;
    must(&*store, &key, Swap::Delete { expected: first }).await?;
    let again = must_create(&*store, &key, b"same").await?;
    ensure(again > first, || {
        format!("made again at {again}, first made at {first}")
    })?;
    let value = b"late".to_vec();
    let expected = first;
    must_lose(&*store, &key, Swap::Replace { expected, value }).await?;
    must_lose(&*store, &key, Swap::Delete { expected }).await?;
    Ok(Done::Checked)
}

pub(super) async fn growing<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let keys = [key("b")?, key("a")?, key("c")?];
    let mut last = Revision::default();
    for _ in 0..3 {
        for key in &keys {
            let made = must_create(&*store, key, b"1").await?;
            let changed = must_replace(&*store, key, made, b"2").await?;
            let expected = changed;
            let deleted = must(&*store, key, Swap::Delete { expected }).await?;
            for revision in [made, changed, deleted] {
                ensure(revision > last, || {
                    format!("revision {revision} comes after {last}")
                })?;
                last = revision;
            }
        }
    }
    let newest = store.identity(&call()).await?.revision;
    ensure(newest >= last, || {
        format!("the identity is at {newest}, before {last}")
    })?;
    Ok(Done::Checked)
}

pub(super) async fn same_bytes<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let first = must_create(&*store, &key, b"same").await?;
    let second = must_replace(&*store, &key, first, b"same").await?;
    ensure(second > first, || "the revision did not grow".to_owned())?;
    holds(&*store, &key, b"same", second).await?;
    Ok(Done::Checked)
}

pub(super) async fn repeated<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let create = Swap::Create {
        value: b"1".to_vec(),
    };
    let expected = must(&*store, &key, create.clone()).await?;
    must_lose(&*store, &key, create).await?;
    let replace = Swap::Replace {
        expected,
        value: b"2".to_vec(),
    };
    let expected = must(&*store, &key, replace.clone()).await?;
    must_lose(&*store, &key, replace).await?;
    let delete = Swap::Delete { expected };
    must(&*store, &key, delete.clone()).await?;
    must_lose(&*store, &key, delete).await?;
    Ok(Done::Checked)
}

pub(super) async fn lease<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let (key, plain) = (key("leased")?, key("plain")?);
    let Some(lease) = harness
        .put_with_lease(&store, &key, b"old".to_vec())
        .await?
    else {
        return Ok(Done::Skipped("the store has no leases"));
    };
    let object = must_read(&*store, &key).await?;
    ensure_eq(&object.lease, &Some(lease), "lease before")?;
    must_replace(&*store, &key, object.revision, b"new").await?;
    let found = read(&*store, &key).await?.and_then(|object| object.lease);
    ensure_eq(&found, &Some(lease), "lease after")?;
    let scanned = walk(&*store, ScanOptions::default()).await?;
    let found = scanned.first().and_then(|object| object.lease);
    ensure_eq(&found, &Some(lease), "lease in a scan")?;
    let made = must_create(&*store, &plain, b"old").await?;
    must_replace(&*store, &plain, made, b"new").await?;
    let found = read(&*store, &plain).await?.and_then(|object| object.lease);
    ensure_eq(&found, &None, "lease of an object that has none")?;
    Ok(Done::Checked)
}
