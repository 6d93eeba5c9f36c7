//! The bounds of the format, and where they come from.
//!
//! All of them are checked before a key is used. They hold for one message, so they hold whatever
//! other processes do: each message has a key of its own, derived with a random salt of 32 bytes,
//! and no count has to survive a restart or be shared between replicas. How many messages and
//! bytes one DEK may serve is bounded by who keeps the DEK, not here.

/// The longest plaintext of a whole message, in bytes: 2^39 − 256 bits, the most of one call of
/// AES-GCM (NIST SP 800-38D, section 5.2.1.1). ChaCha20-Poly1305 could take four times as much
/// (RFC 8439, section 2.8) and gets the same bound.
pub const MAX_PLAINTEXT_LEN: u64 = (1 << 36) - 32;

/// The longest plaintext of a stream, in bytes: 2^43 (8 TiB).
///
/// All chunks are under one key. By the formula of draft-irtf-cfrg-aead-limits for AES-GCM, an
/// attacker tells *s* blocks of plaintext in *q* calls from random bytes with a probability of at
/// most (*s* + *q* + 1)² / 2^129. Here *s* is at most 2^39, *q* at most 2^31, so it is under 2^-50.
pub const MAX_STREAM_LEN: u64 = 1 << 43;

/// The most recipients of a message. Bounds the calls that a hostile message can cause.
pub const MAX_RECIPIENTS: usize = 16;

/// The longest list of recipients, in bytes. Bounds what a reader must buffer.
pub const MAX_ENTRIES_LEN: usize = 1 << 20;

/// The longest provider id, in bytes.
pub const MAX_PROVIDER_ID_LEN: usize = 64;

/// The longest key version, in bytes.
pub const MAX_KEY_VERSION_LEN: usize = 255;

/// The most annotations of one recipient.
pub const MAX_ANNOTATIONS: usize = 64;

/// The longest name of an annotation, in bytes.
pub const MAX_ANNOTATION_NAME_LEN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::TAG_LEN;
    use crate::sealed::ChunkSize;

    #[test]
    fn a_stream_stays_under_the_probability_it_names() {
        let blocks = MAX_STREAM_LEN / 16;
        let calls = MAX_STREAM_LEN / ChunkSize::MIN.bytes() as u64;
        assert_eq!((blocks, calls), (1 << 39, 1 << 31));
        let sum = u128::from(blocks + calls + 1);
        // sum² / 2^129 < 2^-50, all times 2^129.
        assert!(sum * sum < 1 << (129 - 50));
    }

    #[test]
    fn a_whole_message_is_one_call_of_gcm() {
        assert_eq!(u128::from(MAX_PLAINTEXT_LEN) * 8, (1 << 39) - 256);
        assert_eq!(TAG_LEN * 8, 128);
    }
}
