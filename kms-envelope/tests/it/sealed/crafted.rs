//! Messages that no writer of ours makes: every rule of the recipients block broken by itself with
//! MAC and commitment in order, and attacks on the commitment.

use super::*;

const MESSAGE_KEY: &[u8] = b"\0\x19kms-sealed-v1 message key\0\x48";
const COMMITMENT: &[u8] = b"\0\x18kms-sealed-v1 commitment\0\x48";

pub(super) fn hkdf(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut key = [Default::default()];
    RingBackend
        .hkdf_sha256(salt, secret, &[info], &mut key)
        .unwrap();
    *key[0]
}

/// The first 72 bytes of a whole message under AES-256-GCM.
fn bound() -> Vec<u8> {
    let salt: Vec<u8> = (1..=32).collect();
    [&b"\x93KMS\x01\x01\0\0"[..], &salt, context().as_bytes()].concat()
}

fn header(dek: &[u8; 32]) -> Vec<u8> {
    let bound = bound();
    let commitment = hkdf(&bound[8..40], dek, &[COMMITMENT, &bound]);
    [&bound[..], &commitment].concat()
}

fn message_key(dek: &[u8; 32]) -> [u8; 32] {
    let bound = bound();
    hkdf(&bound[8..40], dek, &[MESSAGE_KEY, &bound])
}

fn block(dek: &[u8; 32], count: u16, length: u32, entries: &[u8]) -> Vec<u8> {
    let key = hkdf(&[0; 32], dek, &[b"\0\x18kms-sealed-v1 recipients"]);
    let covered = [&count.to_be_bytes()[..], &length.to_be_bytes(), entries].concat();
    let mac = RingBackend.hmac_sha256(&key, &[&covered]);
    [covered, mac.to_vec()].concat()
}

fn body(key: &[u8; 32], header: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut body = plaintext.to_vec();
    let nonce = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let aad = [header, AAD].concat();
    let aead = kms_envelope::crypto::Aead::Aes256Gcm;
    let tag = RingBackend.seal(aead, key, nonce, &aad, &mut body).unwrap();
    [body, tag.to_vec()].concat()
}

/// A message whose count, length and entries are whatever is given, and right in all else.
pub(super) fn message(count: u16, length: u32, entries: &[u8]) -> Vec<u8> {
    let header = header(&DEK);
    let body = body(&message_key(&DEK), &header, b"plaintext");
    [header, block(&DEK, count, length, entries), body].concat()
}

/// The parts of an entry, each with its length, to be changed one at a time.
#[derive(Clone)]
pub(super) struct Entry {
    provider_id: Vec<u8>,
    key_id: Vec<u8>,
    key_version: Vec<u8>,
    annotation_count: Option<u8>,
    annotations: Vec<(Vec<u8>, Vec<u8>)>,
    wrapped: Vec<u8>,
}

