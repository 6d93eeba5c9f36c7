//! A census of a whole source.

use kms_core::object::{
    HistoryOptions, KeyMap, ObjectSource, Revision, Scan, ScanOptions, StoredObject,
};
use kms_core::{CallOptions, ErrorKind as CoreErrorKind};

use super::{Census, CensusOptions, CensusReport};
use crate::Error;

/// How far a census has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CensusProgress {
    /// Live objects counted.
    pub objects: u64,
    /// Live objects to go, if the source knows.
    pub remaining: Option<u64>,
    /// Changes of history counted.
    pub changes: u64,
}

impl CensusProgress {
    /// Says how far it has come.
    #[must_use]
    pub const fn new(objects: u64, remaining: Option<u64>, changes: u64) -> Self {
        Self {
            objects,
            remaining,
            changes,
        }
    }
}

/// Sees what a census counts while it counts: to open every object in the same pass, say.
pub trait CensusObserver {
    /// Counting begins; again, if what was counted so far was compacted meanwhile and counts for
    /// nothing.
    fn begin(&mut self) {}

    /// These live objects have been counted; each is seen once.
    fn objects(&mut self, _objects: &[StoredObject]) -> impl Future<Output = ()> {
        core::future::ready(())
    }

    /// How far it has come.
    fn progress(&mut self, _progress: CensusProgress) {}
}

struct Progress<F>(F);

impl<F: FnMut(CensusProgress)> CensusObserver for Progress<F> {
    fn progress(&mut self, progress: CensusProgress) {
        (self.0)(progress);
    }
}

/// Counts everything below a prefix at one revision, and everything in history up to it if
/// `with_history`.
///
/// The revision that was counted is returned with the report. If it is compacted while it is read,
/// counting starts again at the newest: halves of two states are no census.
///
/// # Errors
///
/// What the source returns, as the cause; and as [`Census::live`].
pub async fn take_census(
    source: &dyn ObjectSource,
    scan: &ScanOptions,
    options: &CensusOptions,
    with_history: bool,
    progress: impl FnMut(CensusProgress),
) -> Result<(CensusReport, Revision), Error> {
    let mut observer = Progress(progress);
    take_census_observed(source, scan, options, with_history, &mut observer).await
}

/// As [`take_census`], with an observer that sees every live object.
///
/// # Errors
///
/// As [`take_census`].
pub async fn take_census_observed(
    source: &dyn ObjectSource,
    scan: &ScanOptions,
    options: &CensusOptions,
    with_history: bool,
    observer: &mut impl CensusObserver,
) -> Result<(CensusReport, Revision), Error> {
    const ATTEMPTS: u32 = 5;
    let mut attempt = 1_u32;
    loop {
        observer.begin();
        let taken = take(source, scan, options, with_history, observer).await;
        match taken {
            Err(error) if is_compacted(&error) && scan.at.is_none() && attempt < ATTEMPTS => {
                attempt = attempt.saturating_add(1);
            }
            taken => return taken,
        }
    }
}

fn is_compacted(error: &Error) -> bool {
    error
        .provider_error()
        .is_some_and(|error| error.kind() == CoreErrorKind::Compacted)
}

async fn take(
    source: &dyn ObjectSource,
    scan: &ScanOptions,
    options: &CensusOptions,
    with_history: bool,
    observer: &mut impl CensusObserver,
) -> Result<(CensusReport, Revision), Error> {
    let unread = |error| Error::provider("reading the store", error);
    let mut census = Census::new(options.clone());
    let mut done = CensusProgress::new(0, None, 0);
    // What is live, to tell it from the rest of history.
    let mut live = KeyMap::new();
    let mut pages = Scan::new(source, scan.clone());
    while let Some(page) = pages.next_page().await.map_err(unread)? {
        for object in &page.objects {
            let key = object.key.as_bytes();
            census.live(key, &object.value, object.lease.is_some())?;
            if with_history {
                live.insert(key, object.revision);
            }
        }
        observer.objects(&page.objects).await;
        done.objects = census.objects();
        done.remaining = page.remaining;
        observer.progress(done);
    }
    let revision = pages.revision().unwrap_or_default();
    if !with_history {
        return Ok((census.report(), revision));
    }
    let mut wanted = history_options(&scan.prefix, &scan.call);
    loop {
        let page = source.history(&wanted).await.map_err(unread)?;
        census.reads_history(page.compacted);
        for record in &page.records {
            if record.position.revision > revision {
                return Ok((census.report(), revision));
            }
            let key = record.key.as_bytes();
            let is_live =
                record.value.is_some() && live.get(key) == Some(&record.position.revision);
            census.change(
                key,
                record.value.as_deref(),
                record.position.revision,
                is_live,
            )?;
            done.changes = done.changes.saturating_add(1);
        }
        observer.progress(done);
        match page.next {
            Some(next) => wanted.after = Some(next),
            None => return Ok((census.report(), revision)),
        }
    }
}

fn history_options(prefix: &[u8], call: &CallOptions) -> HistoryOptions {
    HistoryOptions::default()
        .with_prefix(prefix)
        .with_call(call.clone())
}
