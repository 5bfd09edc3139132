//! Taking updates: from their JSON to the log, to Redis and to the answer, however they come.

mod together;

use std::{
    collections::{BTreeMap, HashSet},
    slice,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::value::RawValue;
use tracing::{Instrument, Span};

use self::together::Together;
use crate::{
    access::grant::Grant,
    cause,
    config::{self, ConfigError, Database, Env, Redis},
    execution::{Kind, Timestamp},
    log::{Answer, Log, LogError, Submission},
    publish::Publisher,
    record::Swept,
    telemetry::traces::{self, Via},
    update::Update,
};

/// How long one update may take where the batch has failed: longer than it waits for a lock.
const EACH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long all of them may take, but for the last: Lambda ends the function after 30 s.
const EACH_PATIENCE: Duration = Duration::from_secs(8);

/// How long a sweep goes on at most, while there is more to look at.
const SWEEP_PATIENCE: Duration = Duration::from_secs(15);

/// How many updates are committed together: a direct invocation may bring tens of thousands, and what
/// they concern is all in memory until then. SQS brings ten.
const MAX_TOGETHER: usize = 1_000;

/// How many of one update's warnings are logged.
const MAX_LOGGED: usize = 3;

/// Commits updates, then tells Redis.
#[derive(Debug)]
pub struct Ingest {
    /// Where they are committed.
    pub log: Log,
    /// Where they are told.
    pub publisher: Publisher,
    /// See [`config::stalled_after`].
    pub stalled_after: Option<u32>,
    together: Together,
}

impl Ingest {
    /// Reads the configuration; commits up to so many batches at once.
    ///
    /// # Errors
    /// Where a variable has a value that it does not take.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn from_env(env: &Env, connections: usize) -> Result<Self, ConfigError> {
        let (redis, database) = (Redis::from_env(env)?, Database::from_env(env)?);
        Ok(Ingest {
            stalled_after: config::stalled_after(env)?,
            log: Log::writer(&database, connections),
            publisher: Publisher::new(&redis),
            together: Together::default(),
        })
    }

    /// Commits a batch as a whole or, where one update stands in the way of the others, each for
    /// itself: in its group, what follows one that cannot be committed must not overtake it. Without
    /// groups, a batch is committed as a whole or not at all. Returns what became of each; `None` where
    /// it could not be committed now.
    pub async fn commit(
        &self,
        submissions: &mut [Submission<'_>],
        groups: Option<&[String]>,
        via: Via<'_>,
    ) -> Vec<Option<Answer>> {
        let span = traces::process(submissions, via);
        adopt(submissions, &span);
        let commit = self.commit_in_parts(submissions, groups);
        commit.instrument(span).await
    }

    async fn commit_in_parts(
        &self,
        submissions: &[Submission<'_>],
        groups: Option<&[String]>,
    ) -> Vec<Option<Answer>> {
        let mut answers = Vec::with_capacity(submissions.len());
        let mut failure = None;
        for part in submissions.chunks(MAX_TOGETHER) {
            let append = self.log.append(part, self.stalled_after);
            // What is passed on is copied, and it is large.
            match traces::commit(part.len(), Box::pin(append)).await {
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
        if let Some(groups) = groups
            && !matches!(error, LogError::Connect(_))
        {
            // What was committed already is a duplicate by now.
            answers = self.commit_each(submissions, groups).await;
        }
        answers.resize(submissions.len(), None);
        answers
    }

    /// Commits updates one after the other, for as long as Postgres answers and time is left: what it
    /// does not come to has no answer.
    async fn commit_each(
        &self,
        submissions: &[Submission<'_>],
        groups: &[String],
    ) -> Vec<Option<Answer>> {
        let give_up_at = Instant::now() + EACH_PATIENCE;
        let (mut answers, mut events) = (Vec::new(), Vec::new());
        let mut held_groups = HashSet::new();
        for (submission, group) in submissions.iter().zip(groups) {
            if Instant::now() > give_up_at {
                break;
            }
            if held_groups.contains(group) {
                answers.push(None);
                continue;
            }
            let submission = slice::from_ref(submission);
            let append = self
                .log
                .append_once(submission, self.stalled_after, EACH_TIMEOUT);
            match traces::commit(1, Box::pin(append)).await {
                Ok(appended) => {
                    events.extend(appended.events);
                    answers.extend(appended.answers.into_iter().map(Some));
                }
                Err(error) => {
                    tracing::error!(error = cause::chain(&error), "an update was not committed");
                    // What Postgres itself refuses concerns this update; silence concerns all.
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

    /// Looks for executions of which nothing is heard any more, for as long as there is time. It may be
    /// done by several at once.
    ///
    /// # Errors
    /// Where the log can't be read or written now.
    pub async fn sweep(&self) -> Result<Swept, LogError> {
        let give_up_at = Instant::now() + SWEEP_PATIENCE;
        let mut swept = Swept::default();
        loop {
            let sweep = self.log.sweep(self.stalled_after).await;
            let sweep = sweep.inspect_err(|error| {
                metrics::counter!("PostgresErrors").increment(1);
                tracing::error!(error = cause::chain(error), "the sweep failed");
            })?;
            self.publisher.publish(&sweep.events).await;
            swept.stale += sweep.swept.stale;
            swept.given_up += sweep.swept.given_up;
            if !sweep.more || Instant::now() > give_up_at {
                break;
            }
        }
        metrics::counter!("Sweeps").increment(1);
        metrics::counter!("ExecutionsStale").increment(swept.stale as u64);
        metrics::counter!("ExecutionsGivenUp").increment(swept.given_up as u64);
        Ok(swept)
    }
}

/// The members of a payload, each as its text: what cannot be read in one update must not cost the
/// others.
///
/// # Errors
/// Where it is no object, in words.
pub fn members(payload: &str) -> Result<BTreeMap<String, &RawValue>, String> {
    if !payload.trim_start().starts_with('{') {
        return Err("not an object".to_owned());
    }
    serde_json::from_str(payload).map_err(|error| format!("not JSON ({error})"))
}

/// The updates of a list, each as its text.
///
/// # Errors
/// Where it is no list, in words.
pub fn list(updates: &str) -> Result<Vec<&RawValue>, &'static str> {
    serde_json::from_str(updates).map_err(|_| "not a batch of updates: updates is no list")
}

/// An update of whoever has this grant: what the grant says of it, it need not say, and must not
/// contradict.
#[must_use]
pub fn submission(body: &str, grant: &Grant) -> Submission<'static> {
    let read = Update::parse_granted(body, Timestamp::now(), grant);
    Submission::of(body.to_owned().into(), read)
}

/// Makes updates part of a trace, where they are of none.
pub(crate) fn adopt(submissions: &mut [Submission<'_>], span: &Span) {
    let Some(traceparent) = traces::named(span) else {
        return;
    };
    let updates = submissions
        .iter_mut()
        .filter_map(|it| it.update.as_mut().ok());
    for update in updates {
        update
            .traceparent
            .get_or_insert_with(|| traceparent.clone());
    }
}

/// The group of an update, as producers name it for SQS: within it, order is kept.
#[must_use]
pub fn group_of(submission: &Submission<'_>) -> String {
    match &submission.update {
        // A run and its tests keep their order.
        Ok(Update {
            kind: Kind::Test,
            run_id: Some(run_id),
            ..
        }) => format!("{}:{run_id}", Kind::Job),
        Ok(update) => format!("{}:{}", update.kind, update.id),
        Err(_) => String::new(),
    }
}

/// What became of updates, as their sender is told.
#[derive(Debug, Serialize)]
pub struct Receipt<'a> {
    accepted: usize,
    duplicates: usize,
    rejected: Vec<Rejected<'a>>,
    warnings: Vec<Warned<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rejected<'a> {
    index: usize,
    event_id: Option<String>,
    reason: &'a str,
}

#[derive(Debug, Serialize)]
struct Warned<'a> {
    index: usize,
    field: &'a str,
    reason: &'a str,
}

impl<'a> Receipt<'a> {
    /// Counts and logs what became of these updates.
    #[must_use]
    pub fn new(submissions: &'a [Submission<'_>], answers: &'a [Option<Answer>]) -> Self {
        let count = |wanted| {
            let is_wanted = |answer: &&Option<Answer>| answer.as_ref() == Some(&wanted);
            answers.iter().filter(is_wanted).count()
        };
        let receipt = Receipt {
            accepted: count(Answer::Accepted),
            duplicates: count(Answer::Duplicate),
            rejected: rejected(submissions, answers),
            warnings: warnings(submissions, answers),
        };
        metrics::counter!("AcceptedUpdates").increment(receipt.accepted as u64);
        metrics::counter!("RejectedUpdates").increment(receipt.rejected.len() as u64);
        receipt
    }
}

fn rejected<'a>(
    submissions: &[Submission<'_>],
    answers: &'a [Option<Answer>],
) -> Vec<Rejected<'a>> {
    let mut rejected = Vec::new();
    for (index, (answer, submission)) in answers.iter().zip(submissions).enumerate() {
        if let Some(Answer::Rejected(reason)) = answer {
            let event_id = submission.event_id();
            // The reason may quote the payload: it is in `rejected_updates`.
            tracing::warn!(event_id, "an update was rejected");
            rejected.push(Rejected {
                index,
                event_id,
                reason,
            });
        }
    }
    rejected
}

/// What was left out of the updates that are in the log now.
fn warnings<'a>(submissions: &'a [Submission<'_>], answers: &[Option<Answer>]) -> Vec<Warned<'a>> {
    let mut warned = Vec::new();
    for (index, (answer, submission)) in answers.iter().zip(submissions).enumerate() {
        let (Some(Answer::Accepted), Ok(update)) = (answer, &submission.update) else {
            continue;
        };
        log_warnings(update, submission);
        warned.extend(submission.warnings.iter().map(|warning| Warned {
            index,
            field: &warning.field,
            reason: &warning.reason,
        }));
    }
    warned
}

fn log_warnings(update: &Update, submission: &Submission<'_>) {
    for warning in submission.warnings.iter().take(MAX_LOGGED) {
        tracing::warn!(
            kind = %update.kind,
            id = %update.id,
            field = warning.field,
            reason = warning.reason,
            "a value was not kept as it came"
        );
    }
}