impl Entry {
    fn new(key_id: &str) -> Self {
        Self {
            provider_id: b"vault".to_vec(),
            key_id: key_id.into(),
            key_version: b"7".to_vec(),
            annotation_count: None,
            annotations: vec![(b"a".to_vec(), vec![1]), (b"b".to_vec(), vec![])],
            wrapped: vec![9; 3],
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut entry = Self::new("kek");
        change(&mut entry);
        entry.bytes()
    }

    fn bytes(&self) -> Vec<u8> {
        let short = |bytes: &[u8]| [&[bytes.len() as u8], bytes].concat();
        let long = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        let mut out = short(&self.provider_id);
        out.extend(long(&self.key_id));
        out.extend(short(&self.key_version));
        out.push(
            self.annotation_count
                .unwrap_or(self.annotations.len() as u8),
        );
        for (name, value) in &self.annotations {
            out.extend(short(name));
            out.extend(long(value));
        }
        out.extend(long(&self.wrapped));
        out
    }
}

/// Entries that keep to the rules, at their edges.
pub(super) fn good() -> Vec<(&'static str, Vec<u8>)> {
    let notes = |count: usize, value: usize| {
        (0..count)
            .map(|at| (format!("{at:02}").into_bytes(), vec![0; value]))
            .collect::<Vec<_>>()
    };
    vec![
        ("an ordinary entry", Entry::with(|_| ())),
        (
            "a provider id of 64 bytes",
            Entry::with(|entry| entry.provider_id = vec![b'z'; 64]),
        ),
        (
            "a key id of 1024 bytes",
            Entry::with(|entry| entry.key_id = vec![b'k'; 1024]),
        ),
        (
            "no key version",
            Entry::with(|entry| entry.key_version = vec![]),
        ),
        (
            "64 annotations",
            Entry::with(|entry| entry.annotations = notes(64, 0)),
        ),
        (
            "annotations of 32768 bytes",
            Entry::with(|entry| entry.annotations = notes(2, 16_382)),
        ),
        (
            "a control character in an annotation's name",
            Entry::with(|entry| entry.annotations[0].0 = b"\n".to_vec()),
        ),
    ]
}

/// Entries that break one rule each.
pub(super) fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let notes = |count: usize, value: usize| {
        (0..count)
            .map(|at| (format!("{at:02}").into_bytes(), vec![0; value]))
            .collect::<Vec<_>>()
    };
    let swap = |entry: &mut Entry| entry.annotations.reverse();
    vec![
        (
            "an empty provider id",
            Entry::with(|entry| entry.provider_id = vec![]),
        ),
        (
            "a provider id of 65 bytes",
            Entry::with(|entry| entry.provider_id = vec![b'z'; 65]),
        ),
        (
            "a provider id in capitals",
            Entry::with(|entry| entry.provider_id = b"Vault".to_vec()),
        ),
        (
            "an empty key id",
            Entry::with(|entry| entry.key_id = vec![]),
        ),
        (
            "a key id of 1025 bytes",
            Entry::with(|entry| entry.key_id = vec![b'k'; 1025]),
        ),
        (
            "a key id that is not UTF-8",
            Entry::with(|entry| entry.key_id = vec![0xff]),
        ),
        (
            "a control character in a key id",
            Entry::with(|entry| entry.key_id = b"a\x1bb".to_vec()),
        ),
        (
            "a C1 control character in a key id",
            Entry::with(|entry| entry.key_id = "a\u{9b}b".into()),
        ),
        (
            "a control character in a key version",
            Entry::with(|entry| entry.key_version = b"\x7f".to_vec()),
        ),
        (
            "a key version that is not UTF-8",
            Entry::with(|entry| entry.key_version = vec![0xc0, 0x80]),
        ),
        (
            "65 annotations",
            Entry::with(|entry| entry.annotations = notes(65, 0)),
        ),
        (
            "annotations of 32769 bytes",
            Entry::with(|entry| {
                entry.annotations = notes(2, 16_382);
                entry.annotations[0].1.push(0);
            }),
        ),
        (
            "an annotation without a name",
            Entry::with(|entry| entry.annotations[0].0.clear()),
        ),
        (
            "an annotation's name that is not UTF-8",
            Entry::with(|entry| entry.annotations[1].0 = vec![0xff]),
        ),
        ("annotations out of order", Entry::with(swap)),
        (
            "one annotation twice",
            Entry::with(|entry| entry.annotations[1].0 = b"a".to_vec()),
        ),
        (
            "an annotation fewer than counted",
            Entry::with(|entry| entry.annotation_count = Some(3)),
        ),
        (
            "an annotation more than counted",
            Entry::with(|entry| entry.annotation_count = Some(1)),
        ),
        (
            "an empty wrapped DEK",
            Entry::with(|entry| entry.wrapped = vec![]),
        ),
    ]
}

/// The ordinary entry with each of its lengths wrong by itself, and nothing else.
pub(super) fn wrong_lengths() -> Vec<(String, Vec<u8>)> {
    let entry = Entry::with(|_| ());
    let lengths = [
        ("provider id", 0, 1),
        ("key id", 6, 2),
        ("key version", 11, 1),
        ("first annotation's name", 14, 1),
        ("first annotation's value", 16, 2),
        ("second annotation's name", 19, 1),
        ("second annotation's value", 21, 2),
        ("wrapped DEK", 23, 2),
    ];
    let mut out = Vec::new();
    for (field, at, len) in lengths {
        let right = entry[at + len - 1];
        for (name, last) in [
            ("one more", Some(right + 1)),
            ("one less", right.checked_sub(1)),
        ] {
            let Some(last) = last else { continue };
            let mut changed = entry.clone();
            changed[at + len - 1] = last;
            out.push((format!("the length of the {field} is {name}"), changed));
        }
        let mut changed = entry.clone();
        changed[at..at + len].fill(0xff);
        out.push((format!("the length of the {field} is all ones"), changed));
    }
    out
}

