//! AES key wrap, RFC 3394 and RFC 5649, for all three key sizes.
//!
//! aws-lc has key wrap for 128 and 256 bits alone, a Managed HSM for 192 too. This stands on its
//! AES block; the tests hold it against aws-lc where both can, and against the RFCs' vectors.

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    UnboundCipherKey,
};
use zeroize::Zeroizing;

/// One half of an AES block: the unit of key wrap.
const SEMIBLOCK: usize = 8;
const BLOCK: usize = 16;
const ROUNDS: u64 = 6;
/// RFC 3394, 2.2.3.1.
const INITIAL: [u8; SEMIBLOCK] = [0xA6; SEMIBLOCK];
/// RFC 5649, 3: the first half of the alternative initial value; the length follows.
const ALTERNATIVE: [u8; 4] = [0xA6, 0x59, 0x59, 0xA6];

/// The lengths do not fit, or the integrity check fails.
#[derive(Debug)]
pub(super) struct Refused;

type Semiblock = [u8; SEMIBLOCK];

/// RFC 3394: `plaintext` of at least two whole semiblocks.
pub(super) fn wrap(kek: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Refused> {
    wrap_with(kek, INITIAL, plaintext)
}

/// RFC 3394.
pub(super) fn unwrap(kek: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let (initial, plaintext) = unwrap_with(kek, wrapped)?;
    if initial == INITIAL {
        Ok(plaintext)
    } else {
        Err(Refused)
    }
}

/// RFC 5649: `plaintext` of at least one byte.
pub(super) fn wrap_padded(kek: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Refused> {
    let length = u32::try_from(plaintext.len()).map_err(|_| Refused)?;
    if length == 0 {
        return Err(Refused);
    }
    let mut initial = [0; SEMIBLOCK];
    for (to, from) in initial
        .iter_mut()
        .zip(ALTERNATIVE.iter().chain(&length.to_be_bytes()))
    {
        *to = *from;
    }
    let mut padded = Zeroizing::new(plaintext.to_vec());
    padded.resize(plaintext.len().next_multiple_of(SEMIBLOCK), 0);
    if padded.len() > SEMIBLOCK {
        return wrap_with(kek, initial, &padded);
    }
    let mut block = join(initial, *padded.first_chunk().ok_or(Refused)?);
    encrypt(&encrypting(kek)?, &mut block)?;
    Ok(block.to_vec())
}

/// RFC 5649.
pub(super) fn unwrap_padded(kek: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let (initial, mut padded) = match <[u8; BLOCK]>::try_from(wrapped) {
        Ok(block) => {
            let mut block = Zeroizing::new(block);
            decrypt(&decrypting(kek)?, &mut block)?;
            let (initial, rest) = split(&block);
            (initial, Zeroizing::new(rest.to_vec()))
        }
        Err(_) => unwrap_with(kek, wrapped)?,
    };
    let (head, length) = initial.split_at(ALTERNATIVE.len());
    let length = <[u8; 4]>::try_from(length).map_err(|_| Refused)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| Refused)?;
    let padding = padded.get(length..).ok_or(Refused)?;
    if head != ALTERNATIVE
        || length == 0
        || padding.len() >= SEMIBLOCK
        || padding.iter().any(|byte| *byte != 0)
    {
        return Err(Refused);
    }
    padded.truncate(length);
    Ok(padded)
}

fn wrap_with(kek: &[u8], initial: Semiblock, plaintext: &[u8]) -> Result<Vec<u8>, Refused> {
    let key = encrypting(kek)?;
    let mut registers = semiblocks(plaintext)?;
    let mut a = initial;
    let mut step = 0_u64;
    for _ in 0..ROUNDS {
        for register in registers.iter_mut() {
            step = step.wrapping_add(1);
            let mut block = join(a, *register);
            encrypt(&key, &mut block)?;
            (a, *register) = split(&block);
            a = xor(a, step);
        }
    }
    Ok(a.iter().chain(registers.as_flattened()).copied().collect())
}

fn unwrap_with(kek: &[u8], wrapped: &[u8]) -> Result<(Semiblock, Zeroizing<Vec<u8>>), Refused> {
    let key = decrypting(kek)?;
    let (initial, rest) = wrapped.split_first_chunk().ok_or(Refused)?;
    let mut a: Semiblock = *initial;
    let mut registers = semiblocks(rest)?;
    let count = u64::try_from(registers.len()).map_err(|_| Refused)?;
    let mut step = count.wrapping_mul(ROUNDS);
    for _ in 0..ROUNDS {
        for register in registers.iter_mut().rev() {
            let mut block = Zeroizing::new(join(xor(a, step), *register));
            decrypt(&key, &mut block)?;
            (a, *register) = split(&block);
            step = step.wrapping_sub(1);
        }
    }
    Ok((a, Zeroizing::new(registers.as_flattened().to_vec())))
}

fn semiblocks(bytes: &[u8]) -> Result<Zeroizing<Vec<Semiblock>>, Refused> {
    match bytes.as_chunks() {
        (whole, []) if whole.len() >= 2 => Ok(Zeroizing::new(whole.to_vec())),
        _ => Err(Refused),
    }
}

fn xor(a: Semiblock, step: u64) -> Semiblock {
    (u64::from_be_bytes(a) ^ step).to_be_bytes()
}

fn join(high: Semiblock, low: Semiblock) -> [u8; BLOCK] {
    let joined = u128::from(u64::from_be_bytes(high)) << 64 | u128::from(u64::from_be_bytes(low));
    joined.to_be_bytes()
}

fn split(block: &[u8; BLOCK]) -> (Semiblock, Semiblock) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *block;
    ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p])
}

