//! All changes that etcd still keeps, page by page.

use std::collections::VecDeque;

use kms_core::object::{HistoryOptions, HistoryPage, HistoryPosition, HistoryRecord, Revision};
use kms_core::{Error, ErrorKind, Tick};

use super::cluster::Cluster;
use super::range::Pace;
use super::settled::Settled;
use super::watch::{Opened, Watch};

/// History that is being read. It outlives a page, because beginning is what costs: etcd reads all
/// that follows whenever a watch begins in the past.
pub(super) struct Session {
    prefix: Vec<u8>,
    /// What was given last.
    after: Option<HistoryPosition>,
    /// The revision up to which to read.
    newest: Revision,
    /// What compaction left, which comes first.
    settled: Option<Settled>,
    /// What the watch is to give comes after this revision.
    floor: Revision,
    /// What came since.
    watch: Option<Box<Watch>>,
    /// Changes that were received and not given yet.
    ready: VecDeque<HistoryRecord>,
}

/// What fits on the rest of a page.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Session {
    /// Whether this session can go on where a page begins.
    pub(super) fn serves(&self, options: &HistoryOptions) -> bool {
        options.after.is_some() && self.after == options.after && self.prefix == options.prefix
    }

    /// Begins to read history as it is now.
    pub(super) async fn open(
        cluster: &Cluster,
        newest: Revision,
        options: &HistoryOptions,
        deadline: Tick,
    ) -> Result<Self, Error> {
        let mut session = Self {
            prefix: options.prefix.clone(),
            after: options.after,
            newest,
            settled: None,
            floor: Revision::default(),
            watch: None,
            ready: VecDeque::new(),
        };
        // A watch waits for the change of the newest revision. Had that been a deletion and been
        // compacted, it would wait for ever; begun before it, it is told of the compaction.
        let before_newest = Revision::new(newest.get().saturating_sub(1));
        let since = match options.after {
            Some(after) if after.revision > newest => return Ok(session),
            Some(after) => after.revision.min(before_newest),
            None => Revision::default(),
        };
        // A cluster begins at one.
        if before_newest > Revision::default() {
            let since = since.max(Revision::new(1));
            match Watch::open(cluster, since, newest, deadline).await? {
                Opened::Watch(watch) => session.watch = Some(watch),
                Opened::Compacted(floor) => {
                    session.newest = newest.max(floor);
                    session.floor = floor;
                    session.settled = Some(Settled::new(&options.prefix, floor, options.after));
                }
            }
        }
        Ok(session)
    }

    /// One page.
    pub(super) async fn page(
        &mut self,
        cluster: &Cluster,
        pace: &Pace,
        options: &HistoryOptions,
        deadline: Tick,
    ) -> Result<HistoryPage, Error> {
        let mut room = Room {
            records: usize::try_from(options.page_limit.max(1)).unwrap_or(usize::MAX),
            bytes: options.page_bytes.max(1),
        };
        let mut page: Vec<HistoryRecord> = Vec::new();
        loop {
            if self.ready.is_empty() {
                self.refill(cluster, pace, room, deadline).await?;
            }
            let is_full = room.records == 0 || room.bytes == 0;
            if is_full && !self.ready.is_empty() {
                let page = HistoryPage::new(page, self.after, self.newest);
                return Ok(page.with_compacted(self.compacted()));
            }
            let Some(record) = self.ready.pop_front() else {
                let page = HistoryPage::new(page, None, self.newest);
                return Ok(page.with_compacted(self.compacted()));
            };
            room.records = room.records.saturating_sub(1);
            room.bytes = room.bytes.saturating_sub(size(&record));
            self.after = Some(record.position);
            page.push(record);
        }
    }

    /// Up to where history is compacted, if this is known: who goes on in the middle of what is
    /// kept is not told.
    fn compacted(&self) -> Option<Revision> {
        (self.floor > Revision::default()).then_some(self.floor)
    }

    /// Gets the next changes; none if there are none left.
    async fn refill(
        &mut self,
        cluster: &Cluster,
        pace: &Pace,
        room: Room,
        deadline: Tick,
    ) -> Result<(), Error> {
        if let Some(settled) = &mut self.settled {
            self.ready
                .extend(settled.next(cluster, pace, room, deadline).await?);
            if !self.ready.is_empty() {
                return Ok(());
            }
            self.settled = None;
            if self.floor < self.newest {
                let since = self.floor;
                self.watch = match Watch::open(cluster, since, self.newest, deadline).await? {
                    Opened::Watch(watch) => Some(watch),
                    Opened::Compacted(floor) => return Err(compacted(cluster, floor)),
                };
            }
        }
        let Some(watch) = &mut self.watch else {
            return Ok(());
        };
        while let Some(record) = watch.next(cluster, deadline).await? {
            let is_new = record.position.revision > self.floor
                && self.after.is_none_or(|after| record.position > after);
            if is_new && record.key.as_bytes().starts_with(&self.prefix) {
                self.ready.push_back(record);
                break;
            }
        }
        Ok(())
    }
}

/// What a change counts on a page, in bytes.
pub(super) fn size(record: &HistoryRecord) -> usize {
    let value = record.value.as_ref().map_or(0, Vec::len);
    record.key.as_bytes().len().saturating_add(value)
}

pub(super) fn compacted(cluster: &Cluster, floor: Revision) -> Error {
    cluster.fault(
        ErrorKind::Compacted,
        format!("history up to {floor} was compacted while it was read"),
    )
}
