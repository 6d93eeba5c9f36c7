//! The suite for whatever can be scanned.

use std::sync::Arc;

use async_trait::async_trait;
use kms_core::object::{
    FetchOptions, ObjectKey, ObjectSource, Revision, Scan, ScanOptions, StoredObject,
};
use kms_core::{CallOptions, Error, ErrorKind};

use super::report::{Checked, Done, Fault, Report, ensure, ensure_eq, ensure_refused};

/// Makes sources for [`run_source`].
#[async_trait]
pub trait SourceHarness: Send + Sync {
    /// A source that holds exactly these objects, and that nobody else writes to. Keys are raw
    /// bytes; among the objects are an empty value, a key of 64 KiB and a value of 1 MiB.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn source_with(
        &self,
        objects: &[(ObjectKey, Vec<u8>)],
    ) -> Result<Arc<dyn ObjectSource>, Error>;
}

/// Checks a source against the contract of [`ObjectSource`].
pub async fn run_source(harness: &dyn SourceHarness) -> Report {
    let mut report = Report::new("ObjectSource");
    report.record("an empty source is empty", empty(harness).await);
    report.record(
        "pages of any size give every object once, in byte order",
        pages(harness).await,
    );
    report.record(
        "a prefix gives what begins with it and no namesake",
        prefixes(harness).await,
    );
    report.record(
        "a cursor continues after any key, stored or not",
        cursors(harness).await,
    );
    report.record(
        "ranges tile the keys without gap or overlap",
        ranges(harness).await,
    );
    report.record("a page ends at its bytes", page_bytes(harness).await);
    report.record(
        "what remains is told truly or not at all",
        remaining(harness).await,
    );
    report.record(
        "fetch gives exactly the object of the key",
        fetch(harness).await,
    );
    report.record(
        "large and empty values come back whole",
        large(harness).await,
    );
    report.record(
        "a revision not reached yet is refused",
        future_revision(harness).await,
    );
    report.record(
        "the identity names the source and its revision",
        identity(harness).await,
    );
    report.record("no stored value is printed", silent(harness).await);
    report
}

/// Reads a scan to its end; [`Scan`] checks each page.
pub(super) async fn walk(
    source: &dyn ObjectSource,
    options: ScanOptions,
) -> Result<Vec<StoredObject>, Fault> {
    let mut scan = Scan::new(source, options);
    let mut objects = Vec::new();
    while let Some(page) = scan.next_page().await? {
        objects.extend(page.objects);
    }
    Ok(objects)
}

pub(super) fn key(bytes: impl AsRef<[u8]>) -> Result<ObjectKey, Fault> {
    Ok(ObjectKey::new(bytes)?)
}

/// Keys that lie close to each other, each with a value of its own; in byte order.
fn sample() -> Result<Vec<(ObjectKey, Vec<u8>)>, Fault> {
    let keys: &[&[u8]] = &[
        b"\0",
        b"\0\0",
        b"\n",
        b"/",
        b"/registry/configmaps/a/x",
        b"/registry/secrets",
        b"/registry/secrets/",
        b"/registry/secrets/a/x",
        b"/registry/secrets/a/x\0",
        b"/registry/secrets/a/x/y",
        b"/registry/secrets/b/\xc3\xa4",
        b"/registry/secrets/b/\xff",
        b"/registry/secrets/b/\xff\xff",
        b"/registry/secrets0",
        b"/registry/secretsx/a/x",
        b"a\xfe\xff",
        b"a\xff",
        b"a\xff\xff",
        b"b",
        b"\xff",
        b"\xff\0",
        b"\xff\xff",
    ];
    keys.iter()
        .map(|bytes| Ok((key(bytes)?, [b"value of ", *bytes].concat())))
        .collect()
}

/// Fails unless exactly these objects were found.
fn ensure_objects(
    found: &[StoredObject],
    expected: &[(ObjectKey, Vec<u8>)],
    what: &str,
) -> Result<(), Fault> {
    let found_keys: Vec<_> = found.iter().map(|object| &object.key).collect();
    let expected_keys: Vec<_> = expected.iter().map(|(key, _)| key).collect();
    ensure_eq(&found_keys, &expected_keys, what)?;
    for (object, (key, value)) in found.iter().zip(expected) {
        ensure(object.value == *value, || {
            format!("{what}: the value of {key} is another")
        })?;
        ensure(object.revision > Revision::default(), || {
            format!("{what}: {key} has no revision")
        })?;
    }
    Ok(())
}

async fn empty(harness: &dyn SourceHarness) -> Checked {
    let source = harness.source_with(&[]).await?;
    let page = source.scan(&ScanOptions::default()).await?;
    ensure_objects(&page.objects, &[], "scan")?;
    ensure_eq(&page.next, &None, "cursor after nothing")?;
    let found = source.fetch(&key("a")?, &FetchOptions::default()).await?;
    ensure_eq(&found, &None, "fetch")?;
    Ok(Done::Checked)
}