fn encrypting(kek: &[u8]) -> Result<EncryptingKey, Refused> {
    EncryptingKey::ecb(unbound(kek)?).map_err(|_| Refused)
}

fn decrypting(kek: &[u8]) -> Result<DecryptingKey, Refused> {
    DecryptingKey::ecb(unbound(kek)?).map_err(|_| Refused)
}

fn unbound(kek: &[u8]) -> Result<UnboundCipherKey, Refused> {
    let algorithm = match kek.len() {
        16 => &AES_128,
        24 => &AES_192,
        _ => &AES_256,
    };
    UnboundCipherKey::new(algorithm, kek).map_err(|_| Refused)
}

fn encrypt(key: &EncryptingKey, block: &mut [u8; BLOCK]) -> Result<(), Refused> {
    key.less_safe_encrypt(block, EncryptionContext::None)
        .map(drop)
        .map_err(|_| Refused)
}

fn decrypt(key: &DecryptingKey, block: &mut [u8; BLOCK]) -> Result<(), Refused> {
    key.decrypt(block, DecryptionContext::None)
        .map(drop)
        .map_err(|_| Refused)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::key_wrap::{self, AesKek, KeyWrap as _, KeyWrapPadded as _};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    /// RFC 3394, 4.2 and 4.5; RFC 5649, 6.
    #[test]
    fn the_vectors_of_the_rfcs() {
        let kek = bytes("000102030405060708090A0B0C0D0E0F1011121314151617");
        for (key, wrapped) in [
            (
                "00112233445566778899AABBCCDDEEFF",
                "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D",
            ),
            (
                "00112233445566778899AABBCCDDEEFF0001020304050607",
                "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2",
            ),
        ] {
            assert_eq!(wrap(&kek, &bytes(key)).unwrap(), bytes(wrapped));
            assert_eq!(*unwrap(&kek, &bytes(wrapped)).unwrap(), bytes(key));
        }
        let kek = bytes("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
        for (key, wrapped) in [
            (
                "c37b7e6492584340bed12207808941155068f738",
                "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
            ),
            ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
        ] {
            assert_eq!(wrap_padded(&kek, &bytes(key)).unwrap(), bytes(wrapped));
            assert_eq!(*unwrap_padded(&kek, &bytes(wrapped)).unwrap(), bytes(key));
        }
    }

    #[test]
    fn it_agrees_with_aws_lc() {
        for (cipher, kek) in [
            (&key_wrap::AES_128, vec![7; 16]),
            (&key_wrap::AES_256, vec![9; 32]),
        ] {
            for length in [1_usize, 7, 8, 9, 16, 24, 31, 32, 33, 512] {
                let key: Vec<u8> = (0..length)
                    .map(|i| u8::try_from(i % 251).unwrap())
                    .collect();
                let mut out = vec![0; length + 16];
                let theirs = AesKek::new(cipher, &kek)
                    .unwrap()
                    .wrap_with_padding(&key, &mut out)
                    .unwrap();
                assert_eq!(wrap_padded(&kek, &key).unwrap(), theirs, "{length}");
                assert_eq!(*unwrap_padded(&kek, theirs).unwrap(), key, "{length}");
                if length % SEMIBLOCK == 0 && length > SEMIBLOCK {
                    let theirs = AesKek::new(cipher, &kek)
                        .unwrap()
                        .wrap(&key, &mut out)
                        .unwrap();
                    assert_eq!(wrap(&kek, &key).unwrap(), theirs, "{length}");
                }
            }
        }
    }

    #[test]
    fn nothing_damaged_opens() {
        let kek = [3; 24];
        let plain = wrap(&kek, &[1; 32]).unwrap();
        let padded = wrap_padded(&kek, &[1; 5]).unwrap();
        for at in 0..plain.len() {
            let mut damaged = plain.clone();
            damaged[at] ^= 1;
            assert!(unwrap(&kek, &damaged).is_err(), "{at}");
        }
        for at in 0..padded.len() {
            let mut damaged = padded.clone();
            damaged[at] ^= 1;
            assert!(unwrap_padded(&kek, &damaged).is_err(), "{at}");
        }
        for short in [0, 8, 9, 15, 17, 23] {
            assert!(unwrap(&kek, &vec![0; short]).is_err(), "{short}");
            assert!(unwrap_padded(&kek, &vec![0; short]).is_err(), "{short}");
        }
        assert!(wrap(&kek, &[0; 8]).is_err() && wrap(&kek, &[0; 17]).is_err());
        assert!(wrap_padded(&kek, b"").is_err());
    }
}
