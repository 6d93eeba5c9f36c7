//! A bbolt file: which of its pages count, and reading one of them.

use std::io;

use kms_core::{Error, ErrorKind};

use super::page::{self, Fault, Meta};
use super::storage::Storage;

/// An open bbolt file. What is read from it is checked, and every fault names page and offset.
pub(super) struct Database {
    storage: Storage,
    /// The path, for errors.
    name: String,
    /// Without the digest that etcd appends, in bytes.
    len: u64,
    meta: Meta,
}

impl Database {
    /// Opens the first `len` bytes.
    pub(super) fn open(storage: Storage, name: String, len: u64) -> Result<Self, Error> {
        let meta = newest_meta(&storage, len).map_err(|error| io_error(&name, &error))?;
        let meta = meta.ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                "neither of the first two pages is the begin of a bbolt database",
            )
            .with_provider(name.clone())
        })?;
        let database = Self {
            storage,
            name,
            len,
            meta,
        };
        let wanted = meta.pages.checked_mul(meta.page_size.into());
        if meta.pages < 4 || wanted.is_none_or(|wanted| wanted > len) {
            return Err(database.corrupt(format!(
                "the file is cut off: {} pages of {} bytes are in use, {len} bytes are there",
                meta.pages, meta.page_size
            )));
        }
        Ok(database)
    }

    pub(super) const fn meta(&self) -> Meta {
        self.meta
    }

    /// Without the digest that etcd appends, in bytes.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the file is still of the transaction that it was opened at. It is not if this is
    /// the database of a running etcd, whose pages are written over while they are read.
    pub(super) fn check_unchanged(&self) -> Result<(), Error> {
        let now =
            newest_meta(&self.storage, self.len).map_err(|error| io_error(&self.name, &error))?;
        if now == Some(self.meta) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "the file was written to while it was read; stop its etcd, or take a snapshot",
        )
        .with_provider(self.name.clone()))
    }

    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.storage
            .read_exact_at(buffer, offset)
            .map_err(|error| io_error(&self.name, &error))
    }

    /// Where a page begins in the file, in bytes.
    pub(super) fn page_offset(&self, id: u64) -> u64 {
        id.saturating_mul(self.meta.page_size.into())
    }

    pub(super) fn fault(&self, page: u64, fault: Fault) -> Error {
        let offset = self.page_offset(page).saturating_add(fault.offset as u64);
        self.corrupt(format!("page {page}, offset {offset}: {}", fault.problem))
    }

    pub(super) fn corrupt(&self, problem: String) -> Error {
        Error::new(ErrorKind::Corrupt, problem).with_provider(self.name.clone())
    }
}

pub(super) fn io_error(name: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot be read: {error}")).with_provider(name)
}

/// The meta page of the newest transaction that was finished. There are two, written in turn, so
/// that one is whole after a crash in the middle of the other.
fn newest_meta(storage: &Storage, len: u64) -> io::Result<Option<Meta>> {
    let first = meta_at(storage, 0, len)?;
    let second = match first {
        Some(first) => meta_at(storage, first.page_size.into(), len)?
            .filter(|second| second.page_size == first.page_size),
        None => {
            // The first is torn, so the page size is not known: bbolt tries them all, too.
            let mut size = page::MIN_PAGE_SIZE;
            let mut found = None;
            while found.is_none() && size <= page::MAX_PAGE_SIZE {
                found = meta_at(storage, size.into(), len)?.filter(|meta| meta.page_size == size);
                size = size.saturating_mul(2);
            }
            found
        }
    };
    Ok(match (first, second) {
        (Some(first), Some(second)) if second.transaction > first.transaction => Some(second),
        (first, second) => first.or(second),
    })
}

fn meta_at(storage: &Storage, offset: u64, len: u64) -> io::Result<Option<Meta>> {
    let mut bytes = [0; page::META_LEN];
    if offset.saturating_add(page::META_LEN as u64) > len {
        return Ok(None);
    }
    storage.read_exact_at(&mut bytes, offset)?;
    Ok(Meta::parse(&bytes))
}
