//! Files that were changed by accident or on purpose: an error that says where, never a panic,
//! never a census that is too small.

use std::ops::ControlFlow;

use kms_cluster::snapshot::{Snapshot, SnapshotOptions};
use kms_core::object::{HistoryPosition, Revision};
use kms_core::{Error, ErrorKind};
use proptest::prelude::*;

const PAGE: usize = 4096;

/// A file of a few levels.
fn sample() -> Vec<u8> {
    let mut writer = super::writer();
    for number in 0..3000_u32 {
        let key = format!("/registry/secrets/ns/{}", number % 700);
        let length = if number % 97 == 0 { 10_000 } else { 60 };
        writer
            .put(key.as_bytes(), &vec![number as u8; length], None)
            .unwrap();
    }
    writer.delete(b"/registry/secrets/ns/3").unwrap();
    writer.finish().unwrap().into_inner()
}

#[derive(Debug, Eq, PartialEq)]
struct Counts {
    live: usize,
    records: usize,
}

fn count(bytes: Vec<u8>) -> Result<Counts, Error> {
    let snapshot = super::open(bytes)?;
    let mut counts = Counts {
        live: 0,
        records: 0,
    };
    snapshot.sweep(None, |record| {
        counts.live += usize::from(record.is_live);
        counts.records += 1;
        ControlFlow::Continue(())
    })?;
    Ok(counts)
}

const WHOLE: Counts = Counts {
    live: 699,
    records: 3001,
};

/// Writes a page's number of the root bucket's first element, `key`, over with another.
fn set_u64(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

fn pages_of_kind(bytes: &[u8], kind: u8) -> Vec<usize> {
    (2..bytes.len() / PAGE)
        .map(|page| page * PAGE)
        .filter(|at| bytes[at + 8] == kind && bytes[at + 9] == 0)
        .filter(|at| bytes[*at..at + 8] == ((at / PAGE) as u64).to_le_bytes())
        .collect()
}

#[test]
fn the_sample_is_whole() {
    assert_eq!(count(sample()).unwrap(), WHOLE);
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let whole = sample();
    for length in (0..whole.len()).step_by(509) {
        assert!(count(whole[..length].to_vec()).is_err(), "{length}");
    }
}

#[test]
fn the_digest_finds_any_flipped_bit() {
    let mut writer = super::writer();
    writer.put(b"/registry/x", b"value", None).unwrap();
    let whole = super::finish(writer);
    let step = 61;
    for at in (0..whole.len()).step_by(step) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        let error = super::open(bytes).expect_err("a flipped bit");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    // Unless it is told not to look: then what is not in a page's frame is not seen.
    let mut bytes = whole;
    *bytes.last_mut().unwrap() ^= 1;
    let unchecked = SnapshotOptions::default().with_verify_digest(false);
    assert!(Snapshot::from_bytes(bytes, "test", &unchecked).is_ok());
}

#[test]
fn a_branch_that_leads_to_itself_is_refused() {
    let whole = sample();
    let branch = pages_of_kind(&whole, 1)[0];
    let mut bytes = whole;
    set_u64(&mut bytes, branch + 16 + 8, (branch / PAGE) as u64);
    let error = count(bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("in the tree twice"), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("page {}, offset {branch}", branch / PAGE)),
        "{error}"
    );
}

#[test]
fn two_branches_do_not_share_a_leaf() {
    let whole = sample();
    let branch = pages_of_kind(&whole, 1)[0];
    let mut bytes = whole;
    let second = bytes[branch + 32 + 8..branch + 32 + 16].to_vec();
    bytes[branch + 24..branch + 32].copy_from_slice(&second);
    let error = count(bytes).unwrap_err();
    assert!(error.to_string().contains("in the tree twice"), "{error}");
}

#[test]
fn a_page_in_the_place_of_another_is_torn() {
    let whole = sample();
    let leaves = pages_of_kind(&whole, 2);
    let mut bytes = whole;
    let (one, other) = (leaves[1], leaves[2]);
    bytes.copy_within(one..one + PAGE, other);
    let error = count(bytes).unwrap_err();
    assert!(error.to_string().contains("is torn"), "{error}");
}

#[test]
fn a_leaf_that_lost_entries_is_refused() {
    let whole = sample();
    for leaf in pages_of_kind(&whole, 2).into_iter().take(20) {
        let mut bytes = whole.clone();
        bytes[leaf + 10] -= 1;
        let error = count(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

#[test]
fn records_out_of_order_are_refused() {
    let mut writer = super::writer();
    for revision in [2, 5, 4, 6] {
        let position = HistoryPosition::new(Revision::new(revision), 0);
        writer.record(position, Some(b"v"), b"k", None).unwrap();
    }
    let error = count(super::finish(writer)).unwrap_err();
    assert!(error.to_string().contains("order of revisions"), "{error}");
}

#[test]
fn other_files_are_no_databases() {
    for bytes in [vec![], vec![0; 10], vec![0; 3 * PAGE], vec![0xff; PAGE * 4]] {
        let error = super::open(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn one_torn_meta_page_is_what_the_other_is_for() {
    let whole = sample();
    let mut newest = whole.clone();
    newest[PAGE + 40] ^= 1;
    assert_eq!(count(newest.clone()).unwrap(), WHOLE);
    newest[40] ^= 1;
    assert!(count(newest).is_err());
    let mut first = whole;
    first[20] ^= 1;
    assert_eq!(count(first).unwrap(), WHOLE);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    std::fs::write(&path, sample()).unwrap();
    let snapshot = Snapshot::open(&path).unwrap();
    let mut changed = false;
    let result = snapshot.sweep(None, |_| {
        if !core::mem::replace(&mut changed, true) {
            let mut writer = super::writer();
            writer.put(b"/registry/y", b"z", None).unwrap();
            let mut bytes = sample();
            let other = writer.finish().unwrap().into_inner();
            bytes[..2 * PAGE].copy_from_slice(&other[..2 * PAGE]);
            std::fs::write(&path, bytes).unwrap();
        }
        ControlFlow::Continue(())
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Without the digest, as in a member's own file: a flip in a page's frame is refused, and
    /// one in a record's content may pass, but no record is lost without an error.
    #[test]
    fn flipped_bits_lose_nothing_without_a_trace(
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), 0..8_u32), 1..4),
    ) {
        let mut bytes = sample();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Ok(counts) = count(bytes) {
            prop_assert_eq!(counts.records, WHOLE.records);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        page in proptest::collection::vec(any::<u8>(), PAGE),
        at in 0..40_usize,
    ) {
        let mut bytes = sample();
        let at = at * PAGE;
        let end = (at + PAGE).min(bytes.len());
        bytes[at..end].copy_from_slice(&page[..end - at]);
        let _ = count(bytes);
    }
}
