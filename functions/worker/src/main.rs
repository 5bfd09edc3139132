//! Takes status updates, commits them to the log, then tells Redis.

mod batch;

use std::{
    collections::HashSet,
    process::ExitCode,
    slice,
    time::{Duration, Instant},
};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json, value::RawValue};
use shared::{
    cause,
    config::{self, Database, Redis},
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

/// How many updates are committed together: a direct invocation may bring tens of thousands, and what
/// they concern is all in memory until then. SQS brings ten.
const MAX_TOGETHER: usize = 1_000;

/// How long a sweep goes on at most, while there is more to look at.
const SWEEP_PATIENCE: Duration = Duration::from_secs(15);

/// What the invocations of one process share.
struct Worker {
    log: Log,
    publisher: Publisher,
    /// See [`config::stalled_after`].
    stalled_after: Option<u32>,
}

fn main() -> ExitCode {
    function::run(async |env| {
        let (redis, database) = (Redis::from_env(&env)?, Database::from_env(&env)?);
        let worker = Worker {
            stalled_after: config::stalled_after(&env)?,
            log: Log::writer(&database),
            publisher: Publisher::new(&redis),
        };
        // Not a `Value`: one that cannot be held would cost the whole batch.
        let handle = |event: LambdaEvent<Box<RawValue>>| worker.handle(event.payload);
        lambda_runtime::run(service_fn(handle)).await
    })
}

impl Worker {
    async fn handle(&self, payload: Box<RawValue>) -> Result<Value, Diagnostic> {
        let answer = match Invocation::read(payload.get()).map_err(function::failure)? {
            Invocation::Updates(batch) => {
                let answers = self.commit(&batch).await;
                batch.answer(&answers)
            }
            Invocation::Sweep => self.sweep().await,
        };
        telemetry::flush();
        answer.map_err(function::failure)
    }

    /// Looks for executions of which nothing is heard any more, for as long as there is time.
    async fn sweep(&self) -> Result<Value, String> {
        let give_up_at = Instant::now() + SWEEP_PATIENCE;
        let (mut stale, mut given_up) = (0, 0);
        loop {
            let sweep = self.log.sweep(self.stalled_after).await.map_err(|error| {
                metrics::counter!("PostgresErrors").increment(1);
                tracing::error!(error = cause::chain(&error), "the sweep failed");
                "the log cannot be swept now; see the function's log".to_owned()
            })?;
            self.publisher.publish(&sweep.events).await;
            stale += sweep.swept.stale;
            given_up += sweep.swept.given_up;
            if !sweep.more || Instant::now() > give_up_at {
                break;
            }
        }
        metrics::counter!("Sweeps").increment(1);
        metrics::counter!("ExecutionsStale").increment(stale as u64);
        metrics::counter!("ExecutionsGivenUp").increment(given_up as u64);
        Ok(json!({"stale": stale, "givenUp": given_up}))
    }

    /// Commits a batch as a whole or, where one message stands in the way of the others, each for
    /// itself. Returns what became of each; `None` where it could not be committed now.
    async fn commit(&self, batch: &Batch) -> Vec<Option<Answer>> {
        let mut answers = Vec::with_capacity(batch.submissions.len());
        let mut failure = None;
        for part in batch.submissions.chunks(MAX_TOGETHER) {
            match self.log.append(part, self.stalled_after).await {
                Ok(appended) => {
                    self.publisher.publish(&appended.events).await;
                    answers.extend(appended.answers.into_iter().map(Some));
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let Some(error) = failure else {
            return answers;
        };
        metrics::counter!("PostgresErrors").increment(1);
        tracing::error!(error = cause::chain(&error), "the batch was not committed");
        if let Some(messages) = batch.messages()
            && !matches!(error, LogError::Connect(_))
        {
            answers = self.commit_each(messages).await;
        }
        answers.resize(batch.submissions.len(), None);
        answers
    }

    /// Commits messages one after the other, for as long as Postgres answers and time is left: what it
    /// does not come to has no answer.
    async fn commit_each<'a>(
        &self,
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
            let message = slice::from_ref(message);
            let append = self
                .log
                .append_once(message, self.stalled_after, EACH_TIMEOUT);
            match append.await {
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
        self.publisher.publish(&events).await;
        answers
    }
}
