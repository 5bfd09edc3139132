//! Takes status updates, commits them to the log, then tells Redis.

mod batch;

use std::{
    collections::HashSet,
    process::ExitCode,
    slice,
    time::{Duration, Instant},
};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, value::RawValue};
use shared::{
    cause,
    config::{Database, Redis},
    function,
    log::{Answer, Log, LogError, Submission},
    publish::Publisher,
    telemetry,
};

use crate::batch::{Batch, Invocation};

/// How long one message may take where the batch has failed: longer than it waits for a lock.
const EACH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long all of them may take, but for the last: Lambda ends the worker after 30 s.
const EACH_PATIENCE: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    function::run(async |env| {
        let (redis, database) = (Redis::from_env(&env)?, Database::from_env(&env)?);
        let (log, publisher) = (Log::new(&database, 1), Publisher::new(&redis));
        // Not a `Value`: one that cannot be held would cost the whole batch.
        let handle = |event: LambdaEvent<Box<RawValue>>| handle(&log, &publisher, event.payload);
        lambda_runtime::run(service_fn(handle)).await
    })
}

async fn handle(
    log: &Log,
    publisher: &Publisher,
    payload: Box<RawValue>,
) -> Result<Value, Diagnostic> {
    let answer = match Invocation::read(payload.get()).map_err(function::failure)? {
        Invocation::Updates(batch) => {
            let answers = commit(log, publisher, &batch).await;
            batch.answer(&answers)
        }
        Invocation::Sweep => Err("this version does not sweep".to_owned()),
    };
    telemetry::flush();
    answer.map_err(function::failure)
}

/// Commits a batch as a whole or, where one message stands in the way of the others, each for itself.
/// Returns what became of each; `None` where it could not be committed now.
async fn commit(log: &Log, publisher: &Publisher, batch: &Batch) -> Vec<Option<Answer>> {
    let error = match log.append(&batch.submissions).await {
        Ok(appended) => {
            publisher.publish(&appended.events).await;
            return appended.answers.into_iter().map(Some).collect();
        }
        Err(error) => error,
    };
    metrics::counter!("PostgresErrors").increment(1);
    tracing::error!(error = cause::chain(&error), "the batch was not committed");
    let mut answers = match batch.messages() {
        Some(messages) if !matches!(error, LogError::Connect(_)) => {
            commit_each(log, publisher, messages).await
        }
        _ => Vec::new(),
    };
    answers.resize(batch.submissions.len(), None);
    answers
}

/// Commits messages one after the other, for as long as Postgres answers and time is left: what it
/// does not come to has no answer.
async fn commit_each<'a>(
    log: &Log,
    publisher: &Publisher,
    messages: impl Iterator<Item = (&'a str, &'a Submission<'static>)>,
) -> Vec<Option<Answer>> {
    let give_up_at = Instant::now() + EACH_PATIENCE;
    let (mut answers, mut events) = (Vec::new(), Vec::new());
    let mut held_groups = HashSet::new();
    for (group, message) in messages {
        if Instant::now() > give_up_at {
            break;
        }
        if held_groups.contains(group) {
            answers.push(None);
            continue;
        }
        match log
            .append_once(slice::from_ref(message), EACH_TIMEOUT)
            .await
        {
            Ok(appended) => {
                events.extend(appended.events);
                answers.extend(appended.answers.into_iter().map(Some));
            }
            Err(error) => {
                tracing::error!(error = cause::chain(&error), "a message was not committed");
                // What Postgres itself refuses concerns this message; silence concerns all.
                if matches!(error, LogError::Connect(_) | LogError::TimedOut(_)) {
                    break;
                }
                held_groups.insert(group);
                answers.push(None);
            }
        }
    }
    publisher.publish(&events).await;
    answers
}
