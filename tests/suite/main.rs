//! The integration tests. Each starts a stack of its own; each shows one behaviour.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and prints its seed"
)]

mod access;
mod artifacts;
mod browser;
mod cluster;
mod commands;
mod cost;
mod custom_resource;
mod docs;
mod environments;
mod failover;
mod faults;
mod flood;
mod iam;
mod ingest;
mod life;
mod limits;
mod migration;
mod next;
mod notify;
mod options;
mod other_lambdas;
mod producers;
mod provider;
mod queues;
mod reports;
mod runs;
mod secrecy;
mod service;
mod specs;
mod streams;
mod tenancy;
mod tls;
mod tokens;
mod traces;
mod up;
mod worker;
