//! Whole messages.

use kms_envelope::sealed::{ChunkSize, Form};

use super::*;

#[test]
fn what_is_sealed_opens_and_every_backend_writes_the_same_bytes() {
    for suite in SUITES {
        for len in [0, 1, 15, 16, 17, 1024, 70_000] {
            let plaintext = plaintext(len);
            for aad in [&b""[..], AAD] {
                let messages: Vec<_> = backends()
                    .iter()
                    .map(|backend| {
                        let material = material(backend);
                        let message = material.seal(suite, &Counting(1), aad, &plaintext).unwrap();
                        assert_eq!(message.len(), message.capacity());
                        assert_eq!(message.len(), len + material.overhead());
                        message
                    })
                    .collect();
                for backend in backends() {
                    for message in &messages {
                        assert_eq!(message, &messages[0]);
                        let opened = open(&dek(&backend, DEK), message, &context(), aad);
                        assert_eq!(opened.unwrap(), plaintext);
                    }
                }
            }
        }
    }
}

#[test]
fn sealing_in_place_gives_the_same_message_and_allocates_only_if_it_must() {
    let material = material(&backends()[0]);
    for suite in SUITES {
        for len in [0, 1, 100, 1000] {
            let expected = material
                .seal(suite, &Counting(1), AAD, &plaintext(len))
                .unwrap();
            let mut tight = plaintext(len);
            material
                .seal_in_place(suite, &Counting(1), AAD, &mut tight)
                .unwrap();
            assert_eq!(tight, expected);

            for spare in [0, 64] {
                let mut roomy = Vec::with_capacity(len + material.overhead() + spare);
                roomy.extend(plaintext(len));
                let place = roomy.as_ptr();
                material
                    .seal_in_place(suite, &Counting(1), AAD, &mut roomy)
                    .unwrap();
                assert_eq!(roomy, expected);
                assert_eq!(roomy.as_ptr(), place);
            }
        }
    }
}

#[test]
fn two_messages_of_one_plaintext_have_nothing_in_common_but_the_preamble() {
    let material = material(&backends()[0]);
    let one = material
        .seal(Suite::default(), &Counting(1), AAD, &[0; 64])
        .unwrap();
    let two = material
        .seal(Suite::default(), &Counting(2), AAD, &[0; 64])
        .unwrap();
    let body = inspect(&one).unwrap().preamble_len();
    assert_eq!(one[104..body], two[104..body]);
    assert_ne!(one[72..104], two[72..104]);
    assert_ne!(one[body..], two[body..]);
}

#[test]
fn without_randomness_nothing_is_sealed_and_the_plaintext_stays() {
    let material = material(&backends()[0]);
    let error = material
        .seal(Suite::default(), &NoRandom, AAD, b"x")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let mut buffer = b"x".to_vec();
    material
        .seal_in_place(Suite::default(), &NoRandom, AAD, &mut buffer)
        .unwrap_err();
    assert_eq!(buffer, b"x");
    material
        .seal_stream(Suite::default(), ChunkSize::MIN, &NoRandom, AAD)
        .unwrap_err();
}

#[test]
fn a_message_is_inspected_without_any_key() {
    let material = material(&backends()[0]);
    let whole = material
        .seal(Suite::ChaCha20Poly1305, &Counting(1), AAD, &plaintext(100))
        .unwrap();
    let info = inspect(&whole).unwrap();
    assert_eq!(info.suite(), Suite::ChaCha20Poly1305);
    assert_eq!(info.form(), Form::Whole);
    assert_eq!(info.context_digest(), context());
    assert_eq!(info.preamble_len() + 16, material.overhead());
    assert_eq!(info.plaintext_len(whole.len() as u64).unwrap(), 100);
    assert!(info.plaintext_len(info.preamble_len() as u64 + 15).is_err());

    let found: Vec<_> = info.recipients().collect();
    assert_eq!(info.recipients().len(), 2);
    assert_eq!(found[0].provider_id(), "vault-eu");
    assert_eq!(found[0].key_id(), "https://vault-eu.example/keys/kek/7");
    assert_eq!(found[0].key_version(), Some("7"));
    assert_eq!(found[0].wrapped().len(), 48);
    assert_eq!(
        found[0].annotations().collect::<Vec<_>>(),
        [("empty", &b""[..]), ("wrap.example.com", &[1, 2, 3])]
    );
    assert_eq!(found[1].key_version(), None);
    for (found, sealed) in found.iter().zip(recipients()) {
        assert_eq!(&found.to_wrapped_key().unwrap(), sealed.wrapped_key());
    }

    let stream = seal_stream(&material, Suite::Aes256Gcm, &plaintext(5000));
    let info = inspect(&stream[..stream.len() - 5000]).unwrap();
    assert_eq!(info.form(), Form::Stream(ChunkSize::MIN));
    assert_eq!(info.plaintext_len(stream.len() as u64).unwrap(), 5000);
}