async fn pages(harness: &dyn SourceHarness) -> Checked {
    let sample = sample()?;
    let source = harness.source_with(&sample).await?;
    let count = u32::try_from(sample.len()).unwrap_or(u32::MAX);
    // Zero is taken as one; then one, some, and around the number there is.
    for limit in [
        0,
        1,
        2,
        3,
        7,
        count.saturating_sub(1),
        count,
        count.saturating_add(1),
        1000,
    ] {
        let options = ScanOptions::default().with_page_limit(limit);
        let found = walk(&*source, options).await?;
        ensure_objects(&found, &sample, &format!("pages of {limit}"))?;
    }
    let all = ScanOptions::default().with_page_limit(count);
    let page = source.scan(&all).await?;
    ensure_eq(&page.next, &None, "cursor of a page that holds all")?;
    Ok(Done::Checked)
}

async fn prefixes(harness: &dyn SourceHarness) -> Checked {
    let sample = sample()?;
    let source = harness.source_with(&sample).await?;
    let prefixes: &[&[u8]] = &[
        b"",
        b"/registry/secrets/",
        b"/registry/secrets",
        b"/registry/secretsx/",
        b"/registry/secrets/a/x",
        b"/registry/secrets/b/\xff",
        b"/registry/nothing/",
        b"a\xff",
        b"\0",
        b"\xff",
        b"\xff\xff",
        b"\xff\xff\xff",
    ];
    for prefix in prefixes {
        let expected: Vec<_> = sample
            .iter()
            .filter(|(key, _)| key.as_bytes().starts_with(prefix))
            .cloned()
            .collect();
        for limit in [1, 2, 500] {
            let options = ScanOptions::default()
                .with_prefix(*prefix)
                .with_page_limit(limit);
            let found = walk(&*source, options).await?;
            let what = format!("prefix \"{}\" by {limit}", prefix.escape_ascii());
            ensure_objects(&found, &expected, &what)?;
        }
    }
    Ok(Done::Checked)
}

async fn cursors(harness: &dyn SourceHarness) -> Checked {
    let sample = sample()?;
    let source = harness.source_with(&sample).await?;
    let mut cursors: Vec<_> = sample.iter().map(|(key, _)| key.clone()).collect();
    for missing in [
        &b"\x01"[..],
        b"/registry/secrets/a/",
        b"zz",
        b"\xff\xff\xff",
    ] {
        cursors.push(key(missing)?);
    }
    for cursor in cursors {
        for prefix in [&b""[..], b"/registry/secrets/"] {
            let expected: Vec<_> = sample
                .iter()
                .filter(|(key, _)| *key > cursor && key.as_bytes().starts_with(prefix))
                .cloned()
                .collect();
            let options = ScanOptions::default()
                .with_prefix(prefix)
                .with_after(cursor.clone())
                .with_page_limit(3);
            let found = walk(&*source, options).await?;
            let what = format!("prefix \"{}\" after {cursor}", prefix.escape_ascii());
            ensure_objects(&found, &expected, &what)?;
        }
    }
    Ok(Done::Checked)
}

async fn ranges(harness: &dyn SourceHarness) -> Checked {
    let sample = sample()?;
    let source = harness.source_with(&sample).await?;
    // One border is stored, one is not; the last range is empty.
    let borders = [
        None,
        Some(key("/registry/secrets/a/x")?),
        Some(key("/registry/secrets/b/m")?),
        Some(key(b"\xff\xff")?),
        Some(key(b"\xff\xff\xff")?),
    ];
    let mut found = Vec::new();
    for (after, through) in borders.iter().zip(borders.iter().skip(1)) {
        let options = ScanOptions::default()
            .with_after(after.clone())
            .with_through(through.clone())
            .with_page_limit(4);
        found.extend(walk(&*source, options).await?);
    }
    ensure_objects(&found, &sample, "all ranges together")?;
    let backwards = ScanOptions::default()
        .with_after(key("b")?)
        .with_through(key("a")?);
    ensure_objects(
        &walk(&*source, backwards).await?,
        &[],
        "a range that runs backwards",
    )?;
    Ok(Done::Checked)
}

async fn page_bytes(harness: &dyn SourceHarness) -> Checked {
    let sample = sample()?;
    let source = harness.source_with(&sample).await?;
    for bytes in [0, 1, 50, 200] {
        let options = ScanOptions::default().with_page_bytes(bytes);
        let page = source.scan(&options).await?;
        let before_last = page
            .objects
            .iter()
            .rev()
            .skip(1)
            .fold(0_usize, |sum, object| sum.saturating_add(object.size()));
        ensure(page.objects.len() <= 1 || before_last < bytes, || {
            format!("a page of {bytes} bytes goes on after it is full")
        })?;
        let found = walk(&*source, options).await?;
        ensure_objects(&found, &sample, &format!("pages of {bytes} bytes"))?;
    }
    Ok(Done::Checked)
}

