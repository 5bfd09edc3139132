//! The SSE endpoint for live statistics of the queues.

fn main() {}