/// Blocks that break a rule about their entries together: name, count, length, entries.
pub(super) fn bad_blocks() -> Vec<(&'static str, u16, u32, Vec<u8>)> {
    let one = Entry::with(|_| ());
    let len = one.len() as u32;
    let many = |count: usize| -> Vec<u8> {
        (0..count)
            .flat_map(|at| Entry::new(&format!("kek-{at}")).bytes())
            .collect()
    };
    let seventeen = many(17);
    vec![
        ("no recipients", 0, 0, vec![]),
        ("no recipients and an entry", 0, len, one.clone()),
        ("17 recipients", 17, seventeen.len() as u32, seventeen),
        (
            "one provider id and key id twice",
            2,
            2 * len,
            [&one[..], &one].concat(),
        ),
        ("a recipient fewer than counted", 2, len, one.clone()),
        (
            "a recipient more than counted",
            1,
            many(2).len() as u32,
            many(2),
        ),
        (
            "a byte left over behind the entries",
            1,
            len + 1,
            [&one[..], &[0]].concat(),
        ),
        (
            "a byte fewer than the entry has",
            1,
            len - 1,
            one[..one.len() - 1].to_vec(),
        ),
        ("a length over the bound", 1, 1_048_577, one.clone()),
        ("a length of 4 GiB", 1, u32::MAX, one),
    ]
}

#[test]
fn every_rule_of_the_recipients_is_checked() {
    for backend in backends() {
        let dek = dek(&backend, DEK);
        for (name, entry) in good() {
            let message = message(1, entry.len() as u32, &entry);
            let opened = open(&dek, &message, &context(), AAD);
            assert_eq!(opened.unwrap(), b"plaintext", "{name}");
        }
        for (name, entry) in bad() {
            let message = message(1, entry.len() as u32, &entry);
            let error = open(&dek, &message, &context(), AAD).unwrap_err();
            assert_eq!(step(&error), 1, "{name}");
        }
        for (name, entry) in wrong_lengths() {
            let message = message(1, entry.len() as u32, &entry);
            let error = open(&dek, &message, &context(), AAD).unwrap_err();
            assert_eq!(step(&error), 1, "{name}");
        }
        for (name, count, length, entries) in bad_blocks() {
            let message = message(count, length, &entries);
            let error = open(&dek, &message, &context(), AAD).unwrap_err();
            assert_eq!(step(&error), 1, "{name}");
        }
    }
}

/// What one of two DEKs has made and what the other.
#[derive(Clone, Copy)]
pub(super) struct Mixed {
    pub(super) name: &'static str,
    commitment: [u8; 32],
    mac: [u8; 32],
    body: Option<[u8; 32]>,
    /// With which of the two it opens, if with any.
    pub(super) opens: Option<[u8; 32]>,
}

pub(super) const A: [u8; 32] = [0xa1; 32];
pub(super) const B: [u8; 32] = [0xb2; 32];

/// Messages whose parts are of two DEKs. Each is right in all but what its name says, so that
/// there is one comparison alone that can refuse it.
pub(super) const MIXED: [Mixed; 5] = [
    Mixed {
        name: "a body that verifies under two keys",
        commitment: A,
        mac: A,
        // AES-GCM does not commit to its key: there is a ciphertext and tag for two of them.
        body: None,
        opens: Some(A),
    },
    Mixed {
        name: "a body that verifies under two keys, for the one that is not committed to",
        commitment: A,
        mac: B,
        body: None,
        opens: None,
    },
    Mixed {
        name: "a commitment to another DEK",
        commitment: A,
        mac: B,
        body: Some(B),
        opens: None,
    },
    Mixed {
        name: "the recipients of another DEK",
        commitment: A,
        mac: B,
        body: Some(A),
        opens: None,
    },
    Mixed {
        name: "a body of another DEK",
        commitment: A,
        mac: A,
        body: Some(B),
        opens: None,
    },
];

impl Mixed {
    pub(super) fn message(self) -> Vec<u8> {
        let header = header(&self.commitment);
        let entry = Entry::with(|_| ());
        let block = block(&self.mac, 1, entry.len() as u32, &entry);
        let body = match self.body {
            Some(dek) => body(&message_key(&dek), &header, b"chosen"),
            None => {
                let aad = [&header[..], AAD].concat();
                two_keys::collide(&message_key(&A), &message_key(&B), &aad)
            }
        };
        [header, block, body].concat()
    }
}

#[test]
fn a_message_of_two_deks_opens_at_most_with_the_one_it_commits_to() {
    for mixed in MIXED {
        let message = mixed.message();
        for backend in backends() {
            for secret in [A, B] {
                let opened = open(&dek(&backend, secret), &message, &context(), AAD);
                match opened {
                    Ok(_) => assert_eq!(mixed.opens, Some(secret), "{}", mixed.name),
                    Err(error) => {
                        assert_ne!(mixed.opens, Some(secret), "{}", mixed.name);
                        assert_eq!(step(&error), 3, "{}", mixed.name);
                    }
                }
            }
        }
    }
}

