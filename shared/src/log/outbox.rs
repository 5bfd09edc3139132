//! What is to be told outward, to each sink from where it is: the log is read as streams read it, by
//! the projects' sequences, and how far a sink has come is kept beside them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    Log, LogError,
    read::seconds,
    row::{id, seq, to_sql, word},
};
use crate::execution::{Id, Kind, Seq, State, Status};

/// How many events of a project one page has.
const PAGE_EVENTS: i64 = 200;

/// Of how many projects.
const PAGE_PROJECTS: i64 = 50;

/// How many bytes their states have, over all: an answer of Lambda's has 6 MB at most.
const PAGE_BYTES: i64 = 2 << 20;

/// How long the end of a run is held back while tests of it go on: its counts are to be the last.
const SETTLE: Duration = Duration::from_secs(10);

/// What a sink is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Changes {
    /// The end of each attempt at a job run.
    #[default]
    Ended,
    /// Every event.
    All,
}

/// How far a sink was told, in one sequence of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Whose project.
    pub organization_id: Id,
    /// Which project.
    pub project_id: Id,
    /// Tests or jobs.
    pub kind: Kind,
    /// The last number of which it was told, or need not be.
    pub seq: Seq,
}

/// What a sink is to be told next, of one sequence of a project.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Untold {
    /// How far it is told then.
    #[serde(flatten)]
    pub up_to: Told,
    /// The events, in order.
    pub events: Vec<Change>,
}

/// An event, as a sink is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The execution's id.
    pub id: Id,
    /// Its number in the execution.
    pub seq: Seq,
    /// Its number in the project: how far a sink is that was told of it.
    pub project_seq: Seq,
    /// Whether an attempt ended with it.
    pub is_end: bool,
    /// The state after it; of the end of a run, as it settled.
    pub state: Box<RawValue>,
}

/// Who has never been told anything, is told what comes from now on.
const BEGIN: &str = "INSERT INTO sinks (sink, organization_id, project_id, kind, seq)
     SELECT $1, organization_id, project_id, kind, seq FROM projects
     WHERE NOT EXISTS (SELECT FROM sinks WHERE sink = $1)
     UNION ALL
     SELECT $1, '', '', '', 0 WHERE NOT EXISTS (SELECT FROM sinks WHERE sink = $1)
     ON CONFLICT DO NOTHING";

const UNTOLD: &str = "SELECT *, sum(octet_length(state)) OVER (ORDER BY place, project_seq)
            - octet_length(state) AS bytes_before
     FROM (
         SELECT p.place, p.organization_id, p.project_id, p.kind, e.id, e.seq, e.project_seq, e.status,
                e.state, x.state AS latest_state, x.status AS latest_status,
                extract(epoch FROM now() - e.recorded_at)::float8 AS age,
                before.status AS status_before, before.state AS state_before
         FROM (
             SELECT p.*, coalesce(s.seq, 0) AS told,
                    row_number() OVER (ORDER BY p.organization_id, p.project_id, p.kind) AS place
             FROM projects p
             LEFT JOIN sinks s ON s.sink = $1 AND s.organization_id = p.organization_id
                  AND s.project_id = p.project_id AND s.kind = p.kind
             WHERE p.seq > coalesce(s.seq, 0) AND (p.kind = 'job' OR $2)
             ORDER BY random()
             LIMIT $3
         ) p
         CROSS JOIN LATERAL (
             SELECT * FROM events
             WHERE organization_id = p.organization_id AND project_id = p.project_id AND kind = p.kind
               AND project_seq > p.told
             ORDER BY project_seq
             LIMIT $4
         ) e
         JOIN executions x ON x.kind = e.kind AND x.id = e.id AND x.organization_id = e.organization_id
         LEFT JOIN events before ON before.kind = e.kind AND before.id = e.id
              AND before.organization_id = e.organization_id AND before.seq = e.seq - 1
     ) untold
     ORDER BY place, project_seq";

const TELL: &str = "INSERT INTO sinks (sink, organization_id, project_id, kind, seq)
     SELECT $1, * FROM unnest($2, $3, $4, $5)
     ON CONFLICT (sink, organization_id, project_id, kind)
         DO UPDATE SET seq = greatest(sinks.seq, excluded.seq)";

