//! The binary as a person uses it.

mod arguments;
mod azure;
mod census;
mod cluster;
mod command;
mod config;
mod decrypt;
mod doctor;
#[expect(dead_code, reason = "the store's own tests need more of it")]
#[path = "../../../kms-cluster/tests/it/etcd/server.rs"]
mod etcd_server;
mod images;
mod inspect;
mod key;
mod made;
mod migrate;
mod own_keys;
mod policy;
mod policy_look;
mod quickstart;
mod replicas;
mod retire;
mod rotation;
mod serve;
#[cfg(feature = "testing")]
mod testkit;
