//! How much may become of one workload.

use std::io::{self, Write};

use serde::Serialize;

use crate::{Error, ErrorKind};

/// The most that all containers of a workload may become, in bytes of variables and of policy data: an
/// object has room for 256 KiB of annotations.
const MAX_LEN: usize = 16 * 1024 * 1024;

/// What is left for the containers of one workload. Each of them may take the same list or annotation
/// again, so that a short file would become a very long policy.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) const fn of_workload() -> Self {
        Self { left: MAX_LEN }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<(), Error> {
        match self.left.checked_sub(len) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(over()),
        }
    }

    /// Takes as much as this is in JSON.
    pub(super) fn take_json(&mut self, data: &impl Serialize) -> Result<(), Error> {
        let written = serde_json::to_writer(&mut *self, data);
        written.map_err(|error| match error.is_io() {
            true => over(),
            false => Error::new(ErrorKind::Internal, error.to_string()),
        })
    }
}

/// Counts what is written.
impl Write for Budget {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes.len()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn over() -> Error {
    Error::new(
        ErrorKind::Manifest,
        "the variables and annotations of all containers become over 16 MiB",
    )
    .with_remedy("give each container the variables that it needs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_goes_down_to_nothing_and_no_further() {
        let mut budget = Budget { left: 9 };
        budget.take_json(&["ab"]).unwrap();
        assert_eq!(budget.left, 3);
        budget.take(3).unwrap();
        assert_eq!(budget.take(1).unwrap_err().kind(), ErrorKind::Manifest);
        let error = budget.take_json(&0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Manifest);
    }
}
