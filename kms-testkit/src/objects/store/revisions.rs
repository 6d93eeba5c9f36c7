//! What is read, at which revision.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use kms_core::ErrorKind;
use kms_core::object::{
    FetchOptions, HistoryOptions, HistoryPosition, ObjectSource as _, ObjectStore as _, Scan,
    ScanOptions, StoredObject, Swap,
};

use super::{StoreHarness, call, holds, must, must_create, must_read, must_replace, read};
use crate::objects::races::task_died;
use crate::objects::report::{Checked, Done, Fault, ensure, ensure_eq, ensure_refused};
use crate::objects::source::{key, walk};

pub(super) async fn fresh<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let mut revision = must_create(&*store, &key, b"").await?;
    for round in 0_u8..20 {
        revision = must_replace(&*store, &key, revision, &[round]).await?;
        holds(&*store, &key, &[round], revision).await?;
        let page = store.scan(&ScanOptions::default()).await?;
        ensure(page.revision >= revision, || {
            format!("a scan at {} after a change at {revision}", page.revision)
        })?;
        let values: Vec<_> = page
            .objects
            .into_iter()
            .map(|object| object.value)
            .collect();
        ensure_eq(&values, &vec![vec![round]], "scanned value")?;
    }
    Ok(Done::Checked)
}

pub(super) async fn pinned<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let mut before = Vec::new();
    for number in 0..30 {
        let key = key(format!("k{number:02}"))?;
        let revision = must_create(&*store, &key, b"before").await?;
        before.push(StoredObject::new(key, b"before".to_vec(), revision));
    }
    let options = ScanOptions::default().with_page_limit(4);
    let mut scan = Scan::new(&*store, options.clone());
    let mut found = Vec::new();
    let mut made = 0_u32;
    let mut writers = Vec::new();
    while let Some(page) = scan.next_page().await? {
        found.extend(page.objects);
        // Behind the cursor, and ahead of it: make, change, delete.
        for name in [
            format!("a{made}"),
            format!("k15-{made}"),
            format!("z{made}"),
        ] {
            must_create(&*store, &key(name)?, b"after").await?;
        }
        made = made.saturating_add(1);
        let ahead = found.len().saturating_add(2);
        for (object, delete) in before.iter().skip(ahead).zip([true, false]) {
            let expected = match read(&*store, &object.key).await? {
                Some(now) => now.revision,
                None => continue,
            };
            let value = b"after".to_vec();
            let swap = if delete {
                Swap::Delete { expected }
            } else {
                Swap::Replace { expected, value }
            };
            // A writer of an earlier round may be first.
            let _ = store.compare_and_swap(&object.key, &swap, &call()).await?;
        }
        // And others, at the same time as the next page is read.
        let (store, last) = (Arc::clone(&store), before.last().cloned());
        writers.push(tokio::spawn(async move {
            for _ in 0..10 {
                let Some(last) = &last else { break };
                if let Some(now) = read(&*store, &last.key).await? {
                    let swap = Swap::Replace {
                        expected: now.revision,
                        value: b"meanwhile".to_vec(),
                    };
                    let _ = store.compare_and_swap(&last.key, &swap, &call()).await?;
                }
            }
            Ok::<_, Fault>(())
        }));
    }
    for result in try_join_all(writers).await.map_err(task_died)? {
        result?;
    }
    ensure(found == before, || {
        format!("the scan shows another state: {found:?}")
    })?;
    let now = walk(&*store, options).await?;
    ensure(now != before, || "the changes were not made".to_owned())?;
    Ok(Done::Checked)
}

pub(super) async fn past<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let origin = store.identity(&call()).await?.revision;
    let first = must_create(&*store, &key, b"1").await?;
    let second = must_replace(&*store, &key, first, b"2").await?;
    let deleted = must(&*store, &key, Swap::Delete { expected: second }).await?;
    let cases = [
        (origin, None),
        (first, Some((&b"1"[..], first))),
        (second, Some((b"2", second))),
        (deleted, None),
    ];
    for (at, expected) in cases {
        let options = FetchOptions::default().with_at(at);
        let fetched = store.fetch(&key, &options).await?;
        let page = store.scan(&ScanOptions::default().with_at(at)).await?;
        ensure_eq(&page.revision, &at, "revision of the page")?;
        for found in [fetched, page.objects.into_iter().next()] {
            let found = found.map(|object| (object.value, object.revision));
            let expected = expected.map(|(value, revision)| (value.to_vec(), revision));
            ensure_eq(&found, &expected, &format!("at revision {at}"))?;
        }
    }
    Ok(Done::Checked)
}

