//! Iterators in, iterators out.

use super::Pump;
use crate::Error;

/// What comes out of a pump that an iterator feeds.
pub(super) struct Pumped<P, I: Iterator> {
    pump: P,
    source: I,
    /// What is being pushed, and how much of it already was.
    current: Option<(I::Item, usize)>,
    over: bool,
}

impl<P: Pump, I: Iterator<Item: AsRef<[u8]>>> Pumped<P, I> {
    pub(super) const fn new(pump: P, source: I) -> Self {
        Self {
            pump,
            source,
            current: None,
            over: false,
        }
    }

    /// Pushes one piece, or finishes when there are none left.
    fn step(&mut self) -> Result<(), Error> {
        if let Some((piece, pushed)) = &mut self.current {
            let rest = piece.as_ref().get(*pushed..).unwrap_or_default();
            if !rest.is_empty() {
                *pushed = pushed.saturating_add(self.pump.push(rest)?);
                return Ok(());
            }
        }
        self.current = self.source.next().map(|piece| (piece, 0));
        if self.current.is_none() {
            self.over = true;
            self.pump.finish()?;
        }
        Ok(())
    }
}

impl<P: Pump, I: Iterator<Item: AsRef<[u8]>>> Iterator for Pumped<P, I> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let output = self.pump.output();
            if !output.is_empty() {
                let output = output.to_vec();
                self.pump.consume(output.len());
                return Some(Ok(output));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.step() {
                self.over = true;
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    /// Doubles every byte, one at a time, and ends with `!`.
    #[derive(Default)]
    struct Echo(Vec<u8>);

    impl Pump for Echo {
        fn push(&mut self, input: &[u8]) -> Result<usize, Error> {
            match input.first() {
                Some(b'#') => Err(Error::new(ErrorKind::Internal, "no")),
                Some(byte) if self.0.is_empty() => {
                    self.0.extend([*byte, *byte]);
                    Ok(1)
                }
                _ => Ok(0),
            }
        }

        fn output(&self) -> &[u8] {
            &self.0
        }

        fn consume(&mut self, len: usize) {
            self.0.drain(..len);
        }

        fn finish(&mut self) -> Result<(), Error> {
            self.0.push(b'!');
            Ok(())
        }
    }

    #[test]
    fn every_piece_goes_through_once_and_an_error_ends_it() {
        let out: Result<Vec<_>, _> = Pumped::new(Echo::default(), ["ab", "", "c"].iter()).collect();
        assert_eq!(out.unwrap().concat(), b"aabbcc!");
        let out: Vec<_> = Pumped::new(Echo::default(), ["a#b", "c"].iter()).collect();
        assert_eq!(out.len(), 2);
        assert!(out[0].is_ok() && out[1].is_err());
    }
}
