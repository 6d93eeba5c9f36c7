//! A migration that several workers share.

use core::fmt;
use core::pin::Pin;
use core::time::Duration;
use std::collections::BTreeSet;

use futures_util::future::{Either, FutureExt as _, select};
use kms_core::object::{LeaseId, LeaseStore, Revision};
use kms_core::{CallOptions, Clock};

use super::board::Board;
use super::place::Place;
use super::worker::Worker;
use crate::reencrypt::migrate::checkpoint::Definition;
use crate::reencrypt::migrate::sweep::StopSignal;
use crate::reencrypt::migrate::work::{Work, patiently};
use crate::reencrypt::migrate::{
    Migration, MigrationOptions, MigrationProgress, MigrationReport, Reencryptors, StopReason,
};
use crate::{Error, ErrorKind};

/// How a worker takes part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// Its name; no two that live at once may have the same.
    pub name: String,
    /// What the keys of the board and of the workers begin with: not one of the API server's.
    pub prefix: String,
    /// How long a worker may be silent before its work goes to others. 15 s.
    pub time_to_live: Duration,
    /// How often to look whether others have ended. 500 ms.
    pub poll: Duration,
}

impl WorkerOptions {
    /// A worker of this name, on the board below this prefix.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the name is empty, over 128 bytes, or holds anything but letters,
    /// digits, dots, hyphens and underscores.
    pub fn new(name: impl Into<String>, prefix: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_plain) {
            return Err(Error::new(
                ErrorKind::Config,
                "the name of a worker is not made of letters, digits, dots, hyphens and underscores",
            ));
        }
        Ok(Self {
            name,
            prefix: prefix.into(),
            time_to_live: Duration::from_secs(15),
            poll: Duration::from_millis(500),
        })
    }

    /// Sets how long a worker may be silent.
    #[must_use]
    pub const fn with_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = time_to_live;
        self
    }

    /// Sets how often to look whether others have ended.
    #[must_use]
    pub const fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }
}

/// A [`Migration`] that is shared with others who run the same, on this machine or elsewhere.
///
/// They meet on a board, which is one object of the store. A worker claims the keys of one page at a
/// time, in the order of keys, and goes through them as [`Migration`] does. Each worker's
/// name is an object that hangs on its lease: when that is gone, others take its claim over from
/// where it stood. When all is done one of them verifies. A rate holds for each worker.
///
/// All must have the same configuration, scope and target; whoever differs is refused while others
/// are at work, and begins anew if none is. What each worker does to an object is safe without any
/// of this, so a worker that was only asleep does no harm when it wakes up.
///
/// It does not [`renew`](MigrationOptions::renew), and does not
/// [begin again](MigrationOptions::on_key_change) when the key changes.
#[derive(Clone, Copy)]
pub struct SharedMigration<'a> {
    migration: Migration<'a>,
    leases: &'a dyn LeaseStore,
    worker: &'a WorkerOptions,
}

