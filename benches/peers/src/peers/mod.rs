//! The others.

mod age;
mod envelopers;
mod kms_aead;
mod tink;

use crate::Side;

/// Every other library, in each configuration, and ours on its other backend.
#[must_use]
pub fn all() -> Vec<Side> {
    let mut sides = vec![crate::ours::on_aws_lc(), tink::side(), age::side()];
    sides.extend(envelopers::sides());
    sides.extend(kms_aead::sides());
    sides
}
