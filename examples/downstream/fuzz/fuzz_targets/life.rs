//! Whatever happens to the keys: what was sealed opens, what was changed does not, and the same
//! input has the same history.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use downstream::MapProvider;
use kms_core::KeyProvider as _;
use kms_core::{SecretBytes, WrapOptions};
use kms_envelope::Purpose;
use kms_envelope::cache::{DekLimits, UnwrapCacheOptions};
use kms_testkit::deterministic::Deterministic;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    seed: u64,
    purpose: Purpose,
    limits: DekLimits,
    cache: UnwrapCacheOptions,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Seal(&'a [u8]),
    Open(u8),
    Change { which: u8, place: u32, by: u8 },
    Wrap(SecretBytes, WrapOptions),
    Rotate,
    Refresh,
    Wait(u16),
}

/// All that was sealed and wrapped.
fn history(input: &Input<'_>) -> Vec<Vec<u8>> {
    let world = Deterministic::new(input.seed);
    let map = Arc::new(MapProvider::new(world.random()).expect("a key"));
    let envelope = world
        .envelope()
        .dek_limits(input.limits.clone())
        .unwrap_cache(input.cache.clone())
        .recipient("map", map.clone())
        .build()
        .expect("an envelope");
    let open = |sealed: &[u8]| {
        let opened = world
            .clock()
            .run(envelope.open(&input.purpose, b"", sealed));
        opened.expect("it does not hang").ok()
    };
    let (mut texts, mut sealed, mut wrapped) = (Vec::new(), Vec::new(), Vec::new());
    for step in &input.steps {
        match step {
            Step::Seal(text) => {
                let call = envelope.seal(&input.purpose, b"", text);
                // A text over `max_bytes` is refused.
                if let Ok(message) = world.clock().run(call).expect("it does not hang") {
                    texts.push(*text);
                    sealed.push(message);
                }
            }
            Step::Open(which) => {
                let which = usize::from(*which);
                if let (Some(text), Some(message)) = (texts.get(which), sealed.get(which)) {
                    assert_eq!(open(message).expect("it opens").expose(), *text);
                }
            }
            Step::Change { which, place, by } => {
                if let Some(message) = sealed.get(usize::from(*which)) {
                    let mut message: Vec<u8> = message.clone();
                    let place = *place as usize % message.len();
                    message[place] ^= by;
                    assert!(*by == 0 || open(&message).is_none());
                }
            }
            Step::Wrap(dek, options) => {
                let answer = world.clock().run(map.wrap(dek, options));
                let answer = answer.expect("it does not hang");
                assert_eq!(answer.is_ok(), (1..=4096).contains(&dek.len()));
                wrapped.extend(answer.ok().map(|key| key.ciphertext().to_vec()));
            }
            Step::Rotate => map.rotate().expect("a key"),
            Step::Refresh => {
                let done = world.clock().run(envelope.refresh());
                done.expect("it does not hang").expect("a key");
            }
            Step::Wait(seconds) => {
                world
                    .clock()
                    .advance(Duration::from_secs((*seconds).into()));
            }
        }
    }
    sealed.extend(wrapped);
    sealed
}

fuzz_target!(|input: Input<'_>| {
    assert_eq!(history(&input), history(&input));
});
