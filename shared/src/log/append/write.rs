//! The second round trip: writing what became of a batch, and the commit.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::Submission;
use crate::{
    execution::{Event, Id, Key, Kind, Seq, Timestamp},
    log::{
        LogError,
        row::{id, seq, to_sql, word},
        session::{Parameter, Session},
    },
    record::{Execution, Executions, NewEvent},
    update::MAX_KEPT_BYTES,
};

/// What identifies a project's sequence.
type Project = (Id, Id, Kind);

fn project_of(event: &Event) -> Project {
    let (organization_id, project_id) = (event.organization_id.clone(), event.project_id.clone());
    (organization_id, project_id, event.kind)
}

/// How many rejected updates are kept in an hour, and of how many bytes: a producer that sends nothing
/// else shall not fill the disk.
const MAX_REJECTED: i64 = 10_000;
const MAX_REJECTED_BYTES: i64 = 64 << 20;

/// How many events one statement writes at most.
const PART: usize = 1000;

/// Writes events and executions, which are those that changed, and what was rejected; commits; gives
/// the events the numbers that the log gives them. It is one round trip, but where a run of
/// thousands of tests ends with all of them: statements are bounded.
pub(super) async fn write_and_commit(
    session: &Session,
    new: &mut [NewEvent],
    executions: &Executions,
    rejected: &[(&Submission<'_>, &str)],
) -> Result<(), LogError> {
    let last_part: BTreeMap<Key, usize> = new
        .iter()
        .enumerate()
        .map(|(index, new)| (new.event.key(), index / PART))
        .collect();
    let parts = new.len().div_ceil(PART).max(1);
    for part in 0..parts {
        let from = part * PART;
        let to = new.len().min(from + PART);
        let new = new.get_mut(from..to).unwrap_or_default();
        // An execution is written with its last event.
        let of_part = |key: &Key| last_part.get(key).copied().unwrap_or(0) == part;
        let executions = executions.iter().filter(|(key, _)| of_part(key));
        let executions: Vec<_> = executions.map(|(_, execution)| execution).collect();
        let end = (part + 1 == parts).then_some(rejected);
        let counted = write(session, new, &executions, end).await?;
        number(new, &counted);
    }
    Ok(())
}

/// The numbers of a project are given here, under its row's lock, which is held until the commit: so
/// they have no holes.
const WRITE: &str = "WITH counted AS (
         INSERT INTO projects (organization_id, project_id, kind, seq)
         SELECT organization_id, project_id, kind, count(*)
         FROM unnest($1, $2, $3) AS event(organization_id, project_id, kind)
         GROUP BY 1, 2, 3
         ORDER BY 1, 2, 3
         ON CONFLICT (organization_id, project_id, kind)
             DO UPDATE SET seq = projects.seq + excluded.seq
         RETURNING organization_id, project_id, kind, seq
     ), added AS (
         INSERT INTO events (organization_id, project_id, kind, id, seq, event_id, status, state,
                             occurred_at, run_id, run_seq, project_seq, traceparent)
         SELECT e.organization_id, e.project_id, e.kind, e.id, e.seq, e.event_id, e.status, e.state,
                e.occurred_at, e.run_id, e.run_seq, counted.seq - e.later, e.traceparent
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $26)
             AS e(organization_id, project_id, kind, id, seq, event_id, status, state, occurred_at,
                  run_id, run_seq, later, traceparent)
         JOIN counted USING (organization_id, project_id, kind)
     ), changed AS (
         UPDATE executions x
         SET project_id = c.project_id, run_id = c.run_id, run_seq = c.run_seq,
             seq = c.seq, status = c.status,
             state = c.state, look_at = c.look_at, private = c.private,
             project_seq = coalesce(counted.seq - c.later, x.project_seq), updated_at = now(),
             -- Those that ended in one batch, ended in its order.
             ended_at = CASE WHEN c.ended_at = x.ended_at THEN x.ended_at
                 ELSE c.ended_at - coalesce(c.later, 0) * interval '1 microsecond' END
         FROM unnest($13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)
             AS c(organization_id, project_id, kind, id, run_id, run_seq, seq, status, state, ended_at,
                  look_at, private, later)
         LEFT JOIN counted USING (organization_id, project_id, kind)
         WHERE x.kind = c.kind AND x.id = c.id AND x.organization_id = c.organization_id
     )
     SELECT organization_id, project_id, kind, seq, (SELECT epoch FROM epoch) FROM counted";

