//! Stored objects.

use ::arbitrary::{Arbitrary, Result, Unstructured};

use super::{accepted, bytes};
use crate::object::{LeaseId, ObjectKey, Revision, StoredObject};

/// The longest arbitrary value, in bytes. A real one may have 1.5 MiB, which only slows a fuzzer.
const MAX_VALUE_LEN: usize = 16 * 1024;

impl<'a> Arbitrary<'a> for ObjectKey {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        accepted(Self::new(bytes(u, 1..=Self::MAX_LEN)?))
    }
}

impl<'a> Arbitrary<'a> for Revision {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary().map(Self::new)
    }
}

impl<'a> Arbitrary<'a> for LeaseId {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let number: i64 = u.arbitrary()?;
        // Zero is no lease.
        Self::new(if number == 0 { 1 } else { number }).ok_or(::arbitrary::Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for StoredObject {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let (key, revision, lease) = u.arbitrary()?;
        let value = bytes(u, 0..=MAX_VALUE_LEN)?;
        Ok(Self::new(key, value, revision).with_lease(lease))
    }
}
