//! Our sealed format and other envelope encryption libraries, behind one face.
//!
//! Each wraps its DEKs with a key that is in memory, so that no network and no KMS is measured.
//! What is sealed is one `Vec` of all that must be stored, and what is opened is that.

mod kek;
mod ours;
mod peers;

pub use ours::{cached, one_dek_a_message};
pub use peers::all;

/// The KEK of everyone.
const KEK: [u8; 32] = [7; 32];
/// What is bound to each message, where a library can do that.
const AAD: &str = "row 7";

/// When a DEK is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dek {
    /// For each message, and unwrapped for each that is opened.
    Each,
    /// Once; it is cached, or the application keeps it.
    Kept,
}

/// A library in one configuration.
pub struct Side {
    pub name: &'static str,
    pub dek: Dek,
    make: Box<dyn Fn() -> Box<dyn Sealer>>,
}

/// Work on one message. What a library wants to own is made before anything is measured.
pub trait Sealer {
    fn take_plaintext(&mut self, plaintext: &[u8]);
    fn seal(&mut self) -> Vec<u8>;
    fn take_message(&mut self, message: &[u8]);
    /// How long the plaintext is, which has been dropped.
    fn open(&mut self) -> usize;
}

impl Side {
    fn new<S: Sealer + 'static>(
        name: &'static str,
        dek: Dek,
        make: impl Fn() -> S + 'static,
    ) -> Self {
        Self {
            name,
            dek,
            make: Box::new(move || Box::new(make())),
        }
    }

    /// A sealer for this plaintext, which has shown that it opens what it seals.
    #[must_use]
    pub fn sealer(&self, plaintext: &[u8]) -> Box<dyn Sealer> {
        let mut sealer = (self.make)();
        sealer.take_plaintext(plaintext);
        let message = sealer.seal();
        sealer.take_message(&message);
        assert_eq!(sealer.open(), plaintext.len(), "{}", self.name);
        sealer
    }
}

/// Nothing here waits for anything.
fn now<F: Future>(future: F) -> F::Output {
    use futures_util::FutureExt as _;
    future.now_or_never().expect("nothing to wait for")
}