async fn remaining(harness: &dyn SourceHarness) -> Checked {
    let sample = sample()?;
    let source = harness.source_with(&sample).await?;
    let prefix = b"/registry/secrets/";
    let mut left = sample
        .iter()
        .filter(|(key, _)| key.as_bytes().starts_with(prefix))
        .count();
    let options = ScanOptions::default()
        .with_prefix(prefix)
        .with_page_limit(2);
    let mut scan = Scan::new(&*source, options);
    let mut known = false;
    while let Some(page) = scan.next_page().await? {
        left = left.saturating_sub(page.objects.len());
        if let Some(remaining) = page.remaining {
            known = true;
            ensure_eq(
                &remaining,
                &u64::try_from(left).unwrap_or(u64::MAX),
                "objects that follow the page",
            )?;
        }
    }
    Ok(if known {
        Done::Checked
    } else {
        Done::Skipped("the source does not say")
    })
}

async fn fetch(harness: &dyn SourceHarness) -> Checked {
    let sample = sample()?;
    let source = harness.source_with(&sample).await?;
    let revision = source.scan(&ScanOptions::default()).await?.revision;
    for at in [None, Some(revision)] {
        let options = FetchOptions::default().with_at(at);
        for (key, value) in &sample {
            let found: Vec<_> = source.fetch(key, &options).await?.into_iter().collect();
            ensure_objects(&found, &[(key.clone(), value.clone())], "fetch")?;
        }
        for missing in [
            &b"\x01"[..],
            b"/registry/secrets/a",
            b"/registry/secrets/a/x\0\0",
        ] {
            let found = source.fetch(&key(missing)?, &options).await?;
            ensure_eq(&found, &None, "fetch of a key that is not there")?;
        }
    }
    Ok(Done::Checked)
}

async fn large(harness: &dyn SourceHarness) -> Checked {
    let long = key(vec![b'k'; ObjectKey::MAX_LEN])?;
    let mut objects = vec![
        (key("empty")?, Vec::new()),
        (long, b"of a long key".to_vec()),
        (key("large")?, vec![0xa5; 1024 * 1024]),
    ];
    objects.sort();
    let source = harness.source_with(&objects).await?;
    for limit in [1, 500] {
        let options = ScanOptions::default().with_page_limit(limit);
        let found = walk(&*source, options).await?;
        ensure_objects(&found, &objects, "scan")?;
    }
    for (key, value) in &objects {
        let found = source.fetch(key, &FetchOptions::default()).await?;
        ensure(found.is_some_and(|object| object.value == *value), || {
            format!("fetch of {} bytes", value.len())
        })?;
    }
    Ok(Done::Checked)
}

async fn future_revision(harness: &dyn SourceHarness) -> Checked {
    let source = harness.source_with(&sample()?).await?;
    let newest = source.identity(&CallOptions::default()).await?.revision;
    let future = Revision::new(newest.get().saturating_add(1_000_000));
    let scan = source.scan(&ScanOptions::default().with_at(future)).await;
    ensure_refused(scan, ErrorKind::InvalidInput, "scan")?;
    let fetch = source
        .fetch(&key("b")?, &FetchOptions::default().with_at(future))
        .await;
    ensure_refused(fetch, ErrorKind::InvalidInput, "fetch")?;
    Ok(Done::Checked)
}

async fn identity(harness: &dyn SourceHarness) -> Checked {
    let source = harness.source_with(&sample()?).await?;
    let call = CallOptions::default();
    let identity = source.identity(&call).await?;
    ensure(!identity.kind.is_empty(), || "the kind is empty".to_owned())?;
    ensure(
        identity
            .kind
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_'),
        || format!("the kind {:?} is not a lower-case word", identity.kind),
    )?;
    ensure(!source.to_string().is_empty(), || {
        "the source has no name to print".to_owned()
    })?;
    let page = source.scan(&ScanOptions::default()).await?;
    ensure_eq(
        &page.revision,
        &identity.revision,
        "revision of a quiet source",
    )?;
    ensure_eq(&source.identity(&call).await?, &identity, "asked again")?;
    Ok(Done::Checked)
}

async fn silent(harness: &dyn SourceHarness) -> Checked {
    let secret = "hunter2-in-clear";
    let objects = [(key("k")?, secret.as_bytes().to_vec())];
    let source = harness.source_with(&objects).await?;
    let bytes = format!("{:?}", secret.as_bytes());
    for text in [format!("{source:?}"), source.to_string()] {
        ensure(!text.contains(secret) && !text.contains(&bytes), || {
            "a stored value shows".to_owned()
        })?;
    }
    Ok(Done::Checked)
}