impl Log {
    /// Notes how far a sink was told.
    ///
    /// # Errors
    /// Where the log can't be written now: it is told the same again.
    pub async fn tell(&self, sink: &str, told: &[Told]) -> Result<(), LogError> {
        if told.is_empty() {
            return Ok(());
        }
        let organizations: Vec<_> = told.iter().map(|it| it.organization_id.as_str()).collect();
        let projects: Vec<_> = told.iter().map(|it| it.project_id.as_str()).collect();
        let kinds: Vec<_> = told.iter().map(|it| it.kind.as_str()).collect();
        let seqs: Vec<_> = told.iter().map(|it| to_sql(it.seq)).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&sink, Type::TEXT),
            (&organizations, Type::TEXT_ARRAY),
            (&projects, Type::TEXT_ARRAY),
            (&kinds, Type::TEXT_ARRAY),
            (&seqs, Type::INT8_ARRAY),
        ];
        self.query(TELL, &parameters).await.map(drop)
    }

    /// Reads what a sink is to be told next, of some projects of which there is anything new.
    ///
    /// # Errors
    /// Where the log can't be read now.
    pub async fn untold(&self, sink: &str, changes: Changes) -> Result<Vec<Untold>, LogError> {
        self.query(BEGIN, &[(&sink, Type::TEXT)]).await?;
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&sink, Type::TEXT),
            (&(changes == Changes::All), Type::BOOL),
            (&PAGE_PROJECTS, Type::INT8),
            (&PAGE_EVENTS, Type::INT8),
        ];
        let rows = self.query(UNTOLD, &parameters).await?;
        let mut untold: Vec<Untold> = Vec::new();
        let mut held: Option<i64> = None;
        for row in &rows {
            let place: i64 = row.try_get("place")?;
            let bytes_before: i64 = row.try_get("bytes_before")?;
            if bytes_before >= PAGE_BYTES {
                break;
            }
            let event = Read::of(row)?;
            // What follows an end that has not settled, waits with it.
            if held == Some(place) || event.is_settling() {
                held = Some(place);
                continue;
            }
            let is_same = |it: &&mut Untold| it.up_to.is_of(&event.told);
            let of_project = match untold.last_mut().filter(is_same) {
                Some(of_project) => of_project,
                None => {
                    untold.push(Untold {
                        up_to: event.told.clone(),
                        events: Vec::new(),
                    });
                    let Some(last) = untold.last_mut() else {
                        continue;
                    };
                    last
                }
            };
            of_project.up_to.seq = event.told.seq;
            if changes == Changes::All || (event.is_end && event.told.kind == Kind::Job) {
                of_project.events.push(event.change(changes)?);
            }
        }
        Ok(untold)
    }
}

impl Told {
    fn is_of(&self, other: &Told) -> bool {
        (&self.organization_id, &self.project_id, self.kind)
            == (&other.organization_id, &other.project_id, other.kind)
    }
}

/// An event as the log has it, and how its execution stands now.
struct Read<'a> {
    told: Told,
    id: Id,
    seq: Seq,
    age: Duration,
    is_end: bool,
    state: &'a str,
    /// The newest state, where that is still of the attempt that ended with this event.
    settled: Option<&'a str>,
}

impl<'a> Read<'a> {
    fn of(row: &'a Row) -> Result<Self, LogError> {
        let status: Status = word(row.try_get("status")?)?;
        let state: &str = row.try_get("state")?;
        let attempt = State::attempt_in(state);
        let ended_before = match row.try_get::<_, Option<&str>>("status_before")? {
            Some(before) => {
                let state: &str = row.try_get("state_before")?;
                word::<Status>(before)?.is_terminal() && State::attempt_in(state) == attempt
            }
            None => false,
        };
        let latest: &str = row.try_get("latest_state")?;
        let is_over = word::<Status>(row.try_get("latest_status")?)?.is_terminal();
        Ok(Read {
            told: Told {
                organization_id: id(row, "organization_id")?,
                project_id: id(row, "project_id")?,
                kind: word(row.try_get("kind")?)?,
                seq: seq(row, "project_seq")?,
            },
            id: id(row, "id")?,
            seq: seq(row, "seq")?,
            age: seconds(row, "age")?,
            is_end: status.is_terminal() && !ended_before,
            state,
            settled: (is_over && State::attempt_in(latest) == attempt).then_some(latest),
        })
    }

    /// Whether it is the end of a run whose tests may still change what it counts.
    fn is_settling(&self) -> bool {
        let open_tests = self.settled.map_or(0, State::open_tests_in);
        self.is_end && self.told.kind == Kind::Job && open_tests > 0 && self.age < SETTLE
    }

    fn change(self, changes: Changes) -> Result<Change, LogError> {
        let state = match (changes, self.settled) {
            (Changes::Ended, Some(settled)) => settled,
            _ => self.state,
        };
        let state = RawValue::from_string(state.to_owned());
        Ok(Change {
            id: self.id,
            seq: self.seq,
            project_seq: self.told.seq,
            is_end: self.is_end,
            state: state.map_err(|error| LogError::Row(error.to_string()))?,
        })
    }
}
