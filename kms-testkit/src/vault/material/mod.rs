//! Real keys: what a key version is made of, and what it can compute.

mod ec;
mod kind;
mod oct;
mod pool;
mod rsa;
mod signing;
mod wrap;

pub(super) use self::ec::{Curve, EcKey};
pub(super) use self::kind::KeyKind;
pub(super) use self::oct::OctKey;
pub(super) use self::pool::KeyPool;
pub(super) use self::rsa::{RsaKey, RsaParts};

/// The secret part of a key version. Dropped keys are wiped by the libraries that hold them.
#[derive(Debug)]
pub(super) enum Material {
    Rsa(RsaKey),
    Ec(EcKey),
    Oct(OctKey),
}

impl Material {
    /// What the throttle and the messages call it.
    pub(super) fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa(key) => KeyKind::Rsa(key.bits()),
            Self::Ec(key) => KeyKind::Ec(key.curve()),
            Self::Oct(key) => KeyKind::Oct(key.bits()),
        }
    }
}
