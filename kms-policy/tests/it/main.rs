//! What the crate does, as its users see it.

mod images;
