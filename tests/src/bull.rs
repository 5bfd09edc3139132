//! Real `BullMQ`, told what to do to its queues (`tests/node/queues.mjs`).

use std::{process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{PATIENCE, checkout};

/// A Node process with `BullMQ`.
pub struct Bull {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Bull {
    /// Starts one, for the queues of a prefix.
    ///
    /// # Panics
    /// Where Node or `BullMQ` is missing.
    #[must_use]
    pub fn start(redis_url: &str, prefix: &str) -> Self {
        assert!(
            checkout("tests/node/node_modules/bullmq").exists(),
            "BullMQ is missing: run `make setup-tests`"
        );
        let mut child = Command::new("node")
            .arg(checkout("tests/node/queues.mjs"))
            .args([redis_url, prefix])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("node does not start ({error}): install Node 20.19 or newer")
            });
        Bull {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
        }
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
        let line = format!("{order}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        let answer = timeout(PATIENCE, self.output.next_line()).await;
        let answer = answer.unwrap().unwrap();
        let answer = answer.unwrap_or_else(|| panic!("BullMQ has failed at {order}"));
        serde_json::from_str(&answer).unwrap()
    }
}
