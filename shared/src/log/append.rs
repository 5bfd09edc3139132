//! Writing to the log: one transaction for a whole batch, in two round trips.

mod lock;
mod sweep;
mod write;

use std::{borrow::Cow, collections::BTreeSet, time::Duration};

use backon::Retryable;
use tokio::time::{Instant, timeout_at};

pub use self::sweep::Sweep;
use self::{lock::lock, write::write_and_commit};
use super::{Log, LogError, session::Session};
use crate::{
    execution::{Event, Timestamp},
    jitter::backoff,
    record::{self, Execution, Executions, Outcome, Rules},
    update::{Invalid, Update, Warning, event_id_of},
};

/// How long a transaction may take before its connection counts as dead.
const APPEND_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a batch is tried while Postgres restarts or fails over. A batch that goes back to the
/// queue comes again only when its visibility timeout is over, tens of seconds later.
const APPEND_PATIENCE: Duration = Duration::from_secs(5);

/// An update as it came.
#[derive(Debug)]
pub struct Submission<'a> {
    /// Its JSON.
    pub body: Cow<'a, str>,
    /// What it says.
    pub update: Result<Update, Invalid>,
    /// What it says that could not be read.
    pub warnings: Vec<Warning>,
}

impl<'a> Submission<'a> {
    /// Reads an update from JSON.
    pub fn new(body: impl Into<Cow<'a, str>>) -> Self {
        let body = body.into();
        let read = Update::parse(&body, Timestamp::now());
        Self::of(body, read)
    }

    /// An update as it came, and what was read of it.
    pub(crate) fn of(body: Cow<'a, str>, read: Result<(Update, Vec<Warning>), Invalid>) -> Self {
        let (update, warnings) = match read {
            Ok((update, warnings)) => (Ok(update), warnings),
            Err(invalid) => (Err(invalid), Vec::new()),
        };
        Submission {
            body,
            update,
            warnings,
        }
    }

    /// Its `eventId`, where it has one.
    #[must_use]
    pub fn event_id(&self) -> Option<String> {
        match &self.update {
            Ok(update) => Some(update.event_id.clone()),
            Err(_) => event_id_of(&self.body),
        }
    }
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is in the log now.
    Accepted,
    /// It was in the log already.
    Duplicate,
    /// It can never succeed; the reason is in `rejected_updates` too.
    Rejected(String),
}

/// What became of a batch.
#[derive(Debug)]
pub struct Appended {
    /// An answer for each submission.
    pub answers: Vec<Answer>,
    /// The events to publish, in order; where nothing but duplicates came, the last ones again.
    pub events: Vec<Event>,
}

impl Log {
    /// Commits a batch, in order: all of it, or none. An execution that is running and says nothing
    /// of it may be silent for `stalled_after` seconds.
    ///
    /// # Errors
    /// Where it can't be written now; it may be sent again as it is.
    pub async fn append(
        &self,
        submissions: &[Submission<'_>],
        stalled_after: Option<u32>,
    ) -> Result<Appended, LogError> {
        let give_up_at = Instant::now() + APPEND_PATIENCE;
        let waits = backoff().with_max_delay(Duration::from_millis(500));
        let append = || self.append_once(submissions, stalled_after, APPEND_TIMEOUT);
        let again = |error: &LogError| {
            let may_pass = matches!(error, LogError::Connect(_)) || error.is_worth_another_try();
            may_pass && Instant::now() < give_up_at
        };
        append.retry(waits).when(again).await
    }

    /// The same without waiting for a Postgres that is away, and within this time.
    ///
    /// # Errors
    /// As there.
    pub async fn append_once(
        &self,
        submissions: &[Submission<'_>],
        stalled_after: Option<u32>,
        within: Duration,
    ) -> Result<Appended, LogError> {
        let append = async |session: &Session| append(session, submissions, stalled_after).await;
        self.transaction(within, append).await
    }

    /// Does something in a transaction, which it opens and commits itself, within this time.
    async fn transaction<T>(
        &self,
        within: Duration,
        work: impl AsyncFnOnce(&Session) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let give_up_at = Instant::now() + within;
        let timed_out = || LogError::TimedOut(within);
        let connected = timeout_at(give_up_at, self.session()).await;
        let session = connected.map_err(|_| timed_out())??;
        let error = match timeout_at(give_up_at, work(&session)).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error,
            Err(_) => timed_out(),
        };
        // Whatever failed, the transaction may be open: closing the connection ends it.
        session.close();
        Err(error)
    }
}

async fn append(
    session: &Session,
    submissions: &[Submission<'_>],
    stalled_after: Option<u32>,
) -> Result<Appended, LogError> {
    let updates: Vec<Update> = submissions
        .iter()
        .filter_map(|submission| submission.update.as_ref().ok().cloned())
        .collect();
    let (before, mut known) = lock(session, &updates).await?;
    let mut after = before.clone();
    let rules = Rules {
        now: Timestamp::now(),
        stalled_after,
    };
    let (mut new, outcomes) = record::apply(&updates, &mut after, &mut known, &rules);

    let answers = answers(submissions, outcomes);
    let rejected: Vec<(&Submission<'_>, &str)> = submissions
        .iter()
        .zip(&answers)
        .filter_map(|(submission, answer)| match answer {
            Answer::Rejected(reason) => Some((submission, reason.as_str())),
            Answer::Accepted | Answer::Duplicate => None,
        })
        .collect();
    after.retain(|key, execution| before.get(key) != Some(execution));

    write_and_commit(session, &mut new, &after, &rejected).await?;
    let again = again(submissions, &answers, &before, &after);
    let events = again.chain(new.into_iter().map(|new| new.event)).collect();
    Ok(Appended { answers, events })
}

fn answers(submissions: &[Submission<'_>], outcomes: Vec<Outcome>) -> Vec<Answer> {
    let mut outcomes = outcomes.into_iter();
    let answer = |submission: &Submission<'_>| match &submission.update {
        Err(invalid) => Answer::Rejected(invalid.to_string()),
        Ok(_) => match outcomes.next() {
            Some(Outcome::Accepted) => Answer::Accepted,
            Some(Outcome::Rejected(rejection)) => Answer::Rejected(rejection.to_string()),
            Some(Outcome::Duplicate) | None => Answer::Duplicate,
        },
    };
    submissions.iter().map(answer).collect()
}

/// The last events of executions that were sent a duplicate and nothing new, and of the job runs of
/// such tests: the first publish may have been lost with its worker.
fn again(
    submissions: &[Submission<'_>],
    answers: &[Answer],
    before: &Executions,
    after: &Executions,
) -> impl Iterator<Item = Event> {
    let duplicates = submissions.iter().zip(answers);
    let keys: BTreeSet<_> = duplicates
        .filter(|(_, answer)| **answer == Answer::Duplicate)
        .filter_map(|(submission, _)| submission.update.as_ref().ok())
        .map(Update::key)
        .flat_map(|key| {
            let run = before.get(&key).and_then(Execution::run_key);
            [Some(key), run]
        })
        .flatten()
        .filter(|key| !after.contains_key(key))
        .collect();
    keys.into_iter()
        .filter_map(|key| before.get(&key).map(Execution::last_event))
}
