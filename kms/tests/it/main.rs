//! The binary as a person uses it.

mod arguments;
mod azure;
mod census;
mod cluster;
mod command;
mod config;
mod decrypt;
mod doctor;
mod images;
mod inspect;
mod key;
mod made;
mod migrate;
mod policy;
mod quickstart;
mod replicas;
mod retire;
mod serve;
#[cfg(feature = "testing")]
mod testkit;
