//! Real `BullMQ`, told what to do to its queues (`tests/node/queues.mjs`).

use std::time::Duration;

use serde_json::{Value, json};

use crate::node::Script;

/// A Node process with `BullMQ`.
pub struct Bull(Script);

impl Bull {
    /// Starts one, for the queues of a prefix.
    ///
    /// # Panics
    /// Where Node or `BullMQ` is missing.
    #[must_use]
    pub fn start(redis_url: &str, prefix: &str) -> Self {
        Bull(Script::start("queues.mjs", "bullmq", &[redis_url, prefix]))
    }

    /// Runs a command; returns the numbers of `Queue.getJobCounts()` after it.
    pub async fn run(&mut self, queue: &str, command: &str) -> Value {
        let order = json!({"queue": queue, "do": command});
        self.order(&order).await
    }

    /// Adds jobs for so long; returns the numbers after it.
    pub async fn flood(&mut self, queue: &str, lasting: Duration) -> Value {
        let milliseconds = u64::try_from(lasting.as_millis()).unwrap();
        let order = json!({"queue": queue, "do": "flood", "milliseconds": milliseconds});
        self.order(&order).await
    }

    /// Runs a command with what it takes; returns the numbers after it.
    ///
    /// # Panics
    /// Where it fails.
    pub async fn order(&mut self, order: &Value) -> Value {
        self.0.order(order).await
    }
}
