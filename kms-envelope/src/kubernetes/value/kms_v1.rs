//! KMS v1: `length of the encrypted DEK (u16, big-endian) ‖ encrypted DEK ‖ body`.
//!
//! The body is AES-GCM since Kubernetes 1.25 and was AES-CBC before; nothing in the value says
//! which, so a reader tries one after the other.

use super::plaintext::Plaintext;
use super::{Fault, aes_cbc, aes_gcm, does_not_open};
use crate::{Error, ErrorKind};

/// The two bytes in front of the encrypted DEK.
pub(crate) const LENGTH_LEN: usize = 2;

pub(crate) struct Parts<'a> {
    pub(crate) encrypted_dek: &'a [u8],
    pub(crate) body: &'a [u8],
}

pub(crate) fn parse(payload: &[u8]) -> Result<Parts<'_>, Fault> {
    let (length, rest) = payload
        .split_first_chunk::<LENGTH_LEN>()
        .ok_or(Fault::new("encrypted DEK length", "is cut off"))?;
    let (encrypted_dek, body) = rest
        .split_at_checked(usize::from(u16::from_be_bytes(*length)))
        .ok_or(Fault::new("encrypted DEK", "is cut off"))?;
    if encrypted_dek.is_empty() {
        return Err(Fault::new("encrypted DEK", "is empty"));
    }
    Ok(Parts {
        encrypted_dek,
        body,
    })
}

/// Opens the body, and says whether it is in the old form.
pub(crate) fn open(dek: &[u8], aad: &[u8], body: &[u8]) -> Result<(Plaintext, bool), Error> {
    let refused = match aes_gcm::open(dek, aad, body) {
        Ok(plaintext) => return Ok((plaintext, false)),
        Err(error) => error,
    };
    if refused.kind() != ErrorKind::Crypto {
        return Err(refused);
    }
    if !aes_cbc::has_its_shape(body) {
        return Err(does_not_open());
    }
    aes_cbc::open(dek, body).map(|plaintext| (plaintext, true))
}
