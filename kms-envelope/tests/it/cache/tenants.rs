//! What one tenant, or whoever writes the stored bytes, can do to the others.

use kms_core::{EncryptionContext, ErrorKind};
use kms_envelope::cache::UnwrapCacheOptions;

use super::{Bed, partition, seconds, wrapped};

fn options() -> UnwrapCacheOptions {
    UnwrapCacheOptions::default()
        .with_capacity(8)
        .with_partitions(4)
        .with_remembered_errors(5, seconds(1))
}

fn held(bed: &Bed, tenant: usize, dek: usize) -> bool {
    let context = EncryptionContext::new();
    bed.cache
        .cached(&partition(tenant), &wrapped(0, dek), &context)
        .is_some()
}

#[test]
fn a_greedy_tenant_evicts_itself_alone() {
    let bed = Bed::new(options());
    for dek in 0..8 {
        bed.open_in(&partition(1), &wrapped(0, dek)).unwrap();
    }
    for dek in 0..1000 {
        bed.clock.advance(std::time::Duration::from_nanos(1));
        bed.open_in(&partition(2), &wrapped(0, dek)).unwrap();
    }
    assert!((0..8).all(|dek| held(&bed, 1, dek)));
    assert!((0..992).all(|dek| !held(&bed, 2, dek)));
    assert!((992..1000).all(|dek| held(&bed, 2, dek)));
    let stats = bed.cache.stats();
    assert_eq!((stats.entries, stats.evicted), (16, 992));
}

#[test]
fn made_up_keys_evict_nothing_and_are_remembered_within_bounds() {
    let bed = Bed::new(options());
    for dek in 0..8 {
        bed.open_in(&partition(1), &wrapped(0, dek)).unwrap();
    }
    bed.vault.set_fault(Some(ErrorKind::KeyNotFound));
    for dek in 1000..3000 {
        let opened = bed.open_in(&partition(1), &wrapped(dek, dek));
        assert_eq!(opened.unwrap_err(), ErrorKind::KeyNotFound);
        assert!(bed.cache.remembered_errors() <= 5);
    }
    assert!((0..8).all(|dek| held(&bed, 1, dek)));
    assert_eq!(bed.cache.stats().entries, 8);
    // Nor do partitions without end.
    for tenant in 0..100 {
        bed.open_in(&partition(tenant), &wrapped(1, 1)).unwrap_err();
        assert!(bed.cache.remembered_errors() <= 20);
    }
    bed.clock.advance(seconds(1));
    bed.cache.sweep();
    assert_eq!(bed.cache.remembered_errors(), 0);
}

#[test]
fn one_tenants_refusal_is_not_anothers() {
    let bed = Bed::new(options());
    bed.vault.set_fault(Some(ErrorKind::PermissionDenied));
    bed.open_in(&partition(1), &wrapped(0, 1)).unwrap_err();
    bed.vault.set_fault(None);
    bed.open_in(&partition(2), &wrapped(0, 1)).unwrap();
    bed.open_in(&partition(1), &wrapped(0, 1)).unwrap_err();
}

#[test]
fn with_too_many_tenants_the_idlest_goes_as_a_whole() {
    let bed = Bed::new(options());
    for tenant in 1..=4 {
        bed.clock.advance(seconds(1));
        bed.open_in(&partition(tenant), &wrapped(0, 1)).unwrap();
    }
    bed.clock.advance(seconds(1));
    assert!(held(&bed, 1, 1), "used again");
    bed.open_in(&partition(5), &wrapped(0, 1)).unwrap();
    let held: Vec<usize> = (1..=5).filter(|tenant| held(&bed, *tenant, 1)).collect();
    assert_eq!(held, [1, 3, 4, 5]);
}