/// That the comparisons above are what refuses: bare, such a body opens under both keys.
#[test]
fn without_a_commitment_one_body_opens_under_two_keys() {
    let header = header(&A);
    let message = MIXED[0].message();
    let body = &message[inspect(&message).unwrap().preamble_len()..];
    let nonce = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let aad = [&header[..], AAD].concat();
    let mut opened = Vec::new();
    for key in [message_key(&A), message_key(&B)] {
        let mut bare = body.to_vec();
        let aead = kms_envelope::crypto::Aead::Aes256Gcm;
        let plaintext = RingBackend.open(aead, &key, nonce, &aad, &mut bare);
        opened.push(plaintext.unwrap().to_vec());
    }
    assert_ne!(opened[0], opened[1]);
}

/// A stream of a full chunk and a last one, made by hand: no writer makes an empty last chunk
/// behind a full one. It verifies, and must not count.
pub(super) fn stream_with_last_chunk(suite: Suite, message: &[u8], last: &[u8]) -> Vec<u8> {
    let start = inspect(message).unwrap().preamble_len();
    let header = &message[..104];
    let key = hkdf(&header[8..40], &DEK, &[MESSAGE_KEY, &header[..72]]);
    let digest = RingBackend.sha256(&[b"\0\x18kms-sealed-v1 stream aad", AAD]);
    let nonce = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    let aead = match suite {
        Suite::ChaCha20Poly1305 => kms_envelope::crypto::Aead::ChaCha20Poly1305,
        _ => kms_envelope::crypto::Aead::Aes256Gcm,
    };
    let mut chunk = last.to_vec();
    let aad = [header, &digest].concat();
    let tag = RingBackend
        .seal(aead, &key, nonce, &aad, &mut chunk)
        .unwrap();
    [&message[..start + 4096 + 16], &chunk, &tag].concat()
}

/// The attack, as in "Fast Message Franking: From Invisible Salamanders to Encryptment" (2018):
/// the tag is linear in the ciphertext's blocks, so one free block makes two tags equal.
mod two_keys {
    use super::*;

    /// The cipher of one block, from GCM's own counter mode: a block of zeros behind a nonce
    /// encrypts to the key stream of counter 2, which serves as well as any other.
    fn stream_block(key: &[u8; 32]) -> u128 {
        let mut block = [0; 16];
        let nonce = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let aead = kms_envelope::crypto::Aead::Aes256Gcm;
        RingBackend.seal(aead, key, nonce, b"", &mut block).unwrap();
        u128::from_be_bytes(block)
    }

    /// A tag over `aad` and the ciphertext of these blocks.
    fn tag(key: &[u8; 32], aad: &[u8], blocks: &[u128]) -> u128 {
        let mut plaintext = Vec::new();
        for block in blocks {
            plaintext.extend(block.to_be_bytes());
        }
        // Counter mode is its own inverse: seal once for the key stream, then once more.
        let nonce = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let aead = kms_envelope::crypto::Aead::Aes256Gcm;
        RingBackend
            .seal(aead, key, nonce, aad, &mut plaintext)
            .unwrap();
        let tag = RingBackend
            .seal(aead, key, nonce, aad, &mut plaintext)
            .unwrap();
        u128::from_be_bytes(tag)
    }

    /// A ciphertext of one block and its tag that verify under both keys. The difference of the
    /// two tags is an affine function of the block's 128 bits: find it by trying each bit, and
    /// solve for zero.
    pub(super) fn collide(one: &[u8; 32], two: &[u8; 32], aad: &[u8]) -> Vec<u8> {
        assert_ne!(stream_block(one), stream_block(two));
        let difference = |block: u128| tag(one, aad, &[block]) ^ tag(two, aad, &[block]);
        let constant = difference(0);
        // Rows of (what the bits of the block do to the difference, which bits).
        let mut rows: Vec<(u128, u128)> = Vec::new();
        for bit in 0..128 {
            let block = 1_u128 << bit;
            rows.push(reduce(&rows, (difference(block) ^ constant, block)));
        }
        let (left, block) = reduce(&rows, (constant, 0));
        assert_eq!(left, 0, "the two keys' equations do not have full rank");
        assert_eq!(difference(block), 0);
        [block.to_be_bytes(), tag(one, aad, &[block]).to_be_bytes()].concat()
    }

    fn reduce(rows: &[(u128, u128)], mut row: (u128, u128)) -> (u128, u128) {
        for (pivot, bits) in rows {
            let top = 1_u128
                .checked_shl(127 - pivot.leading_zeros().min(127))
                .unwrap();
            if *pivot != 0 && row.0 & top != 0 {
                row = (row.0 ^ pivot, row.1 ^ bits);
            }
        }
        row
    }
}
