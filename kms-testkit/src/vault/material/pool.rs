//! RSA keys that are there already, because making them is slow in a debug build.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::RsaKey;
use crate::vault::refusal::Refusal;

/// By bits. Public test keys: they stand in the source.
const POOL: [(usize, &str); 3] = [
    (2048, include_str!("pool/rsa-2048.pem")),
    (3072, include_str!("pool/rsa-3072.pem")),
    (4096, include_str!("pool/rsa-4096.pem")),
];

/// Gives each key of the pool once, then makes new ones; or makes them all.
#[derive(Debug, Default)]
pub(in crate::vault) struct KeyPool {
    given: Option<Mutex<BTreeMap<usize, usize>>>,
}

impl KeyPool {
    /// Starts with the keys in the source.
    pub(in crate::vault) fn ready_made() -> Self {
        Self {
            given: Some(Mutex::default()),
        }
    }

    /// Generates every key.
    pub(in crate::vault) const fn generating() -> Self {
        Self { given: None }
    }

    /// A key that this pool has not given before.
    pub(in crate::vault) fn rsa(&self, bits: usize) -> Result<RsaKey, Refusal> {
        match self.next(bits) {
            Some(der) => RsaKey::from_pkcs8(der.secret_pkcs8_der()),
            None => RsaKey::generate(bits),
        }
    }

    fn next(&self, bits: usize) -> Option<PrivatePkcs8KeyDer<'static>> {
        let mut given = self
            .given
            .as_ref()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (_, pem) = POOL.iter().find(|(size, _)| *size == bits)?;
        let place = given.entry(bits).or_default();
        let key = PrivatePkcs8KeyDer::pem_slice_iter(pem.as_bytes())
            .nth(*place)?
            .ok()?;
        *place = place.saturating_add(1);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_gives_different_keys_and_then_new_ones() {
        let pool = KeyPool::ready_made();
        let moduli: std::collections::BTreeSet<_> =
            (0..9).map(|_| pool.rsa(2048).unwrap().modulus()).collect();
        assert_eq!(moduli.len(), 9);
        assert_eq!(pool.rsa(3072).unwrap().bits(), 3072);
        assert_eq!(pool.rsa(4096).unwrap().bits(), 4096);
        assert!(pool.rsa(1024).is_err());
    }
}
