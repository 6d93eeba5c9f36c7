//! The others.

mod age;
#[cfg(feature = "aws-esdk")]
mod aws_esdk;
mod envelopers;
mod kms_aead;
mod tink;

use crate::Side;

/// Every other library, in each configuration, and ours on its other backend.
#[must_use]
pub fn all() -> Vec<Side> {
    let mut sides = vec![crate::ours::on_aws_lc()];
    sides.extend(envelopers::sides());
    sides.extend(kms_aead::sides());
    sides.push(tink::side());
    sides.push(age::side());
    #[cfg(feature = "aws-esdk")]
    sides.push(aws_esdk::side());
    sides
}
