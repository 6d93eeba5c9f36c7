//! Every class of fault, in both forms, both suites and every backend.

use kms_envelope::sealed::preamble_len;

use super::*;

struct Case {
    dek: Dek,
    message: Vec<u8>,
    preamble_len: usize,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for backend in backends() {
        for suite in SUITES {
            let material = material(&backend);
            let whole = material
                .seal(suite, &Counting(1), AAD, b"plaintext")
                .unwrap();
            let stream = seal_stream(&material, suite, &plaintext(4096 + 30));
            for message in [whole, stream] {
                let preamble_len = inspect(&message).unwrap().preamble_len();
                let dek = dek(&backend, DEK);
                cases.push(Case {
                    dek,
                    message,
                    preamble_len,
                });
            }
        }
    }
    cases
}

impl Case {
    fn refused(&self, message: &[u8]) -> u8 {
        step(&open(&self.dek, message, &context(), AAD).unwrap_err())
    }
}

#[test]
fn cut_off_at_any_byte() {
    for case in cases() {
        for len in 0..case.message.len() {
            let expected = if len < case.preamble_len { 1 } else { 3 };
            assert_eq!(case.refused(&case.message[..len]), expected, "{len} bytes");
        }
    }
}

#[test]
fn any_bit_changed() {
    for case in cases() {
        for at in 0..case.message.len().min(case.preamble_len + 40) {
            for bit in 0..8 {
                let mut changed = case.message.clone();
                changed[at] ^= 1 << bit;
                let step = case.refused(&changed);
                match at {
                    0..=4 => assert_eq!(step, 1),
                    // A suite, a form or a chunk size may become another that exists.
                    5..=7 => assert!(step != 2),
                    40..=71 => assert_eq!(step, 2),
                    8..=103 => assert_eq!(step, 3),
                    // Lengths and text may break a bound, or be others that keep to it.
                    104.. if at < case.preamble_len - 32 => assert!(step != 2),
                    _ => assert_eq!(step, 3),
                }
            }
        }
    }
}

#[test]
fn what_is_no_message_is_refused_before_more_of_it_is_read() {
    assert!(preamble_len(&[0; 104]).is_err());
    assert!(preamble_len(&[0; 103]).is_ok());
    let mut start = cases()[0].message[..110].to_vec();
    for (length, expected) in [(1 << 20, Some(142 + (1 << 20))), ((1 << 20) + 1, None)] {
        start[106..].copy_from_slice(&u32::to_be_bytes(length));
        assert_eq!(preamble_len(&start).ok(), expected);
    }
}

#[test]
fn bytes_added() {
    for case in cases() {
        for tail in [&[0][..], &[0; 16], &[0; 17], &[0; 5000]] {
            assert_eq!(case.refused(&[&case.message, tail].concat()), 3);
        }
        for at in [0, 1, 104, case.preamble_len] {
            let (front, back) = case.message.split_at(at);
            case.refused(&[front, &[0], back].concat());
        }
    }
}

#[test]
fn another_context_aad_or_dek() {
    let other = ContextDigest::new(&RingBackend, &EncryptionContext::new());
    for case in cases() {
        let error = open(&case.dek, &case.message, &other, AAD).unwrap_err();
        assert_eq!(step(&error), 2);
        for aad in [&b""[..], b"row 8", b"row 7 "] {
            let error = open(&case.dek, &case.message, &context(), aad).unwrap_err();
            assert_eq!(step(&error), 3);
        }
        for backend in backends() {
            let dek = dek(&backend, [0x43; 32]);
            let error = open(&dek, &case.message, &context(), AAD).unwrap_err();
            assert_eq!(step(&error), 3);
        }
    }
}

#[test]
fn one_form_is_not_taken_for_the_other() {
    for case in cases() {
        let whole = case.dek.open(&case.message, &context(), AAD);
        let stream = case.dek.open_stream(&case.message, &context(), AAD);
        assert_ne!(whole.is_ok(), stream.is_ok());
        let error = whole.err().or_else(|| stream.err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn parts_of_two_messages_do_not_join() {
    let material = material(&backends()[0]);
    let seal = |salt, text: &[u8]| {
        material
            .seal(Suite::default(), &Counting(salt), AAD, text)
            .unwrap()
    };
    let (one, two) = (seal(1, b"one"), seal(2, b"two"));
    let preamble_len = inspect(&one).unwrap().preamble_len();
    for at in [8, 40, 72, preamble_len] {
        let joined = [&one[..at], &two[at..]].concat();
        let opened = open(material.dek(), &joined, &context(), AAD);
        assert_eq!(opened.is_ok(), at == 8, "joined at {at}");
    }
    // Where the salt begins nothing before differs; the block is the same for one DEK.
    let block = [&one[..104], &two[104..preamble_len], &one[preamble_len..]].concat();
    assert_eq!(
        open(material.dek(), &block, &context(), AAD).unwrap(),
        b"one"
    );
}

#[test]
fn what_does_not_open_in_place_is_wiped() {
    for case in cases().into_iter().step_by(2) {
        let mut changed = case.message.clone();
        let last = changed.len() - 1;
        changed[last] ^= 1;
        case.dek
            .open_in_place(&mut changed, &context(), AAD)
            .unwrap_err();
        assert!(changed[case.preamble_len..].iter().all(|byte| *byte == 0));
    }
}