pub(super) async fn compacted<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let (key, other) = (key("k")?, key("l")?);
    let first = must_create(&*store, &key, b"1").await?;
    must_create(&*store, &other, b"other").await?;
    let mut scan = Scan::new(&*store, ScanOptions::default().with_page_limit(1));
    scan.next_page().await?;
    let second = must_replace(&*store, &key, first, b"2").await?;
    let third = must_replace(&*store, &key, second, b"3").await?;
    if !harness.compact(&store, second).await? {
        return Ok(Done::Skipped("the store is not compacted at will"));
    }
    let old = FetchOptions::default().with_at(first);
    let result = store.fetch(&key, &old).await;
    ensure_refused(result, ErrorKind::Compacted, "fetch")?;
    let result = store.scan(&ScanOptions::default().with_at(first)).await;
    ensure_refused(result, ErrorKind::Compacted, "scan")?;
    let result = scan.next_page().await;
    ensure_refused(result, ErrorKind::Compacted, "the scan that was under way")?;
    // Its cursor is still good at a newer revision.
    let onward = scan.position().clone().with_at(None);
    let found = walk(&*store, onward).await?;
    let keys: Vec<_> = found.iter().map(|object| &object.key).collect();
    ensure_eq(
        &keys,
        &vec![&other],
        "the scan continued at a newer revision",
    )?;
    let kept = FetchOptions::default().with_at(second);
    let found = store.fetch(&key, &kept).await?.map(|object| object.value);
    ensure_eq(
        &found,
        &Some(b"2".to_vec()),
        "at the compacted revision itself",
    )?;
    holds(&*store, &key, b"3", third).await?;
    Ok(Done::Checked)
}

pub(super) async fn history<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let (key, other) = (key("in/k")?, key("out")?);
    let first = must_create(&*store, &key, b"1").await?;
    let beside = must_create(&*store, &other, b"beside").await?;
    let second = must_replace(&*store, &key, first, b"2").await?;
    let deleted = must(&*store, &key, Swap::Delete { expected: second }).await?;
    let all = [
        (first, &key, Some(&b"1"[..])),
        (beside, &other, Some(b"beside")),
        (second, &key, Some(b"2")),
        (deleted, &key, None),
    ];
    for (prefix, limit) in [("", 1), ("", 3), ("", 500), ("in/", 1), ("in/", 500)] {
        let mut options = HistoryOptions::default()
            .with_prefix(prefix)
            .with_page_limit(limit);
        let mut found = Vec::new();
        let mut last: Option<HistoryPosition> = None;
        loop {
            let page = match store.history(&options).await {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(Done::Skipped("the store does not give its history"));
                }
                result => result?,
            };
            for record in page.records {
                ensure(last < Some(record.position), || {
                    format!("{:?} comes after {last:?}", record.position)
                })?;
                last = Some(record.position);
                found.push((record.position.revision, record.key, record.value));
            }
            match page.next {
                None => break,
                Some(next) => {
                    ensure(options.after < Some(next) && last <= Some(next), || {
                        format!("the cursor goes from {:?} to {next:?}", options.after)
                    })?;
                    options.after = Some(next);
                }
            }
        }
        let expected: Vec<_> = all
            .iter()
            .filter(|(_, key, _)| key.as_bytes().starts_with(prefix.as_bytes()))
            .map(|(revision, key, value)| (*revision, (*key).clone(), value.map(<[u8]>::to_vec)))
            .collect();
        ensure_eq(&found, &expected, &format!("prefix {prefix:?} by {limit}"))?;
    }
    Ok(Done::Checked)
}

pub(super) async fn cancelled<H: StoreHarness>(harness: &H) -> Checked {
    let store = harness.empty_store().await?;
    let key = key("k")?;
    let mut expected = must_create(&*store, &key, b"0").await?;
    for polls in 1_u8..6 {
        let before = read(&*store, &key).await?.map(|object| object.value);
        let value = vec![polls];
        let swap = Swap::Replace {
            expected,
            value: value.clone(),
        };
        let options = call();
        let mut future = store.compare_and_swap(&key, &swap, &options);
        for _ in 0..polls {
            if (&mut future).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(future);
        // It may still arrive; a change of our own settles it.
        loop {
            let now = must_read(&*store, &key).await?;
            ensure(
                now.value == value || Some(&now.value) == before.as_ref(),
                || "the object is neither as before nor as after".to_owned(),
            )?;
            let swap = Swap::Replace {
                expected: now.revision,
                value: vec![polls, polls],
            };
            let outcome = store.compare_and_swap(&key, &swap, &call()).await?;
            if let Some(revision) = outcome.swapped() {
                expected = revision;
                break;
            }
        }
        holds(&*store, &key, &[polls, polls], expected).await?;
    }
    Ok(Done::Checked)
}
