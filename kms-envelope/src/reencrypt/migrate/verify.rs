//! Opening all objects once more, at one revision.

use futures_util::future::{Either, join, select};
use futures_util::stream::{self, StreamExt as _};
use kms_core::ErrorKind as CoreErrorKind;
use kms_core::object::{Revision, Scan, ScanOptions, ScanPage, StoredObject};

use super::progress::{MigrationPhase, Pace};
use super::report::RemainingList;
use super::step::{Unopened, open, remaining};
use super::sweep::{OnProgress, StopSignal};
use super::work::{Fault, Patience, Waited, Work};
use super::{
    Lookup, MigrationCounts, MigrationVerification, Remaining, RemainingReason, StopReason,
};
use crate::Error;
use crate::reencrypt::{Census, CensusOptions};

/// How often a revision may be compacted under our hands.
const ATTEMPTS: u32 = 5;

pub(super) struct Verified {
    pub(super) verification: MigrationVerification,
    pub(super) remaining: RemainingList,
}

/// Opens every object of the scope, and says what is not under the target.
pub(super) async fn verify(
    work: &Work<'_>,
    counts: MigrationCounts,
    total: Option<u64>,
    stop: StopSignal<'_>,
    progress: &mut OnProgress<'_>,
) -> Result<Verified, StopReason> {
    let all = Box::pin(read_until_whole(work, counts, total, progress));
    // It changes nothing, so it may end anywhere.
    match select(all, stop).await {
        Either::Left((ended, _)) => ended,
        Either::Right(((), _)) => Err(StopReason::Asked),
    }
}

/// Begins again when the revision is compacted meanwhile.
async fn read_until_whole(
    work: &Work<'_>,
    counts: MigrationCounts,
    total: Option<u64>,
    progress: &mut OnProgress<'_>,
) -> Result<Verified, StopReason> {
    let mut attempt = 1_u32;
    loop {
        let mut pace = Pace::new(MigrationPhase::Verifying, total, 0, work.clock.now());
        let mut show = |done: u64| {
            if let Some(shown) = pace.progress(work.clock.now(), done, counts) {
                progress(&shown);
            }
        };
        match read_all(work, &mut show).await {
            Err(StopReason::Store(error))
                if error.kind() == CoreErrorKind::Compacted && attempt < ATTEMPTS =>
            {
                attempt = attempt.saturating_add(1);
            }
            ended => return ended,
        }
    }
}

/// All pages at one revision. Half of one state and half of another would prove nothing.
struct Pages<'w> {
    work: &'w Work<'w>,
    prefixes: std::vec::IntoIter<Vec<u8>>,
    scan: Option<Scan<'w>>,
    revision: Option<Revision>,
}

impl<'w> Pages<'w> {
    fn new(work: &'w Work<'_>) -> Self {
        Self {
            work,
            prefixes: work.options.scope.prefixes().into_iter(),
            scan: None,
            revision: None,
        }
    }

    async fn next(&mut self) -> Result<Option<ScanPage>, StopReason> {
        let mut patience = Patience::default();
        loop {
            if self.scan.is_none() {
                let Some(prefix) = self.prefixes.next() else {
                    return Ok(None);
                };
                let options = ScanOptions::default()
                    .with_prefix(prefix)
                    .with_at(self.revision)
                    .with_page_limit(self.work.options.page_limit);
                self.scan = Some(Scan::new(self.work.store, options));
            }
            let Some(scan) = &mut self.scan else {
                continue;
            };
            match scan.next_page().await {
                Ok(Some(page)) => {
                    self.revision = Some(page.revision);
                    return Ok(Some(page));
                }
                Ok(None) => self.scan = None,
                Err(error) if error.is_retryable() => {
                    match patience.wait(self.work, error.retry_after()).await {
                        Waited::Enough => {}
                        Waited::TooLong => return Err(StopReason::Store(error)),
                        Waited::Stopped => return Err(StopReason::Asked),
                    }
                }
                Err(error) => return Err(StopReason::Store(error)),
            }
        }
    }
}

async fn read_all(
    work: &Work<'_>,
    show: &mut (dyn FnMut(u64) + Send),
) -> Result<Verified, StopReason> {
    let options =
        CensusOptions::default().with_etcd_prefix(work.options.scope.etcd_prefix().as_bytes());
    let mut census = Census::new(options);
    let (mut list, mut right, mut scanned) = (RemainingList::default(), 0_u64, 0_u64);
    let mut pages = Pages::new(work);
    let mut next = pages.next().await?;
    while let Some(page) = next {
        scanned = scanned.saturating_add(page.objects.len() as u64);
        let mut objects = page.objects;
        objects.retain(|object| is_concerned(work, object));
        for object in &objects {
            let key = object.key.as_bytes();
            census
                .live(key, &object.value, object.lease.is_some())
                .map_err(not_counted)?;
        }
        let (read, judged) = join(pages.next(), judge_all(work, &objects)).await;
        for verdict in judged {
            match verdict? {
                None => right = right.saturating_add(1),
                Some(remaining) => list.push(*remaining),
            }
        }
        show(scanned);
        next = read?;
    }
    let revision = pages.revision.unwrap_or_default().get();
    let report = census.report();
    let verification = MigrationVerification {
        revision,
        objects: right.saturating_add(list.count),
        right,
        census: report.live.census,
        key_ids: report.key_ids,
    };
    Ok(Verified {
        verification,
        remaining: list,
    })
}

fn not_counted(error: Error) -> StopReason {
    StopReason::Store(kms_core::Error::new(
        CoreErrorKind::Unsupported,
        error.message().to_owned(),
    ))
}

fn is_concerned(work: &Work<'_>, object: &StoredObject) -> bool {
    work.options.scope.contains(&object.key)
        && work.reencryptors.lookup(object.key.as_bytes()) != Lookup::NotConfigured
}

/// What is wrong with each, if anything.
async fn judge_all(
    work: &Work<'_>,
    objects: &[StoredObject],
) -> Vec<Result<Option<Box<Remaining>>, StopReason>> {
    // Made before they are waited for: a closure that makes futures which borrow, and is kept beside
    // them, cannot be shown to the compiler to be `Send`.
    let judging: Vec<_> = objects.iter().map(|object| judge(work, object)).collect();
    stream::iter(judging)
        .buffer_unordered(work.options.concurrency.max(1))
        .collect()
        .await
}

async fn judge(
    work: &Work<'_>,
    object: &StoredObject,
) -> Result<Option<Box<Remaining>>, StopReason> {
    let Lookup::Found(reencryptor) = work.reencryptors.lookup(object.key.as_bytes()) else {
        let reason = RemainingReason::UnknownResource;
        return Ok(Some(Box::new(remaining(object, None, reason))));
    };
    let reading = match open(work, &mut Patience::default(), reencryptor, object).await {
        Ok(reading) => reading,
        Err(Unopened::ByItself(remaining)) => return Ok(Some(remaining)),
        Err(Unopened::Stop(reason)) => return Err(reason),
        Err(Unopened::Interrupted) => return Err(StopReason::Asked),
    };
    let reason = match work.fault(reencryptor, &reading, object.revision) {
        None => return Ok(None),
        Some(Fault::NotRenewed) => RemainingReason::NotRenewed,
        Some(Fault::OtherProtection) if object.revision > work.began_at => {
            RemainingReason::WrittenSince
        }
        Some(Fault::OtherProtection | Fault::OldForm) => RemainingReason::OtherProtection,
    };
    let under = Some(reading.protection);
    Ok(Some(Box::new(remaining(object, under, reason))))
}
