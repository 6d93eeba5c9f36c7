//! One command a file.

pub(crate) mod census;
mod cluster;
pub(crate) mod config;
pub(crate) mod decrypt;
pub(crate) mod doctor;
pub(crate) mod etcd;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod migrate;
mod output;
pub(crate) mod policy;
pub(crate) mod quickstart;
pub(crate) mod replicas;
pub(crate) mod retire;
pub(crate) mod rotation;
pub(crate) mod serve;
pub(crate) mod signals;
#[cfg(feature = "testing")]
pub(crate) mod testkit;

use std::io::{self, Write as _};

use kms::Failure;

use crate::args::Encoding;

/// Writes to standard output. A reader that went away (`kms key list | head -1`) is no failure.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("writing to standard output", error))
        }
        _ => Ok(()),
    }
}

fn print_line(text: &impl core::fmt::Display) -> Result<(), Failure> {
    print(format!("{text}\n").as_bytes())
}

impl From<Encoding> for kms::Encoding {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Raw => Self::Raw,
            Encoding::Base64 => Self::Base64,
            Encoding::Hex => Self::Hex,
            Encoding::EtcdJson => Self::EtcdJson,
        }
    }
}
