//! A second reader, written from the description of the formats: straight on the primitives, for
//! the first provider and its first key, and with nothing of the code under test.

use aes::cipher::{BlockCipherDecrypt, KeyInit};
use aes_gcm::AeadCore;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, Payload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::support::{Plugin, kek_open};

/// Opens a value that the first provider and its first key wrote.
pub(crate) fn open(
    providers: &serde_json::Value,
    keks: &Plugin,
    etcd_key: &[u8],
    stored: &[u8],
) -> Option<Vec<u8>> {
    let (kind, config) = providers.get(0)?.as_object()?.iter().next()?;
    if kind == "identity" {
        return Some(stored.to_vec());
    }
    if kind == "kms" {
        let version = config["apiVersion"].as_str()?;
        let prefix = format!("k8s:enc:kms:{version}:{}:", config["name"].as_str()?);
        let payload = stored.strip_prefix(prefix.as_bytes())?;
        return match version {
            "v1" => kms_v1(keks, etcd_key, payload),
            _ => kms_v2(keks, etcd_key, payload),
        };
    }
    let key = config["keys"].get(0)?;
    let secret = STANDARD.decode(key["secret"].as_str()?).ok()?;
    let prefix = format!("k8s:enc:{kind}:v1:{}:", key["name"].as_str()?);
    let body = stored.strip_prefix(prefix.as_bytes())?;
    match kind.as_str() {
        "aescbc" => cbc(&secret, body),
        "aesgcm" => gcm(&secret, etcd_key, body),
        "secretbox" => secretbox(&secret, body),
        _ => None,
    }
}

fn gcm(key: &[u8], aad: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    fn with<C: KeyInit + Aead + AeadCore<NonceSize = U12>>(
        key: &[u8],
        nonce: &[u8; 12],
        payload: Payload<'_, '_>,
    ) -> Option<Vec<u8>> {
        C::new_from_slice(key)
            .ok()?
            .decrypt(nonce.into(), payload)
            .ok()
    }
    let (nonce, msg) = body.split_first_chunk::<12>()?;
    let payload = Payload { msg, aad };
    match key.len() {
        16 => with::<aes_gcm::Aes128Gcm>(key, nonce, payload),
        24 => with::<aes_gcm::AesGcm<aes::Aes192, U12>>(key, nonce, payload),
        _ => with::<aes_gcm::Aes256Gcm>(key, nonce, payload),
    }
}

/// Block by block, as the textbook has it.
fn cbc(key: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    fn with<C: KeyInit + BlockCipherDecrypt<BlockSize = aes::cipher::consts::U16>>(
        key: &[u8],
        body: &[u8],
    ) -> Option<Vec<u8>> {
        let cipher = C::new_from_slice(key).ok()?;
        let mut out = Vec::new();
        for pair in body.windows(32).step_by(16) {
            let (previous, block) = pair.split_at(16);
            let mut block = <[u8; 16]>::try_from(block).ok()?.into();
            cipher.decrypt_block(&mut block);
            out.extend(block.iter().zip(previous).map(|(a, b)| a ^ b));
        }
        Some(out)
    }
    let mut out = match key.len() {
        16 => with::<aes::Aes128>(key, body)?,
        24 => with::<aes::Aes192>(key, body)?,
        _ => with::<aes::Aes256>(key, body)?,
    };
    let padding = *out.last()?;
    let len = out.len().checked_sub(usize::from(padding))?;
    if padding == 0 || padding > 16 || out[len..].iter().any(|byte| *byte != padding) {
        return None;
    }
    out.truncate(len);
    Some(out)
}

fn secretbox(key: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    use crypto_secretbox::KeyInit as _;
    use crypto_secretbox::aead::Aead as _;

    let (nonce, sealed) = body.split_first_chunk::<24>()?;
    crypto_secretbox::XSalsa20Poly1305::new_from_slice(key)
        .ok()?
        .decrypt(nonce.into(), sealed)
        .ok()
}

fn kms_v1(keks: &Plugin, etcd_key: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = payload.split_first_chunk::<2>()?;
    let (wrapped, body) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let keks = keks.keks.lock().ok()?;
    let dek = keks.iter().find_map(|(id, kek)| {
        kek_open(kek, id, wrapped)
            // The raw values name the key in front of what it wrapped.
            .or_else(|| kek_open(kek, id, wrapped.get(id.len() + 1..)?))
    })?;
    gcm(&dek, etcd_key, body)
}

fn kms_v2(keks: &Plugin, etcd_key: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let mut fields: [&[u8]; 4] = [&[]; 4];
    let mut source_type = 0;
    let mut rest = payload;
    while let Some((tag, after)) = rest.split_first() {
        rest = after;
        let number = number(&mut rest)?;
        if *tag == 0x28 {
            source_type = number;
            continue;
        }
        let field = fields.get_mut(usize::from(tag.checked_sub(0x0a)? / 8))?;
        let (bytes, after) = rest.split_at_checked(number)?;
        *field = bytes;
        rest = after;
    }
    let [data, key_id, wrapped, _] = fields;
    let key_id = std::str::from_utf8(key_id).ok()?;
    let kek = *keks.keks.lock().ok()?.get(key_id)?;
    let source = kek_open(&kek, key_id, wrapped)?;
    if source_type == 0 {
        return gcm(&source, etcd_key, data);
    }
    let (info, sealed) = data.split_first_chunk::<32>()?;
    // The one block of HKDF-Expand.
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &source));
    context.update(info);
    context.update(&[1]);
    gcm(context.sign().as_ref(), etcd_key, sealed)
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= usize::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}
