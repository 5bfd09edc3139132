//! What Runcast's functions share.
//!
//! One idea holds it together, *a log and a nudge*: Postgres holds every event of every execution,
//! numbered 1, 2, 3 … ([`log`]). Redis pub/sub carries each event to whoever watches, a moment
//! after its commit ([`publish`], [`bus`]). A stream trusts only the log: a Redis message is the
//! next event if its number is exactly the next one, and otherwise only a nudge to read the log
//! ([`cursor`], [`feed`]). [`stream`] turns a feed into Server-Sent Events, [`http`] serves them to
//! whom [`access`] lets in.

pub mod access;
pub mod bus;
pub mod cause;
mod client;
pub mod config;
pub mod cursor;
pub mod drain;
mod endpoint;
pub mod error;
pub mod execution;
pub mod feed;
pub mod http;
pub mod iam;
pub mod ingest;
mod jitter;
pub mod log;
pub mod message;
pub mod publish;
pub mod queue;
pub mod record;
pub mod stream;
pub mod telemetry;
pub mod tls;
pub mod update;
pub mod watch;
