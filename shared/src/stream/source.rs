//! Where frames come from.

use std::sync::Arc;

use crate::execution::{Timestamp, TraceParent};

/// Where a stream's frames come from.
pub trait Source: Send + 'static {
    /// Waits for what comes next. Once it was not [`Next::Frame`], the source is over.
    fn next(&mut self) -> impl Future<Output = Next> + Send;

    /// Ends its subscription; returns once Redis knows.
    fn close(&mut self) -> impl Future<Output = Stats> + Send;
}

/// What to send to the viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The client's cursor is of no use: it starts over from the states that follow.
    Reset,
    /// A state.
    State {
        /// The cursor once it is sent; `None` where more belongs to it, or there is none.
        id: Option<String>,
        /// The state, as JSON.
        data: Arc<str>,
        /// When Redis was told of it, where it came from there.
        published_at: Option<Timestamp>,
        /// Of which trace the update was that made it, where somebody keeps that.
        traceparent: Option<TraceParent>,
    },
    /// Nothing to show, only where the client stands.
    Cursor(String),
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Something to send.
    Frame(Frame),
    /// All that is watched has ended, and everything was sent.
    Complete,
    /// What the viewer waited for turned out not to be its.
    Closed,
}

/// What happened in a source's life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Reads of the log while Redis was away.
    pub fallback_polls: u64,
    /// Events that came from the log after the first read: Redis had not brought them.
    pub repaired: u64,
}
