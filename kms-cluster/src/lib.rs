//! Where a cluster keeps its objects: implementations of the traits of [`kms_core::object`].
//!
//! - [`embedded`]: in memory, for tests, for the quickstart, and for state that need not survive.
//!
//! Nothing here decrypts: values are bytes.

pub mod embedded;
