//! The binary as a person uses it.

mod arguments;
mod azure;
mod cluster;
mod command;
mod config;
mod decrypt;
mod doctor;
mod inspect;
mod key;
mod migrate;
mod quickstart;
mod replicas;
mod serve;
#[cfg(feature = "testing")]
mod testkit;
