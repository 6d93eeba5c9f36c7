//! Providers that wrap providers.

mod pointer;