#[test]
fn rewrapping_changes_the_recipients_and_nothing_else() {
    for backend in backends() {
        let material = material(&backend);
        let others = [recipient("vault-us", "kek-8", vec![1; 512])];
        let block = material.dek().recipients_block(&others).unwrap();
        let whole = material
            .seal(Suite::default(), &Counting(1), AAD, b"plaintext")
            .unwrap();
        let stream = seal_stream(&material, Suite::default(), &plaintext(9000));
        for message in [whole, stream] {
            let rewrapped = material.dek().rewrap(&message, &block).unwrap();
            let (old, new) = (inspect(&message).unwrap(), inspect(&rewrapped).unwrap());
            assert_eq!(message[..104], rewrapped[..104]);
            assert_eq!(
                message[old.preamble_len()..],
                rewrapped[new.preamble_len()..]
            );
            let ids: Vec<_> = new.recipients().map(|found| found.key_id()).collect();
            assert_eq!(ids, ["kek-8"]);
            assert_eq!(
                open(material.dek(), &rewrapped, &context(), AAD).unwrap(),
                open(material.dek(), &message, &context(), AAD).unwrap()
            );
            let preamble = material.dek().rewrap_preamble(&message, &block).unwrap();
            assert_eq!(preamble, rewrapped[..new.preamble_len()]);

            // Another DEK cannot, and a block that it made does not fit.
            let other = dek(&backend, [7; 32]);
            assert_eq!(step(&other.rewrap(&message, &block).unwrap_err()), 3);
            let foreign = other.recipients_block(&others).unwrap();
            let broken = material.dek().rewrap(&message, &foreign).unwrap();
            let error = open(material.dek(), &broken, &context(), AAD).unwrap_err();
            assert_eq!(step(&error), 3);
        }
    }
}

