//! One buffer that fills up and one that is emptied.

use crate::crypto::{TAG_LEN, wipe, wipe_allocation};

/// Both are wiped when dropped: which of them holds plaintext depends on the direction.
pub(super) struct Buffers {
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    taken: usize,
}

impl Buffers {
    pub(super) const fn new(input: Vec<u8>, output: Vec<u8>) -> Self {
        Self {
            input,
            output,
            taken: 0,
        }
    }

    /// Copies as much of `bytes` as keeps the input at `full` bytes at most. There is always
    /// room for a tag behind it, so that no growth leaves a copy of plaintext behind.
    pub(super) fn fill(&mut self, bytes: &[u8], full: usize) -> usize {
        let room = full.saturating_sub(self.input.len());
        self.input.reserve_exact(room.saturating_add(TAG_LEN));
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.input.extend_from_slice(taken);
        taken.len()
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.output.get(self.taken..).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.taken = self.taken.saturating_add(len).min(self.output.len());
    }

    /// Makes the input, worked on in place, the output. Only when nothing is pending.
    pub(super) fn turn(&mut self) {
        core::mem::swap(&mut self.input, &mut self.output);
        self.input.clear();
        self.taken = 0;
    }

    /// Puts the input, worked on in place, behind what is pending.
    pub(super) fn append(&mut self) {
        let mut both = Vec::with_capacity(self.pending().len().saturating_add(self.input.len()));
        both.extend_from_slice(self.pending());
        both.extend_from_slice(&self.input);
        for buffer in [&mut self.input, &mut self.output] {
            wipe(buffer);
            buffer.clear();
        }
        self.output = both;
        self.taken = 0;
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        wipe_allocation(&mut self.input);
        wipe_allocation(&mut self.output);
    }
}
