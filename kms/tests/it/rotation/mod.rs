//! The driver over a store in memory: no etcd, no vault, and hours in no time. And `kms rotation`.

mod doubt;
mod faults;
mod once;
mod skew;
mod status;
mod steps;
mod watch;
mod world;
