//! kms-testkit

pub mod objects;
