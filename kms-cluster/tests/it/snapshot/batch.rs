//! Pages that are read many at once, and records that outlive the visit.

use std::ops::ControlFlow;

use kms_cluster::snapshot::RecordBatch;

use super::{finish, open, writer};

/// Lengths around a page, around what is read at once, and far over both.
const LENGTHS: [usize; 9] = [0, 1, 900, 3_990, 4_100, 70_000, 262_100, 262_144, 700_000];

#[test]
fn a_batch_holds_what_the_sweep_has_shown() {
    let mut writer = writer();
    for number in 0..400_usize {
        let key = format!("/registry/secrets/default/{number}");
        let value = vec![number as u8; LENGTHS[number * 7 % LENGTHS.len()]];
        writer.put(key.as_bytes(), &value, None).unwrap();
        if number % 50 == 49 {
            writer.delete(key.as_bytes()).unwrap();
        }
    }
    let snapshot = open(finish(writer)).unwrap();
    let (mut batches, mut shown) = (vec![RecordBatch::new()], Vec::new());
    snapshot
        .sweep(None, |record| {
            let value = record.value.unwrap_or_default();
            shown.push((record.key.to_vec(), value.to_vec()));
            let batch = batches.last_mut().unwrap();
            batch.push(record);
            if batch.held_bytes() > 1 << 20 {
                batches.push(RecordBatch::new());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(batches.len() > 20, "{}", batches.len());
    assert_eq!(shown.len(), 408);
    let kept: Vec<_> = batches
        .iter()
        .flat_map(|batch| {
            assert_eq!(batch.len(), batch.iter().count());
            batch.iter()
        })
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect();
    assert!(kept == shown, "the batches hold something else");
    for (key, value) in &kept {
        let number: usize = core::str::from_utf8(key).unwrap()[26..].parse().unwrap();
        assert!(value.iter().all(|byte| *byte == number as u8));
    }
}

#[test]
fn a_batch_that_is_cleared_holds_nothing() {
    let mut writer = writer();
    writer.put(b"/registry/a", b"value", None).unwrap();
    let snapshot = open(finish(writer)).unwrap();
    let mut batch = RecordBatch::new();
    snapshot
        .sweep(None, |record| {
            batch.push(record);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(
        batch.iter().collect::<Vec<_>>(),
        [(&b"/registry/a"[..], &b"value"[..])]
    );
    assert!(batch.held_bytes() >= 4096 && !batch.is_empty());
    assert!(!format!("{batch:?}").contains("118, 97"), "{batch:?}");
    batch.clear();
    assert_eq!(
        (batch.len(), batch.held_bytes(), batch.iter().count()),
        (0, 0, 0)
    );
}
