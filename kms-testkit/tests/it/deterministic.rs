//! One seed, one history.

use std::sync::Arc;

use kms_core::local::LocalProvider;
use kms_core::{EncryptionContext, KeyProvider, WrapOptions};
use kms_envelope::Purpose;
use kms_testkit::deterministic::Deterministic;

/// A message, the keyring file, and a wrapped key after a rotation.
fn history(seed: u64) -> [Vec<u8>; 3] {
    let world = Deterministic::new(seed);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keyring.json");
    let keyring: Arc<LocalProvider> = Arc::new(world.local_provider(&path).unwrap());
    let memory = Arc::new(world.static_provider().unwrap());
    let envelope = world
        .envelope()
        .recipient("keyring", keyring)
        .recipient("memory", memory.clone())
        .build()
        .unwrap();
    let purpose = Purpose::new(EncryptionContext::new());
    let sealed = world.clock().run(envelope.seal(&purpose, b"", b"text"));
    memory.rotate().unwrap();
    let dek = kms_core::SecretBytes::from_vec(vec![7; 32]);
    let wrapped = world
        .clock()
        .run(memory.wrap(&dek, &WrapOptions::default()));
    [
        sealed.unwrap().unwrap(),
        std::fs::read(&path).unwrap(),
        wrapped.unwrap().unwrap().ciphertext().to_vec(),
    ]
}

#[test]
fn one_seed_makes_one_history_and_another_another() {
    assert_eq!(history(1), history(1));
    for (one, two) in history(1).iter().zip(history(2)) {
        assert_ne!(*one, two);
    }
}
