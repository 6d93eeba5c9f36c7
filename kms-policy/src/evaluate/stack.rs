//! Room for the engine's recursion.

use std::thread;

use crate::{Error, ErrorKind};

/// The stack of a thread that the engine works in, in bytes. Memory is taken only as far as it is used.
/// `nesting` bounds the levels that a policy can lead the engine down; in a build for tests each takes
/// up to 3 KiB.
const STACK_LEN: usize = 512 * 1024 * 1024;

/// Does this on a stack of its own, as deep as a policy may lead.
pub(super) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let builder = thread::Builder::new()
            .name("policy".to_owned())
            .stack_size(STACK_LEN);
        let thread = builder.spawn_scoped(scope, work).map_err(|error| {
            Error::new(ErrorKind::Io, "there is no thread for the engine").with_source(error)
        })?;
        thread
            .join()
            .map_err(|_| Error::new(ErrorKind::Rules, "the engine gave up on the policy"))
    })
}