#[test]
fn a_recipient_is_bounded() {
    let wrapped = || WrappedKey::new("k".parse().unwrap(), vec![1]).unwrap();
    for bad in ["", "Vault", "a b", "a/b", "ä", &"a".repeat(65)] {
        let error = Recipient::new(bad, wrapped()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{bad:?}");
    }
    assert!(Recipient::new("a".repeat(64), wrapped()).is_ok());
    let nameless = WrappedKey::without_key_id(vec![1]).unwrap();
    assert!(Recipient::new("a", nameless).is_err());
    let noted = |name: &str| {
        let wrapped = wrapped().with_annotation(name, vec![]).unwrap();
        Recipient::new("a", wrapped)
    };
    assert!(noted("").is_err());
    assert!(noted(&"n".repeat(256)).is_err());
    assert!(noted(&"n".repeat(255)).is_ok());
    let many = |count: usize| {
        let wrapped = (0..count).fold(wrapped(), |wrapped, at| {
            wrapped.with_annotation(at.to_string(), vec![]).unwrap()
        });
        Recipient::new("a", wrapped)
    };
    assert!(many(64).is_ok() && many(65).is_err());
    let recipient = Recipient::new("a", wrapped()).unwrap();
    assert!(recipient.clone().with_key_version("v\n").is_err());
    assert!(recipient.clone().with_key_version("v".repeat(256)).is_err());
    assert!(recipient.with_key_version("v".repeat(255)).is_ok());
}

#[test]
fn the_recipients_together_are_bounded() {
    let dek = dek(&backends()[0], DEK);
    let some = |count: usize, wrapped: usize| -> Vec<_> {
        (0..count)
            .map(|at| recipient("a", &format!("k{at:02}"), vec![1; wrapped]))
            .collect()
    };
    assert!(dek.recipients_block(&[]).is_err());
    assert!(dek.recipients_block(&some(16, 9)).is_ok());
    assert!(dek.recipients_block(&some(17, 9)).is_err());
    // An entry is 11 bytes and the wrapped DEK: 16 × 65,536 is the bound.
    assert!(dek.recipients_block(&some(16, 65_536 - 11)).is_ok());
    let mut over = some(15, 65_536 - 11);
    over.push(recipient("a", "k155", vec![1; 65_536 - 11]));
    assert!(dek.recipients_block(&over).is_err());
    let twice = [recipient("a", "k", vec![1]), recipient("a", "k", vec![2])];
    assert!(dek.recipients_block(&twice).is_err());
    let apart = [recipient("a", "k", vec![1]), recipient("b", "k", vec![1])];
    assert!(dek.recipients_block(&apart).is_ok());
}

#[test]
fn a_dek_has_32_bytes() {
    for len in [0, 16, 31, 33, 64] {
        let secret = SecretBytes::from_vec(vec![1; len]);
        assert_eq!(
            step(&Dek::new(Arc::new(RingBackend), secret).unwrap_err()),
            3
        );
    }
}

#[test]
fn nothing_that_is_printed_shows_the_key() {
    let material = material(&backends()[0]);
    let sealer = material
        .seal_stream(Suite::default(), ChunkSize::MIN, &Counting(1), AAD)
        .unwrap();
    let text = format!("{material:?} {sealer:?}");
    // 0x42 in decimal and in hexadecimal.
    assert!(!text.contains("66, 66") && !text.contains("4242"), "{text}");
}

#[test]
fn what_is_said_about_a_message_names_its_parts() {
    let recipient = recipient("vault", "kek/1", vec![9]);
    assert_eq!(recipient.provider_id(), "vault");
    let message = material(&backends()[0])
        .seal(Suite::Aes256Gcm, &Counting(1), AAD, b"x")
        .unwrap();
    let shown = format!("{:?}", inspect(&message).unwrap());
    for part in [
        "Aes256Gcm",
        "Whole",
        "vault-eu",
        "local_1.b",
        "preamble_len",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn recipients_differ_in_their_provider_or_in_their_key() {
    let dek = dek(&backends()[0], DEK);
    let [first, same_provider, same_key] = [("a", "1"), ("a", "2"), ("b", "1")]
        .map(|(provider_id, key_id)| recipient(provider_id, key_id, vec![9]));
    let twice = [first.clone(), first.clone()];
    let error = dek.recipients_block(&twice).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    let material = DekMaterial::new(dek, context(), &[first, same_provider, same_key]).unwrap();
    let message = material
        .seal(Suite::Aes256Gcm, &Counting(1), AAD, b"x")
        .unwrap();
    let recipients = inspect(&message).unwrap().recipients();
    assert_eq!(recipients.len(), 3);
    let shown: Vec<_> = recipients
        .map(|recipient| (recipient.provider_id(), recipient.key_id()))
        .collect();
    assert_eq!(shown, [("a", "1"), ("a", "2"), ("b", "1")]);
}

#[test]
fn a_digest_of_a_context_is_shown_in_hexadecimal() {
    let message = material(&backends()[0])
        .seal(SUITES[0], &Counting(1), AAD, b"")
        .unwrap();
    let digest = inspect(&message).unwrap().context_digest();
    let hex: String = digest
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex.len(), 64);
    assert_eq!(digest.to_string(), hex);
    assert!(format!("{digest:?}").contains(&hex), "{digest:?}");
}
