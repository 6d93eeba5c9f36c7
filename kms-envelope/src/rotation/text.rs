//! How values are written down that have no form of their own.

/// What may be null and may not be missing: serde alone would take the one for the other.
pub(super) fn nullable<'de, D: serde::Deserializer<'de>, T: serde::Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    serde::Deserialize::deserialize(from)
}

/// A key id as its text.
pub(super) mod key_id {
    use kms_core::KeyId;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(id: &KeyId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(id.as_str())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<KeyId, D::Error> {
        let text = String::deserialize(from)?;
        KeyId::new(text).map_err(de::Error::custom)
    }
}

/// A key id that may be missing.
pub(super) mod maybe_key_id {
    use kms_core::KeyId;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(
        id: &Option<KeyId>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        id.as_ref().map(KeyId::as_str).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<KeyId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(KeyId::new).transpose().map_err(de::Error::custom)
    }
}

/// What a provider says of a key, by its stable name.
pub(super) mod key_state {
    use kms_core::KeyState;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    const ALL: [KeyState; 6] = [
        KeyState::Enabled,
        KeyState::Disabled,
        KeyState::NotYetValid,
        KeyState::Expired,
        KeyState::PendingDestruction,
        KeyState::Destroyed,
    ];

    pub(in super::super) fn serialize<S: Serializer>(
        state: &KeyState,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(state.as_str())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<KeyState, D::Error> {
        let text = String::deserialize(from)?;
        let known = ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| de::Error::custom("it is no state of a key"))
    }
}

/// A digest as 64 hexadecimal digits.
pub(super) mod digest {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use kms_core::text::hex;

    pub(in super::super) fn serialize<S: Serializer>(
        digest: &[u8; 32],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(digest))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        decode(&text).ok_or_else(|| de::Error::custom("it is not 64 hexadecimal digits"))
    }

    /// 64 lower-case digits, and nothing else.
    fn decode(text: &str) -> Option<[u8; 32]> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let is_canonical = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if pairs.len() != 32 || !rest.is_empty() || !text.as_bytes().iter().all(is_canonical) {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(pairs) {
            let pair = core::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(digest)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_digest_has_one_spelling() {
            let digest: [u8; 32] = core::array::from_fn(|at| at as u8 * 7);
            let text = hex(&digest);
            assert_eq!(decode(&text), Some(digest));
            let bad = [
                text.to_uppercase(),
                text[1..].to_owned(),
                format!("{text}0"),
                format!("+{}", &text[1..]),
                String::new(),
            ];
            for text in bad {
                assert_eq!(decode(&text), None, "{text}");
            }
        }
    }
}

/// A duration as whole milliseconds.
pub(super) mod ms {
    use core::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
