//! The integration tests. Each starts a stack of its own; each shows one behaviour.

mod access;
mod commands;
mod environments;
mod streams;
mod worker;
