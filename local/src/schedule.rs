//! What `EventBridge`'s schedules do in AWS: the worker looks for executions that have gone silent, and
//! who is to be told of what has happened, is told.

use std::{convert::Infallible, time::Duration};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Error,
    functions::{Scheduled, invoke},
    lambda::Lambda,
};

/// How often; in AWS once a minute.
const EVERY: Duration = Duration::from_secs(1);

/// Keeps the schedules for as long as it is polled.
pub(crate) async fn run(scheduled: &Scheduled) -> Infallible {
    let notify = async {
        match &scheduled.notify {
            Some(notify) => keep(notify, json!({})).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = keep(&scheduled.sweep, json!({"sweep": true})) => never,
        never = notify => never,
    }
}

/// Keeps one. A failure is said once, until it passes.
async fn keep(lambda: &Lambda, order: Value) -> Infallible {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once: the stack is not there yet.
    ticks.tick().await;
    let mut last: Result<(), Error> = Ok(());
    loop {
        ticks.tick().await;
        let done = invoke(lambda, &order).await;
        if let (Err(error), Ok(())) = (&done, &last) {
            eprintln!("runcast: {} fails: {error}", lambda.name());
        }
        last = done;
    }
}
