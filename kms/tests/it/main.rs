//! The binary as a person uses it.

mod arguments;
mod azure;
mod command;
mod decrypt;
mod inspect;
mod key;
mod quickstart;
mod serve;
#[cfg(feature = "testing")]
mod testkit;
