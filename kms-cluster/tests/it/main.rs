//! Behaviour of the stores, seen from outside.

mod api;
mod broken;
mod embedded;
mod model;
mod snapshot;
