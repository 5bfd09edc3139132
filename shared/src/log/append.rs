//! Writing to the log: one transaction for a whole batch, in two round trips.
//!
//! Rows are locked in one fixed order (tests, then jobs, then projects; each by id), so that no
//! two workers can give one number twice, nor wait for each other in a circle.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use deadpool_postgres::Object;
use tokio::time::timeout;
use tokio_postgres::{Client, Row, types::Type};

use super::{
    Log, LogError,
    row::{id, is_null, seq, to_sql, word},
};
use crate::{
    execution::{Event, Id, Kind, Seq, State, Timestamp},
    record::{self, Execution, Executions, KnownEvents, NewEvent, Outcome},
    update::{Invalid, MAX_UPDATE_BYTES, Update, event_id_of},
};

/// How long a transaction may take before its connection counts as dead.
const APPEND_TIMEOUT: Duration = Duration::from_secs(8);

/// An update as it came.
#[derive(Debug)]
pub struct Submission<'a> {
    /// Its JSON.
    pub body: Cow<'a, str>,
    /// What it says.
    pub update: Result<Update, Invalid>,
}

impl<'a> Submission<'a> {
    /// Reads an update from JSON.
    pub fn new(body: impl Into<Cow<'a, str>>) -> Self {
        let body = body.into();
        let update = Update::parse(&body);
        Submission { body, update }
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
    /// The events to publish, in order. Of an execution with a duplicate, its last event is
    /// published again: the first publish may have been lost with its worker.
    pub events: Vec<Event>,
}

impl Log {
    /// Commits a batch, in order: all of it, or none.
    ///
    /// # Errors
    /// Where it can't be written now; it may be sent again as it is.
    pub async fn append(&self, submissions: &[Submission<'_>]) -> Result<Appended, LogError> {
        let mut attempts_left = 3;
        loop {
            attempts_left -= 1;
            let connection = self.connection().await?;
            let transaction = append(&connection, submissions);
            let error = match timeout(APPEND_TIMEOUT, transaction).await {
                Ok(Ok(appended)) => return Ok(appended),
                Ok(Err(error)) => error,
                Err(_) => LogError::TimedOut(APPEND_TIMEOUT),
            };
            // Whatever failed, the transaction may be open: closing the connection ends it.
            drop(Object::take(connection));
            if attempts_left == 0 || !error.is_worth_another_try() {
                return Err(error);
            }
        }
    }
}

async fn append(client: &Client, submissions: &[Submission<'_>]) -> Result<Appended, LogError> {
    let updates: Vec<Update> = submissions
        .iter()
        .filter_map(|submission| submission.update.as_ref().ok().cloned())
        .collect();
    let (before, mut known) = lock(client, &updates).await?;
    let mut after = before.clone();
    let (mut new, outcomes) = record::apply(&updates, &mut after, &mut known, Timestamp::now());

    let answers = answers(submissions, outcomes);
    let rejected: Vec<(&Submission<'_>, &str)> = submissions
        .iter()
        .zip(&answers)
        .filter_map(|(submission, answer)| match answer {
            Answer::Rejected(reason) => Some((submission, reason.as_str())),
            Answer::Accepted | Answer::Duplicate => None,
        })
        .collect();
    after.retain(|key, execution| {
        before
            .get(key)
            .is_none_or(|before| before.state != execution.state)
    });

    let (counted, ..) = tokio::try_join!(
        biased;
        write(client, &new, &after),
        reject(client, &rejected),
        commit(client),
    )?;
    number(&mut new, &counted);
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

/// The last events of executions that were sent a duplicate and nothing new.
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
        .map(|update| (update.kind, update.id.clone()))
        .filter(|key| !after.contains_key(key))
        .collect();
    keys.into_iter()
        .filter_map(|key| before.get(&key).map(Execution::last_event))
}

/// Opens the transaction, locks every execution that the updates concern, and reads which of the
/// events are there already: one round trip, however many there are.
async fn lock(client: &Client, updates: &[Update]) -> Result<(Executions, KnownEvents), LogError> {
    let mut tests = BTreeMap::new();
    let mut jobs = BTreeMap::new();
    for update in updates {
        let owner = (update.organization_id.as_str(), update.project_id.as_str());
        let of_kind = match update.kind {
            Kind::Test => &mut tests,
            Kind::Job => &mut jobs,
        };
        of_kind.entry(update.id.as_str()).or_insert(owner);
        if let (Kind::Test, Some(run_id)) = (update.kind, &update.run_id) {
            jobs.entry(run_id.as_str()).or_insert(owner);
        }
    }
    let (tests, jobs) = (Rows::new(&tests), Rows::new(&jobs));

    // So that there is a row to lock; it counts as reported once its seq is above 0.
    const INSERT: &str = "INSERT INTO executions (kind, id, organization_id, project_id)
         SELECT $1, * FROM unnest($2, $3, $4) AS new(id, organization_id, project_id)
         ORDER BY id
         ON CONFLICT (kind, id) DO NOTHING";
    const LOCK_TESTS: &str =
        "SELECT kind, id, organization_id, project_id, run_id, project_seq, state
         FROM executions
         WHERE kind = 'test' AND id = ANY ($1)
         ORDER BY id
         FOR UPDATE";
    // The tests are locked by now: what they say of their job run holds.
    const LOCK_JOBS: &str =
        "SELECT kind, id, organization_id, project_id, run_id, project_seq, state
         FROM executions
         WHERE kind = 'job' AND id IN (
             SELECT unnest($1)
             UNION SELECT run_id FROM executions WHERE kind = 'test' AND id = ANY ($2))
         ORDER BY id
         FOR UPDATE";
    const KNOWN: &str = "SELECT e.kind, e.id, e.event_id
         FROM unnest($1, $2, $3) AS sent(kind, id, event_id)
         JOIN events e USING (kind, id, event_id)";
    let insert = async |kind: Kind, rows: &Rows<'_>| {
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
            (&kind.as_str(), Type::TEXT),
            (&rows.ids, Type::TEXT_ARRAY),
            (&rows.organizations, Type::TEXT_ARRAY),
            (&rows.projects, Type::TEXT_ARRAY),
        ];
        client.query_typed(INSERT, &parameters).await
    };
    let sent: [Vec<&str>; 3] = [
        updates.iter().map(|update| update.kind.as_str()).collect(),
        updates.iter().map(|update| update.id.as_str()).collect(),
        updates
            .iter()
            .map(|update| update.event_id.as_str())
            .collect(),
    ];
    // Futures that are polled in order are sent in order, without waiting for each other.
    let ((), _, test_rows, _, job_rows, known) = tokio::try_join!(
        biased;
        client.batch_execute("BEGIN"),
        insert(Kind::Test, &tests),
        async { client.query_typed(LOCK_TESTS, &[(&tests.ids, Type::TEXT_ARRAY)]).await },
        insert(Kind::Job, &jobs),
        async {
            let ids = [(&jobs.ids as _, Type::TEXT_ARRAY), (&tests.ids as _, Type::TEXT_ARRAY)];
            client.query_typed(LOCK_JOBS, &ids).await
        },
        async {
            let [kinds, ids, event_ids] = &sent;
            let parameters = [kinds, ids, event_ids].map(|texts| (texts as _, Type::TEXT_ARRAY));
            client.query_typed(KNOWN, &parameters).await
        },
    )?;
    let executions = test_rows.iter().chain(&job_rows).map(execution);
    let known = known.iter().map(|row| {
        let kind = word(row.try_get("kind")?)?;
        Ok((kind, id(row, "id")?, row.try_get("event_id")?))
    });
    Ok((
        executions.collect::<Result<_, LogError>>()?,
        known.collect::<Result<_, LogError>>()?,
    ))
}

/// Executions as columns.
struct Rows<'a> {
    ids: Vec<&'a str>,
    organizations: Vec<&'a str>,
    projects: Vec<&'a str>,
}

impl<'a> Rows<'a> {
    fn new(owners: &BTreeMap<&'a str, (&'a str, &'a str)>) -> Self {
        Rows {
            ids: owners.keys().copied().collect(),
            organizations: owners.values().map(|owner| owner.0).collect(),
            projects: owners.values().map(|owner| owner.1).collect(),
        }
    }
}

fn execution(row: &Row) -> Result<((Kind, Id), Execution), LogError> {
    let kind = word(row.try_get("kind")?)?;
    let execution_id = id(row, "id")?;
    let state = if is_null(row, "state") {
        State::unreported(kind, execution_id.clone())
    } else {
        let state = serde_json::from_str(row.try_get("state")?);
        state.map_err(|error| LogError::Row(error.to_string()))?
    };
    let run_id: Option<&str> = row.try_get("run_id")?;
    Ok((
        (kind, execution_id),
        Execution {
            organization_id: id(row, "organization_id")?,
            project_id: id(row, "project_id")?,
            run_id: run_id.map(word).transpose()?,
            project_seq: seq(row, "project_seq")?,
            state,
        },
    ))
}

/// What identifies a project's sequence.
type Project = (Id, Id, Kind);

fn project_of(event: &Event) -> Project {
    let (organization_id, project_id) = (event.organization_id.clone(), event.project_id.clone());
    (organization_id, project_id, event.kind)
}

/// Writes events and executions; returns the last number given in each project.
async fn write(
    client: &Client,
    new: &[NewEvent],
    executions: &Executions,
) -> Result<BTreeMap<Project, Seq>, LogError> {
    // The numbers of a project are given here, under its row's lock, which is held until the
    // commit: so they have no holes.
    const WRITE: &str = "WITH counted AS (
             INSERT INTO projects (organization_id, project_id, kind, seq)
             SELECT organization_id, project_id, kind, count(*)
             FROM unnest($1, $2, $3) AS event(organization_id, project_id, kind)
             GROUP BY 1, 2, 3
             ORDER BY 1, 2, 3
             ON CONFLICT (organization_id, project_id, kind)
                 DO UPDATE SET seq = projects.seq + excluded.seq
             RETURNING organization_id, project_id, kind, seq
         ), numbered AS (
             SELECT event.*, counted.seq + 1 - row_number() OVER (
                        PARTITION BY organization_id, project_id, kind ORDER BY number DESC
                    ) AS project_seq
             FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) WITH ORDINALITY
                 AS event(organization_id, project_id, kind, id, seq, event_id, status, state,
                          occurred_at, number)
             JOIN counted USING (organization_id, project_id, kind)
         ), added AS (
             INSERT INTO events (organization_id, project_id, kind, id, seq, event_id, status,
                                 state, occurred_at, project_seq)
             SELECT organization_id, project_id, kind, id, seq, event_id, status, state,
                    occurred_at, project_seq
             FROM numbered
         ), changed AS (
             UPDATE executions x
             SET organization_id = c.organization_id, project_id = c.project_id,
                 run_id = c.run_id, seq = c.seq, status = c.status, state = c.state,
                 project_seq = coalesce(n.project_seq, x.project_seq), updated_at = now()
             FROM unnest($10, $11, $12, $13, $14, $15, $16, $17)
                 AS c(organization_id, project_id, kind, id, run_id, seq, status, state)
             LEFT JOIN numbered n USING (kind, id, seq)
             WHERE x.kind = c.kind AND x.id = c.id
         )
         SELECT organization_id, project_id, kind, seq FROM counted";
    let events = || new.iter().map(|new| &new.event);
    let changed = || executions.values();
    let state_json: Vec<_> = changed()
        .map(|execution| execution.state.to_json())
        .collect();
    let event_columns = Columns::new(events(), |event| {
        (
            &event.organization_id,
            &event.project_id,
            event.kind,
            &event.id,
        )
    });
    let changed_columns = Columns::new(changed(), |execution| {
        let (organization_id, project_id) = (&execution.organization_id, &execution.project_id);
        (
            organization_id,
            project_id,
            execution.state.kind(),
            execution.state.id(),
        )
    });
    let event_seqs: Vec<_> = events().map(|event| to_sql(event.seq)).collect();
    let event_ids: Vec<_> = new.iter().map(|new| new.event_id.as_str()).collect();
    let event_statuses: Vec<_> = events().map(|event| event.status.as_str()).collect();
    let event_states: Vec<_> = events().map(|event| &*event.data).collect();
    let occurred: Vec<_> = new.iter().map(|new| new.occurred_at.0).collect();
    let run_ids: Vec<_> = changed()
        .map(|execution| execution.run_id.as_ref().map(Id::as_str))
        .collect();
    let seqs: Vec<_> = changed()
        .map(|execution| to_sql(execution.state.seq()))
        .collect();
    let statuses: Vec<_> = changed()
        .map(|execution| execution.state.status().as_str())
        .collect();
    let states: Vec<_> = state_json.iter().map(|json| &**json).collect();
    let rows = client
        .query_typed(
            WRITE,
            &[
                (&event_columns.organizations, Type::TEXT_ARRAY),
                (&event_columns.projects, Type::TEXT_ARRAY),
                (&event_columns.kinds, Type::TEXT_ARRAY),
                (&event_columns.ids, Type::TEXT_ARRAY),
                (&event_seqs, Type::INT8_ARRAY),
                (&event_ids, Type::TEXT_ARRAY),
                (&event_statuses, Type::TEXT_ARRAY),
                (&event_states, Type::TEXT_ARRAY),
                (&occurred, Type::TIMESTAMPTZ_ARRAY),
                (&changed_columns.organizations, Type::TEXT_ARRAY),
                (&changed_columns.projects, Type::TEXT_ARRAY),
                (&changed_columns.kinds, Type::TEXT_ARRAY),
                (&changed_columns.ids, Type::TEXT_ARRAY),
                (&run_ids, Type::TEXT_ARRAY),
                (&seqs, Type::INT8_ARRAY),
                (&statuses, Type::TEXT_ARRAY),
                (&states, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    let counted = rows.iter().map(|row| {
        let kind = word(row.try_get("kind")?)?;
        let project = (id(row, "organization_id")?, id(row, "project_id")?, kind);
        Ok((project, seq(row, "seq")?))
    });
    counted.collect()
}

/// What identifies executions and their events, as columns.
struct Columns<'a> {
    organizations: Vec<&'a str>,
    projects: Vec<&'a str>,
    kinds: Vec<&'a str>,
    ids: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn new<T: 'a>(
        items: impl Iterator<Item = &'a T> + Clone,
        of: impl Fn(&'a T) -> (&'a Id, &'a Id, Kind, &'a Id),
    ) -> Self {
        let column = |pick: fn((&'a Id, &'a Id, Kind, &'a Id)) -> &'a str| {
            items.clone().map(|item| pick(of(item))).collect()
        };
        Columns {
            organizations: column(|(organization_id, ..)| organization_id.as_str()),
            projects: column(|(_, project_id, ..)| project_id.as_str()),
            kinds: column(|(.., kind, _)| kind.as_str()),
            ids: column(|(.., id)| id.as_str()),
        }
    }
}

/// Gives the events the numbers that the log gave them.
fn number(new: &mut [NewEvent], counted: &BTreeMap<Project, Seq>) {
    let mut last = counted.clone();
    for new in new.iter_mut().rev() {
        if let Some(seq) = last.get_mut(&project_of(&new.event)) {
            new.event.project_seq = *seq;
            seq.0 = seq.0.saturating_sub(1);
        }
    }
}

async fn reject(client: &Client, rejected: &[(&Submission<'_>, &str)]) -> Result<(), LogError> {
    if rejected.is_empty() {
        return Ok(());
    }
    let event_ids: Vec<_> = rejected
        .iter()
        .map(|(submission, _)| submission.event_id())
        .collect();
    let reasons: Vec<_> = rejected.iter().map(|(_, reason)| clean(reason)).collect();
    let bodies: Vec<_> = rejected
        .iter()
        .map(|(submission, _)| clean(&submission.body))
        .collect();
    client
        .query_typed(
            "INSERT INTO rejected_updates (event_id, reason, body) SELECT * FROM unnest($1, $2, $3)",
            &[
                (&event_ids, Type::TEXT_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
                (&bodies, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

/// What Postgres can keep of a text: no NUL, and not too much.
fn clean(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_UPDATE_BYTES);
    text.get(..end)
        .unwrap_or_default()
        .replace('\0', "\u{fffd}")
}

async fn commit(client: &Client) -> Result<(), LogError> {
    Ok(client.batch_execute("COMMIT").await?)
}
