//! XSalsa20-Poly1305 in NaCl's order: `nonce ‖ tag ‖ ciphertext`.

#[cfg(feature = "kubernetes-legacy")]
pub(crate) use legacy::{check_key, open, seal};
#[cfg(not(feature = "kubernetes-legacy"))]
pub(crate) use missing::{check_key, open, seal};

pub(crate) const NONCE_LEN: usize = 24;
pub(crate) const TAG_LEN: usize = 16;
/// Nonce and tag.
pub(crate) const OVERHEAD: usize = 40;

#[cfg(feature = "kubernetes-legacy")]
mod legacy {
    use crypto_secretbox::{AeadInPlace as _, KeyInit as _, XSalsa20Poly1305};

    use super::{NONCE_LEN, TAG_LEN};
    use crate::Error;
    use crate::kubernetes::value::plaintext::Plaintext;
    use crate::kubernetes::value::{bad_key, does_not_open, too_long};

    const NAME: &str = "XSalsa20-Poly1305";

    pub(crate) fn check_key(key: &[u8]) -> Result<(), Error> {
        if key.len() == XSalsa20Poly1305::KEY_SIZE {
            Ok(())
        } else {
            Err(bad_key(NAME))
        }
    }

    pub(crate) fn open(key: &[u8], body: &[u8]) -> Result<Plaintext, Error> {
        let (nonce, sealed) = body
            .split_first_chunk::<NONCE_LEN>()
            .ok_or_else(does_not_open)?;
        let (tag, ciphertext) = sealed
            .split_first_chunk::<TAG_LEN>()
            .ok_or_else(does_not_open)?;
        let mut plaintext = Plaintext::copy_of(ciphertext);
        XSalsa20Poly1305::new_from_slice(key)
            .map_err(|_| bad_key(NAME))?
            .decrypt_in_place_detached(nonce.into(), b"", plaintext.as_mut_slice(), tag.into())
            .map_err(|_| does_not_open())?;
        Ok(plaintext)
    }

    /// Encrypts in place and returns the tag.
    pub(crate) fn seal(
        key: &[u8],
        nonce: &[u8; NONCE_LEN],
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Error> {
        XSalsa20Poly1305::new_from_slice(key)
            .map_err(|_| bad_key(NAME))?
            .encrypt_in_place_detached(nonce.into(), b"", in_out)
            .map(Into::into)
            .map_err(|_| too_long())
    }
}

#[cfg(not(feature = "kubernetes-legacy"))]
mod missing {
    use super::{NONCE_LEN, TAG_LEN};
    use crate::Error;
    use crate::kubernetes::value::needs_legacy;
    use crate::kubernetes::value::plaintext::Plaintext;

    const NAME: &str = "XSalsa20-Poly1305";

    pub(crate) fn check_key(_key: &[u8]) -> Result<(), Error> {
        Err(needs_legacy(NAME))
    }

    pub(crate) fn open(_key: &[u8], _body: &[u8]) -> Result<Plaintext, Error> {
        Err(needs_legacy(NAME))
    }

    pub(crate) fn seal(
        _key: &[u8],
        _nonce: &[u8; NONCE_LEN],
        _in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Error> {
        Err(needs_legacy(NAME))
    }
}
