//! AES-CBC with PKCS#7 and no authentication: `IV ‖ blocks`.
//!
//! A changed value may decrypt to other bytes without an error, and whoever can submit values and
//! see the verdict can decrypt without the key (a padding oracle). Upstream reads it all the same.

#[cfg(feature = "kubernetes-legacy")]
pub(crate) use legacy::{append, check_key, open};
#[cfg(not(feature = "kubernetes-legacy"))]
pub(crate) use missing::{append, check_key, open};

pub(crate) const BLOCK_LEN: usize = 16;

/// How long the blocks of a plaintext are: it is always padded.
pub(crate) fn padded_len(plaintext_len: usize) -> Option<usize> {
    let blocks = plaintext_len.checked_div(BLOCK_LEN)?.checked_add(1)?;
    blocks.checked_mul(BLOCK_LEN)
}

/// Whether this could be an IV and whole blocks.
pub(crate) fn has_its_shape(body: &[u8]) -> bool {
    body.len() > BLOCK_LEN && body.len().is_multiple_of(BLOCK_LEN)
}

#[cfg(feature = "kubernetes-legacy")]
mod legacy {
    use aes::cipher::array::Array;
    use aes::cipher::consts::U16;
    use aes::cipher::{
        BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt as _, BlockModeEncrypt as _,
        KeyInit, KeyIvInit as _,
    };
    use aes::{Aes128, Aes192, Aes256};

    use super::{BLOCK_LEN, has_its_shape, padded_len};
    use crate::Error;
    use crate::kubernetes::value::plaintext::Plaintext;
    use crate::kubernetes::value::{bad_key, does_not_open, too_long};

    const NAME: &str = "AES-CBC";

    pub(crate) fn check_key(key: &[u8]) -> Result<(), Error> {
        match key.len() {
            16 | 24 | 32 => Ok(()),
            _ => Err(bad_key(NAME)),
        }
    }

    pub(crate) fn open(key: &[u8], body: &[u8]) -> Result<Plaintext, Error> {
        // With no block at all kube-apiserver panics; here it does not open.
        if !has_its_shape(body) {
            return Err(does_not_open());
        }
        let (iv, ciphertext) = body
            .split_first_chunk::<BLOCK_LEN>()
            .ok_or_else(does_not_open)?;
        let mut plaintext = Plaintext::copy_of(ciphertext);
        let (blocks, _) = Array::slice_as_chunks_mut(plaintext.as_mut_slice());
        match key.len() {
            16 => decrypt::<Aes128>(key, iv, blocks)?,
            24 => decrypt::<Aes192>(key, iv, blocks)?,
            32 => decrypt::<Aes256>(key, iv, blocks)?,
            _ => return Err(bad_key(NAME)),
        }
        let len = unpadded_len(plaintext.as_slice()).ok_or_else(does_not_open)?;
        plaintext.truncate(len);
        Ok(plaintext)
    }

    /// Appends the ciphertext of `plaintext` to `out`.
    pub(crate) fn append(
        key: &[u8],
        iv: &[u8; BLOCK_LEN],
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let start = out.len();
        let padded = padded_len(plaintext.len()).ok_or_else(too_long)?;
        let padding = padded.saturating_sub(plaintext.len());
        out.extend_from_slice(plaintext);
        out.resize(
            start.checked_add(padded).ok_or_else(too_long)?,
            u8::try_from(padding).unwrap_or_default(),
        );
        let (blocks, _) = Array::slice_as_chunks_mut(out.get_mut(start..).unwrap_or_default());
        match key.len() {
            16 => encrypt::<Aes128>(key, iv, blocks),
            24 => encrypt::<Aes192>(key, iv, blocks),
            32 => encrypt::<Aes256>(key, iv, blocks),
            _ => Err(bad_key(NAME)),
        }
    }

    fn decrypt<C>(
        key: &[u8],
        iv: &[u8; BLOCK_LEN],
        blocks: &mut [Array<u8, U16>],
    ) -> Result<(), Error>
    where
        C: BlockCipherDecrypt<BlockSize = U16> + KeyInit,
    {
        cbc::Decryptor::<C>::new_from_slices(key, iv)
            .map_err(|_| bad_key(NAME))?
            .decrypt_blocks(blocks);
        Ok(())
    }

    fn encrypt<C>(
        key: &[u8],
        iv: &[u8; BLOCK_LEN],
        blocks: &mut [Array<u8, U16>],
    ) -> Result<(), Error>
    where
        C: BlockCipherEncrypt<BlockSize = U16> + KeyInit,
    {
        cbc::Encryptor::<C>::new_from_slices(key, iv)
            .map_err(|_| bad_key(NAME))?
            .encrypt_blocks(blocks);
        Ok(())
    }

    /// The length without padding. As upstream, a padding may be longer than one block.
    fn unpadded_len(padded: &[u8]) -> Option<usize> {
        let last = *padded.last()?;
        let len = padded.len().checked_sub(usize::from(last))?;
        let padding = padded.get(len..)?;
        (last != 0 && padding.iter().all(|byte| *byte == last)).then_some(len)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_left_over_is_not_taken_for_padding() {
            let mut body = vec![7; BLOCK_LEN];
            append(&[0; 32], &[7; BLOCK_LEN], b"text", &mut body).unwrap();
            assert_eq!(open(&[0; 32], &body).unwrap().as_slice(), b"text");
            body.push(1);
            assert!(open(&[0; 32], &body).is_err());
            assert!(open(&[0; 32], &body[..BLOCK_LEN]).is_err());
        }

        #[test]
        fn padding_is_checked_as_upstream_does() {
            assert_eq!(unpadded_len(&[]), None);
            assert_eq!(unpadded_len(&[0; 16]), None);
            assert_eq!(unpadded_len(&[16; 16]), Some(0));
            assert_eq!(unpadded_len(&[17; 16]), None, "longer than the data");
            assert_eq!(unpadded_len(&[17; 32]), Some(15), "longer than a block");
            assert_eq!(unpadded_len(&[1, 2, 3, 2, 3, 3]), None);
            assert_eq!(unpadded_len(&[1, 2, 3, 3, 3, 3]), Some(3));
        }
    }
}

#[cfg(not(feature = "kubernetes-legacy"))]
mod missing {
    use super::BLOCK_LEN;
    use crate::Error;
    use crate::kubernetes::value::needs_legacy;
    use crate::kubernetes::value::plaintext::Plaintext;

    pub(crate) fn check_key(_key: &[u8]) -> Result<(), Error> {
        Err(needs_legacy("AES-CBC"))
    }

    pub(crate) fn open(_key: &[u8], _body: &[u8]) -> Result<Plaintext, Error> {
        Err(needs_legacy("AES-CBC"))
    }

    pub(crate) fn append(
        _key: &[u8],
        _iv: &[u8; BLOCK_LEN],
        _plaintext: &[u8],
        _out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        Err(needs_legacy("AES-CBC"))
    }
}
