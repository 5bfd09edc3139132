//! What `EventBridge`'s schedule does in AWS: the worker looks for executions that have gone silent.

use std::{convert::Infallible, time::Duration};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::{Error, functions::invoke, lambda::Lambda};

/// How often it looks; in AWS once a minute.
const EVERY: Duration = Duration::from_secs(1);

/// Sweeps for as long as it is polled. A failure is said once, until it passes.
pub(crate) async fn sweep(worker: &Lambda) -> Infallible {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once: the stack is not there yet.
    ticks.tick().await;
    let mut last: Result<(), Error> = Ok(());
    loop {
        ticks.tick().await;
        let order: Value = json!({"sweep": true});
        let swept = invoke(worker, &order).await;
        if let (Err(error), Ok(())) = (&swept, &last) {
            eprintln!("runcast: the sweep fails: {error}");
        }
        last = swept;
    }
}