/// Writes events and executions, and, where it is the end, what was rejected, and commits; returns the
/// last number given in each project, and its epoch.
async fn write(
    session: &Session,
    new: &[NewEvent],
    executions: &[&Execution],
    end: Option<&[(&Submission<'_>, &str)]>,
) -> Result<BTreeMap<Project, (Seq, u64)>, LogError> {
    let events = || new.iter().map(|new| &new.event);
    let changed = || executions.iter().copied();
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
    let event_run_ids: Vec<_> = events()
        .map(|event| event.run_id.as_ref().map(Id::as_str))
        .collect();
    let event_run_seqs: Vec<_> = events()
        .map(|event| event.run_id.is_some().then(|| to_sql(event.run_seq)))
        .collect();
    let traceparents: Vec<_> = events()
        .map(|event| event.traceparent.as_ref().map(ToString::to_string))
        .collect();
    let run_ids: Vec<_> = changed()
        .map(|execution| execution.state.run_id().map(Id::as_str))
        .collect();
    let run_seqs: Vec<_> = changed()
        .map(|execution| to_sql(execution.run_seq))
        .collect();
    let seqs: Vec<_> = changed()
        .map(|execution| to_sql(execution.state.seq()))
        .collect();
    let statuses: Vec<_> = changed()
        .map(|execution| execution.state.status().as_str())
        .collect();
    let states: Vec<_> = state_json.iter().map(|json| &**json).collect();
    let time = |at: Option<Timestamp>| at.map(|at| at.0);
    let ended: Vec<_> = changed()
        .map(|execution| time(execution.ended_at))
        .collect();
    let looks: Vec<_> = changed().map(|execution| time(execution.look_at)).collect();
    let private: Vec<_> = changed()
        .map(|execution| execution.private.to_json())
        .collect();
    let later = later(new);
    let changed_later = later_of(executions, new, &later);
    let parameters: [Parameter<'_>; 26] = [
        (&event_columns.organizations, Type::TEXT_ARRAY),
        (&event_columns.projects, Type::TEXT_ARRAY),
        (&event_columns.kinds, Type::TEXT_ARRAY),
        (&event_columns.ids, Type::TEXT_ARRAY),
        (&event_seqs, Type::INT8_ARRAY),
        (&event_ids, Type::TEXT_ARRAY),
        (&event_statuses, Type::TEXT_ARRAY),
        (&event_states, Type::TEXT_ARRAY),
        (&occurred, Type::TIMESTAMPTZ_ARRAY),
        (&event_run_ids, Type::TEXT_ARRAY),
        (&event_run_seqs, Type::INT8_ARRAY),
        (&later, Type::INT8_ARRAY),
        (&changed_columns.organizations, Type::TEXT_ARRAY),
        (&changed_columns.projects, Type::TEXT_ARRAY),
        (&changed_columns.kinds, Type::TEXT_ARRAY),
        (&changed_columns.ids, Type::TEXT_ARRAY),
        (&run_ids, Type::TEXT_ARRAY),
        (&run_seqs, Type::INT8_ARRAY),
        (&seqs, Type::INT8_ARRAY),
        (&statuses, Type::TEXT_ARRAY),
        (&states, Type::TEXT_ARRAY),
        (&ended, Type::TIMESTAMPTZ_ARRAY),
        (&looks, Type::TIMESTAMPTZ_ARRAY),
        (&private, Type::TEXT_ARRAY),
        (&changed_later, Type::INT8_ARRAY),
        (&traceparents, Type::TEXT_ARRAY),
    ];
    let rows = match end {
        None => session.query(WRITE, &parameters).await?,
        Some(rejected) => {
            // What is sent together must not wait for anything: the commit would come before it.
            session.prepare(WRITE, &parameters).await?;
            let (rows, ..) = tokio::try_join!(
                biased;
                async { Ok(session.query(WRITE, &parameters).await?) },
                reject(session, rejected),
                commit(session),
            )?;
            rows
        }
    };
    let counted = rows.iter().map(|row| {
        let kind = word(row.try_get("kind")?)?;
        let project = (id(row, "organization_id")?, id(row, "project_id")?, kind);
        Ok((project, (seq(row, "seq")?, seq(row, "epoch")?.0)))
    });
    counted.collect()
}

/// How many events of the same project come after each: the log knows the project's last number.
fn later(new: &[NewEvent]) -> Vec<i64> {
    let mut counts: BTreeMap<Project, i64> = BTreeMap::new();
    let events = new.iter().rev().map(|new| &new.event);
    let mut later: Vec<i64> = events
        .map(|event| {
            let count = counts.entry(project_of(event)).or_default();
            *count += 1;
            *count - 1
        })
        .collect();
    later.reverse();
    later
}

/// The same of executions, by the last of their events; `None` where they have none.
fn later_of(executions: &[&Execution], new: &[NewEvent], later: &[i64]) -> Vec<Option<i64>> {
    let keys = new.iter().map(|new| new.event.key());
    let last: BTreeMap<Key, i64> = keys.zip(later.iter().copied()).collect();
    let executions = executions.iter();
    executions
        .map(|execution| last.get(&execution.key()).copied())
        .collect()
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
fn number(new: &mut [NewEvent], counted: &BTreeMap<Project, (Seq, u64)>) {
    let mut last = counted.clone();
    for new in new.iter_mut().rev() {
        if let Some((seq, epoch)) = last.get_mut(&project_of(&new.event)) {
            (new.event.project_seq, new.event.epoch) = (*seq, *epoch);
            seq.0 = seq.0.saturating_sub(1);
        }
    }
}

async fn reject(session: &Session, rejected: &[(&Submission<'_>, &str)]) -> Result<(), LogError> {
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
    let kept = session
        .query_once(
            "INSERT INTO rejected_updates (event_id, reason, body)
             SELECT * FROM unnest($1, $2, $3)
             WHERE (SELECT count(*) < $4 AND coalesce(sum(octet_length(body)), 0) < $5
                    FROM (SELECT body FROM rejected_updates
                          WHERE rejected_at > now() - interval '1 hour' LIMIT $4) recent)
             RETURNING number",
            &[
                (&event_ids, Type::TEXT_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
                (&bodies, Type::TEXT_ARRAY),
                (&MAX_REJECTED, Type::INT8),
                (&MAX_REJECTED_BYTES, Type::INT8),
            ],
        )
        .await?;
    if kept.is_empty() {
        tracing::warn!("so many updates were rejected within the hour that these are not kept");
    }
    Ok(())
}

/// What Postgres can keep of a text: no NUL, and not too much.
fn clean(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_KEPT_BYTES);
    text.get(..end)
        .unwrap_or_default()
        .replace('\0', "\u{fffd}")
}

async fn commit(session: &Session) -> Result<(), LogError> {
    Ok(session.execute("COMMIT").await?)
}
