//! Who needs a key, in numbers.

use kms_core::KeyId;
use kms_envelope::reencrypt::names_one_key;

use super::RegistrySources;
use crate::cluster::CensusOutcome;

/// Who needs a key; `None` for what was not looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Live objects.
    pub(super) live: Option<u64>,
    /// Values in history that are not live.
    pub(super) history: Option<u64>,
    /// Values of backups, live there or in their history.
    pub(super) backups: Option<u64>,
    /// API servers and plugins that write with it.
    pub(super) replicas: Option<u64>,
}

impl Counts {
    pub(super) fn of(sources: &RegistrySources, id: &KeyId) -> Self {
        let cluster = sources.cluster.as_ref();
        let scanned = sources.backups.iter().map(|backup| {
            let history = history_under(backup, id).unwrap_or_default();
            live_under(backup, id).saturating_add(history)
        });
        let writers = sources.writers.as_ref().map(|writers| {
            let known = writers.known.iter();
            let with = known.filter(|it| names_one_key(it.writes_with(), id.as_str()));
            u64::try_from(with.count()).unwrap_or(u64::MAX)
        });
        Self {
            live: cluster.map(|it| live_under(it, id)),
            history: cluster.and_then(|it| history_under(it, id)),
            backups: (!sources.backups.is_empty())
                .then(|| scanned.fold(0_u64, u64::saturating_add)),
            replicas: writers,
        }
    }

    /// Whether anything that was looked at needs it.
    pub(super) fn is_needed(self) -> bool {
        let all = [self.live, self.history, self.backups, self.replicas];
        all.into_iter().flatten().any(|count| count > 0)
    }
}

fn live_under(outcome: &CensusOutcome, id: &KeyId) -> u64 {
    let used = outcome.report.key_ids.iter();
    used.filter(|used| is_of(used.key_id.as_deref(), id))
        .fold(0, |sum, used| sum.saturating_add(used.live_objects))
}

fn history_under(outcome: &CensusOutcome, id: &KeyId) -> Option<u64> {
    outcome.report.history.as_ref()?;
    let used = outcome.report.key_ids.iter();
    let counts = used
        .filter(|used| is_of(used.key_id.as_deref(), id))
        .filter_map(|used| used.records_not_live);
    Some(counts.fold(0, u64::saturating_add))
}

fn is_of(named: Option<&str>, id: &KeyId) -> bool {
    named.is_some_and(|named| names_one_key(named, id.as_str()))
}

/// Whether something was counted of which nobody knows which key it needs: a value of KMS v1, a
/// damaged one, or one of a provider that is not known here.
pub(super) fn names_no_key(sources: &RegistrySources) -> bool {
    let mut counted = sources.cluster.iter().chain(&sources.backups);
    counted.any(|outcome| {
        let report = &outcome.report;
        let v1 = report.key_ids.iter().any(|used| {
            let is_there = used.live_objects > 0 || used.records.is_some_and(|count| count > 0);
            used.key_id.is_none() && is_there
        });
        let history = report
            .history
            .iter()
            .flat_map(|history| &history.census_puts_not_live);
        let mut rows = report.live.census.iter().chain(history);
        v1 || rows.any(|row| row.count > 0 && (row.unparsable || row.provider.is_none()))
    })
}
