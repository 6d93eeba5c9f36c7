//! What operators go through, one by one.

mod changes;
mod compromise;
mod faults;
mod retiring;
mod rotation;