impl<'a> SharedMigration<'a> {
    /// A worker. Does nothing yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the options say to renew, or to change nothing.
    pub fn new(
        store: &'a dyn LeaseStore,
        reencryptors: &'a dyn Reencryptors,
        clock: &'a dyn Clock,
        options: &'a MigrationOptions,
        worker: &'a WorkerOptions,
    ) -> Result<Self, Error> {
        if options.renew || options.dry_run {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "renewing, and a dry run, are for one worker",
            ));
        }
        Ok(Self {
            migration: Migration::new(store, reencryptors, clock, options),
            leases: store,
            worker,
        })
    }

    /// Works, until all is done by whomever, or `stop` ends.
    ///
    /// # Errors
    ///
    /// What kept it from beginning; in particular [`ErrorKind::Checkpoint`] if others are at work on
    /// another migration, or a worker of this name is.
    pub async fn run(
        &self,
        stop: impl Future<Output = ()> + Send,
        mut progress: impl FnMut(&MigrationProgress) + Send,
    ) -> Result<MigrationReport, Error> {
        let stop: StopSignal<'_> =
            (Box::pin(stop) as Pin<Box<dyn Future<Output = ()> + Send>>).shared();
        let clock = self.migration.clock;
        let began = clock.now();
        let (mut work, definition, revision) = self.migration.prepare().await?;
        let place = Place::new(self.leases, &self.worker.prefix, &self.worker.name);
        let (mut lease, mut time_to_live) = self.register(&work, &place).await?;
        let board = match self.join(&work, &place, &definition, revision).await {
            Ok(board) => board,
            Err(error) => {
                place.leave(lease).await;
                return Err(error);
            }
        };
        work.begin_at(Revision::new(board.began_at_revision));
        let pace = self.migration.no_pace();
        let mut worker = Worker::new(&work, &place, &definition, self.worker.poll, pace);
        worker.count().await;
        let ended = loop {
            let keeper = Box::pin(keep_alive(&work, self.leases, lease, time_to_live));
            let working = Box::pin(worker.work(stop.clone(), &mut progress));
            match select(working, keeper).await {
                Either::Left((ended, _)) => break ended,
                // Others may have taken over what this one had: the board tells.
                Either::Right(((), _)) => {
                    work.go_on();
                    match self.register(&work, &place).await {
                        Ok(granted) => (lease, time_to_live) = granted,
                        Err(error) => break Err(StopReason::Displaced(error)),
                    }
                }
            }
        };
        place.leave(lease).await;
        let mut report = worker.report(ended);
        report.seconds = clock.now().since(began).as_secs_f64();
        Ok(report)
    }

    /// Waits for one of the same name that has died to be forgotten.
    async fn register(
        &self,
        work: &Work<'_>,
        place: &Place<'_>,
    ) -> Result<(LeaseId, Duration), Error> {
        let time_to_live = self.worker.time_to_live;
        // Leases run out a little late.
        let until = work.clock.now() + time_to_live.saturating_mul(2);
        loop {
            let granted = patiently!(work, place.register(time_to_live))?;
            if let Some(granted) = granted {
                return Ok(granted);
            }
            let now = work.clock.now();
            if now >= until {
                return Err(Error::new(
                    ErrorKind::Checkpoint,
                    format!("a worker `{}` is at work already", place.me()),
                ));
            }
            work.clock.sleep_until(now + self.worker.poll).await;
        }
    }

    /// Finds the board, or puts one up.
    async fn join(
        &self,
        work: &Work<'_>,
        place: &Place<'_>,
        definition: &Definition,
        revision: Revision,
    ) -> Result<Board, Error> {
        let found = patiently!(work, place.load())?;
        let mut living = None;
        if let Some(found) = &found
            && found.result.is_none()
            && let Some(difference) = definition.difference(&found.definition)
        {
            let owners = found.open.iter().map(|range| &range.worker);
            let owners: BTreeSet<_> = owners.chain(found.verifier.as_ref()).collect();
            for owner in owners {
                if patiently!(work, place.is_alive(owner))? {
                    living = Some((owner.clone(), difference.clone()));
                }
            }
        }
        if let Some((owner, difference)) = living {
            return Err(Error::new(
                ErrorKind::Checkpoint,
                format!("the worker `{owner}` is at work on a migration {difference}"),
            ));
        }
        let begin = || Board::new(definition.clone(), revision);
        let mut join = |board: Option<Board>| {
            Ok(match board {
                Some(board) if board.result.is_none() && board.definition == *definition => {
                    (board, ())
                }
                _ => (begin(), ()),
            })
        };
        let joined = patiently!(work, place.update(&mut join))?;
        Ok(joined.0)
    }
}

impl fmt::Debug for SharedMigration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMigration")
            .field("migration", &self.migration)
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

/// Keeps a lease alive; ends when it is gone, or must be taken to be.
async fn keep_alive(
    work: &Work<'_>,
    leases: &dyn LeaseStore,
    lease: LeaseId,
    time_to_live: Duration,
) {
    let every = time_to_live.checked_div(3).unwrap_or(time_to_live);
    let mut alive_at = work.clock.now();
    loop {
        work.clock.sleep_until(work.clock.now() + every).await;
        let asked = work.clock.now();
        let call = CallOptions::default().with_deadline(alive_at + time_to_live);
        match leases.keep_lease_alive(lease, &call).await {
            Ok(Some(_)) => alive_at = asked,
            Ok(None) => return,
            Err(_) if work.clock.now().since(alive_at) >= time_to_live => return,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(future: impl Future + Send) -> impl Future + Send {
        future
    }

    /// As a migration by one worker. That this compiles is the test.
    #[expect(dead_code, reason = "never called")]
    fn can_be_sent<'m>(worker: &'m SharedMigration<'m>) -> impl Future + Send + 'm {
        sent(worker.run(core::future::pending(), |_| {}))
    }
}
