//! The board: what is claimed, by whom, and how far it has come. Knows no store and no clock.

use std::collections::BTreeMap;

use kms_core::object::Revision;
use serde::{Deserialize, Serialize};

use crate::reencrypt::migrate::MigrationCounts;
use crate::reencrypt::migrate::checkpoint::{Cursor, Definition, to_json};
use crate::{Error, ErrorKind};

/// The longest board, in bytes: etcd takes 1.5 MiB.
const MAX_LEN: usize = 1024 * 1024;
/// Ranges that are claimed and not done. A worker claims one at a time.
const MAX_OPEN: usize = 1024;
const VERSION: u32 = 1;

/// One object that all workers read and swap.
///
/// The keys up to the frontier are claimed, range after range of the form `(after, through]`: they
/// tile the keys without gap or overlap. Those that are done are not listed any more.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Board {
    version: u32,
    #[serde(rename = "migration")]
    pub(super) definition: Definition,
    pub(super) began_at_revision: u64,
    pub(super) pass: u32,
    /// Everything up to this key is claimed.
    pub(super) frontier: Option<Cursor>,
    /// There is nothing behind the frontier.
    pub(super) is_all_claimed: bool,
    pub(super) open: Vec<OpenRange>,
    next_number: u64,
    /// Of what is done.
    pub(super) counts: MigrationCounts,
    pub(super) verifier: Option<String>,
    pub(super) result: Option<VerifiedResult>,
    /// The last change of each worker, by number: who got no answer sees whether it happened.
    stamps: BTreeMap<String, u64>,
}

/// Keys that a worker has claimed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenRange {
    pub(super) number: u64,
    pub(super) after: Option<Cursor>,
    pub(super) through: Cursor,
    /// How far it has come.
    pub(super) cursor: Option<Cursor>,
    pub(super) worker: String,
    pub(super) counts: MigrationCounts,
}

impl OpenRange {
    /// Where to go on.
    pub(super) fn from(&self) -> Option<Cursor> {
        self.cursor.clone().or_else(|| self.after.clone())
    }
}

/// What the last worker found.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifiedResult {
    pub(super) revision: u64,
    pub(super) objects: u64,
    pub(super) right: u64,
    pub(super) remaining: u64,
}

/// What a worker should do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Go on with a range of its own.
    GoOn(OpenRange),
    /// See whether the worker of this range is alive, and take it over if not.
    AskAfter(Vec<OpenRange>),
    /// Claim what comes after the frontier.
    Claim,
    /// Verify what all have done.
    Verify,
    /// See whether this worker is alive, and verify in its place if not.
    AskAfterVerifier(String),
    /// All is done.
    Finished(VerifiedResult),
}

impl Board {
    pub(super) fn new(definition: Definition, began_at: Revision) -> Self {
        Self {
            version: VERSION,
            definition,
            began_at_revision: began_at.get(),
            pass: 1,
            frontier: None,
            is_all_claimed: false,
            open: Vec::new(),
            next_number: 1,
            counts: MigrationCounts::default(),
            verifier: None,
            result: None,
            stamps: BTreeMap::new(),
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |fault: String| Error::new(ErrorKind::Checkpoint, fault);
        if bytes.len() > MAX_LEN {
            return Err(refuse("the board of the workers is too long".to_owned()));
        }
        let board: Self = serde_json::from_slice(bytes)
            .map_err(|error| refuse(format!("it is no board of workers: {error}")))?;
        if board.version != VERSION {
            let version = board.version;
            return Err(refuse(format!(
                "the board of the workers is of version {version}, and not {VERSION}"
            )));
        }
        Ok(board)
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, Error> {
        to_json(self, MAX_LEN)
    }

    pub(super) fn next(&self, me: &str) -> Next {
        if let Some(result) = self.result {
            return Next::Finished(result);
        }
        if let Some(own) = self.open.iter().find(|range| range.worker == me) {
            return Next::GoOn(own.clone());
        }
        if !self.is_all_claimed {
            return Next::Claim;
        }
        if !self.open.is_empty() {
            return Next::AskAfter(self.open.clone());
        }
        match &self.verifier {
            None => Next::Verify,
            Some(verifier) if verifier == me => Next::Verify,
            Some(verifier) => Next::AskAfterVerifier(verifier.clone()),
        }
    }

    /// Claims what lies between the frontier and a key. `None` if the frontier has moved on.
    pub(super) fn claim(
        &mut self,
        me: &str,
        after: Option<&Cursor>,
        through: Cursor,
    ) -> Option<OpenRange> {
        let is_here = self.frontier.as_ref() == after && !self.is_all_claimed;
        if !is_here || self.open.len() >= MAX_OPEN {
            return None;
        }
        let range = OpenRange {
            number: self.next_number,
            after: after.cloned(),
            through: through.clone(),
            cursor: None,
            worker: me.to_owned(),
            counts: MigrationCounts::default(),
        };
        self.next_number = self.next_number.saturating_add(1);
        self.frontier = Some(through);
        self.open.push(range.clone());
        Some(range)
    }

    /// Says that nothing comes after the frontier.
    pub(super) fn close(&mut self, after: Option<&Cursor>) {
        if self.frontier.as_ref() == after {
            self.is_all_claimed = true;
        }
    }

    /// Takes over the range of a worker that is gone, from where it stood. `None` if somebody else
    /// was faster.
    pub(super) fn take_over(&mut self, me: &str, dead: &OpenRange) -> Option<OpenRange> {
        let range = self
            .open
            .iter_mut()
            .find(|range| range.number == dead.number)?;
        if range.worker != dead.worker {
            return None;
        }
        me.clone_into(&mut range.worker);
        Some(range.clone())
    }

    /// Notes how far a range has come. False if it is another's by now.
    pub(super) fn advance(
        &mut self,
        me: &str,
        number: u64,
        cursor: Cursor,
        counts: MigrationCounts,
    ) -> bool {
        let range = self.open.iter_mut().find(|range| range.number == number);
        let Some(range) = range.filter(|range| range.worker == me) else {
            return false;
        };
        range.cursor = Some(cursor);
        range.counts = counts;
        true
    }

    /// Notes that a range is done. False if it is another's by now.
    pub(super) fn finish(&mut self, me: &str, number: u64, counts: MigrationCounts) -> bool {
        let place = self
            .open
            .iter()
            .position(|range| range.number == number && range.worker == me);
        let Some(place) = place else {
            return false;
        };
        self.open.remove(place);
        self.counts = self.counts.plus(counts);
        true
    }

    /// Begins once more, for what could not be brought to the target at first.
    pub(super) fn begin_pass(&mut self) {
        self.pass = self.pass.saturating_add(1);
        self.frontier = None;
        self.is_all_claimed = false;
        self.verifier = None;
    }

    pub(super) fn last_stamp(&self, me: &str) -> u64 {
        self.stamps.get(me).copied().unwrap_or_default()
    }

    pub(super) fn stamp(&mut self, me: &str, number: u64) {
        // Whoever has nothing here and did not come again is forgotten.
        while self.stamps.len() >= MAX_OPEN {
            self.stamps.pop_first();
        }
        self.stamps.insert(me.to_owned(), number);
    }
}

#[cfg(test)]
mod tests {
    use kms_core::object::ObjectKey;
    use proptest::prelude::*;

    use super::*;
    use crate::reencrypt::MigrationScope;

    fn board() -> Board {
        let definition = Definition {
            cluster: "embedded c".to_owned(),
            scope: MigrationScope::new("/registry"),
            selector: "current".to_owned(),
            targets: Vec::new(),
            renew: false,
        };
        Board::new(definition, Revision::new(3))
    }

    fn cursor(number: u32) -> Cursor {
        Cursor(ObjectKey::new(format!("k{number:05}")).unwrap())
    }

    #[test]
    fn a_claim_is_good_only_at_the_frontier() {
        let mut board = board();
        assert_eq!(board.next("a"), Next::Claim);
        let first = board.claim("a", None, cursor(5)).unwrap();
        assert_eq!(board.claim("b", None, cursor(6)), None, "a was faster");
        let second = board.claim("b", Some(&cursor(5)), cursor(9)).unwrap();
        assert_eq!(second.after, Some(cursor(5)));
        board.close(Some(&cursor(5)));
        assert!(!board.is_all_claimed, "the frontier is elsewhere");
        board.close(Some(&cursor(9)));
        assert_eq!(board.next("c"), Next::AskAfter(vec![first.clone(), second]));
        assert_eq!(board.next("a"), Next::GoOn(first));
    }

    #[test]
    fn a_dead_workers_range_goes_to_one_who_goes_on_where_it_stood() {
        let mut board = board();
        let dead = board.claim("dead", None, cursor(9)).unwrap();
        let counts = MigrationCounts::default();
        assert!(board.advance("dead", dead.number, cursor(4), counts));
        let taken = board.take_over("b", &dead).unwrap();
        assert_eq!(taken.from(), Some(cursor(4)));
        assert_eq!(board.take_over("c", &dead), None, "b was faster");
        // It was only asleep: what it says does not count any more.
        assert!(!board.advance("dead", dead.number, cursor(5), counts));
        assert!(!board.finish("dead", dead.number, counts));
        assert!(board.finish("b", dead.number, counts));
    }

    #[test]
    fn the_last_one_verifies_and_another_pass_begins_at_the_beginning() {
        let mut board = board();
        board.close(None);
        assert_eq!(board.next("a"), Next::Verify);
        board.verifier = Some("a".to_owned());
        assert_eq!(board.next("b"), Next::AskAfterVerifier("a".to_owned()));
        board.begin_pass();
        assert_eq!((board.pass, board.next("b")), (2, Next::Claim));
    }

    #[test]
    fn only_a_whole_board_is_one() {
        let mut board = board();
        board.claim("a", None, cursor(1)).unwrap();
        board.stamp("a", 7);
        let bytes = board.to_json().unwrap();
        assert_eq!(Board::parse(&bytes).unwrap(), board);
        assert_eq!((board.last_stamp("a"), board.last_stamp("b")), (7, 0));
        for cut in 0..bytes.len() - 2 {
            assert!(Board::parse(&bytes[..cut]).is_err());
        }
        let text = String::from_utf8(bytes).unwrap();
        assert!(Board::parse(text.replacen('{', "{\"more\":1,", 1).as_bytes()).is_err());
    }

    proptest! {
        /// Whoever claims, dies, takes over and ends in whatever order: the ranges that were done
        /// tile the keys, each once.
        #[test]
        fn ranges_tile_the_keys(acts in proptest::collection::vec((0_u8..4, 0_usize..3), 1..200)) {
            let mut board = board();
            let names = ["a", "b", "c"];
            let mut top = 0;
            let mut done: Vec<(Option<Cursor>, Cursor)> = Vec::new();
            for (act, who) in acts {
                let me = names[who];
                let mine = board.open.iter().find(|range| range.worker == me).cloned();
                match (act, mine) {
                    (0, None) => {
                        let after = board.frontier.clone();
                        top += 1;
                        board.claim(me, after.as_ref(), cursor(top)).unwrap();
                    }
                    (1, Some(mine)) => {
                        let counts = MigrationCounts { objects: 1, ..MigrationCounts::default() };
                        prop_assert!(board.finish(me, mine.number, counts));
                        done.push((mine.after, mine.through));
                    }
                    (2, None) => {
                        if let Some(other) = board.open.first().cloned() {
                            prop_assert!(board.take_over(me, &other).is_some());
                        }
                    }
                    _ => {}
                }
            }
            for rest in board.open.clone() {
                prop_assert!(board.finish(&rest.worker, rest.number, MigrationCounts::default()));
                done.push((rest.after, rest.through));
            }
            done.sort();
            let mut after = None;
            for (from, through) in done {
                prop_assert_eq!(from, after);
                after = Some(through);
            }
            prop_assert_eq!(after, board.frontier);
        }
    }
}
