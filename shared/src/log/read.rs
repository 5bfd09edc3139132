//! Reading the log.

use std::{iter::repeat, time::Duration};

use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    Log, LogError,
    row::{id, is_null, seq, to_sql, track, word},
};
use crate::{
    execution::{Event, Id, Kind, Seq, State, Status},
    watch::{Scope, Watch},
};

/// How many executions that have ended a project's stream begins with: those that ended last.
const RECENTLY_FINISHED: i64 = 20;

/// How many that have not: those that changed last.
const RECENTLY_CHANGED: i64 = 500;

/// How many bytes the states have at most that a project's stream begins with: those that changed
/// last.
const RECENT_BYTES: i64 = 8 << 20;

/// How many events one read brings, over all tracks, about.
const PAGE_EVENTS: usize = 128;

/// How many bytes their states have at most; one comes in any case.
const PAGE_BYTES: i64 = 1 << 20;

/// How many tests of a run one read brings.
const PAGE_TESTS: i64 = 256;

/// In which order a run's tests come: those not finished, those that failed, the rest. As in the index.
const RANK: &str = "CASE WHEN status IN ('waiting', 'running') THEN 0 \
                         WHEN status IN ('failed', 'error') THEN 1 ELSE 2 END";

/// The current states of what is watched.
#[derive(Debug)]
pub struct States {
    /// Which life of the log they are of.
    pub epoch: u64,
    /// How each track stands; `None` where nothing was ever reported.
    pub heads: Vec<Option<Head>>,
    /// The last event of each reported execution, with its track; a run's tests come in pages of
    /// their own.
    pub events: Vec<(usize, Event)>,
}

/// A part of a run's tests.
#[derive(Debug)]
pub struct Tests {
    /// The last event of each.
    pub events: Vec<Event>,
    /// Where the next page begins; `None` where this is the last.
    pub next: Option<TestsFrom>,
}

/// Where a page of a run's tests begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestsFrom {
    rank: i32,
    after: String,
}

impl TestsFrom {
    /// The first page.
    pub const START: TestsFrom = TestsFrom {
        rank: -1,
        after: String::new(),
    };
}

/// What the log has after a cursor.
#[derive(Debug)]
pub struct After {
    /// Which life of the log it is of.
    pub epoch: u64,
    /// How each track stands; `None` where nothing was ever reported.
    pub heads: Vec<Option<Head>>,
    /// The events, in order on each track.
    pub events: Vec<(usize, Event)>,
    /// Whether this is everything.
    pub whole: bool,
    /// Whether the cursor is ahead of the log.
    pub is_behind: bool,
    continuous: bool,
}

impl After {
    /// Whether the events go on exactly from a cursor of this epoch. They don't when it is ahead of
    /// the log, when the log before it was pruned, or when its numbers are of another life of the log.
    #[must_use]
    pub fn continues(&self, epoch: u64) -> bool {
        self.continuous && self.epoch == epoch
    }
}

/// How a track stands.
#[derive(Debug)]
pub struct Head {
    /// Whose it is.
    pub organization_id: Id,
    /// Where in the organization it is.
    pub project_id: Id,
    /// Its last number.
    pub seq: Seq,
    /// How it stands, or, of a run's tests, the run; a project goes on for ever.
    pub status: Status,
    /// Of a run that has ended: how many of its tests have not.
    pub open_tests: u32,
    /// For how long it has been over; zero where it is not.
    pub ended_for: Duration,
}

/// How an execution or a run stands, in SQL.
const HEAD: &str = "x.organization_id, x.project_id, x.status AS head_status, \
                    CASE WHEN x.kind = 'job' AND x.ended_at IS NOT NULL THEN x.state END AS final_state, \
                    extract(epoch FROM now() - x.ended_at)::float8 AS ended_for";

/// The same of a project.
const PROJECT_HEAD: &str = "p.organization_id, p.project_id, 'running' AS head_status, \
                            NULL::text AS final_state, NULL::float8 AS ended_for, p.seq AS head";

/// The tracks of a watch in SQL, by their scopes: each as columns of ids, positions and numbers.
struct Tracks<'a> {
    executions: Columns<'a>,
    runs: Columns<'a>,
    projects: Columns<'a>,
}

#[derive(Default)]
struct Columns<'a> {
    ids: Vec<&'a str>,
    after: Vec<i64>,
    tracks: Vec<i64>,
}

impl<'a> Tracks<'a> {
    fn new(watch: &'a Watch, positions: &[Seq]) -> Self {
        let mut tracks = Tracks {
            executions: Columns::default(),
            runs: Columns::default(),
            projects: Columns::default(),
        };
        let positions = positions.iter().copied().chain(repeat(Seq::ZERO));
        for ((scope, after), track) in watch.scopes.iter().zip(positions).zip(0..) {
            let (columns, id) = match scope {
                Scope::Execution(id) => (&mut tracks.executions, id),
                Scope::Run(id) => (&mut tracks.runs, id),
                Scope::Project(id) => (&mut tracks.projects, id),
            };
            columns.ids.push(id.as_str());
            columns.after.push(to_sql(after));
            columns.tracks.push(track);
        }
        tracks
    }

    /// What is found by one statement for each scope that there is.
    fn union(&self, executions: &str, runs: &str, projects: &str) -> String {
        let parts = [
            (&self.executions, executions),
            (&self.runs, runs),
            (&self.projects, projects),
        ];
        let parts = parts.iter().filter(|(columns, _)| !columns.ids.is_empty());
        let parts: Vec<_> = parts.map(|(_, sql)| *sql).collect();
        parts.join(" UNION ALL ")
    }

    /// From `$3` on.
    fn parameters(&self) -> impl Iterator<Item = (&(dyn ToSql + Sync), Type)> {
        [&self.executions, &self.runs, &self.projects]
            .into_iter()
            .flat_map(|columns| {
                [
                    (&columns.ids as &(dyn ToSql + Sync), Type::TEXT_ARRAY),
                    (&columns.after, Type::INT8_ARRAY),
                    (&columns.tracks, Type::INT8_ARRAY),
                ]
            })
    }
}

impl Log {
    /// Reads the current state of all that is watched, in one statement; of a run's tests, how the
    /// run stands: [`tests`](Self::tests) has them.
    ///
    /// # Errors
    /// Where the log can't be read now.
    pub async fn states(&self, watch: &Watch) -> Result<States, LogError> {
        let tracks = Tracks::new(watch, &[]);
        let executions = format!(
            "SELECT w.track, {HEAD}, x.seq AS head,
                    x.id, x.seq AS number, x.seq, x.project_seq, x.status, x.state
             FROM unnest($3, $5) AS w(id, track)
             JOIN executions x ON x.kind = $1 AND x.id = w.id AND x.organization_id = $2 AND x.seq > 0"
        );
        let runs = format!(
            "SELECT w.track, {HEAD}, x.run_seq AS head,
                    NULL::text AS id, 0::bigint AS number, NULL::bigint AS seq,
                    NULL::bigint AS project_seq, NULL::text AS status, NULL::text AS state
             FROM unnest($6, $8) AS w(id, track)
             JOIN executions x ON x.kind = 'job' AND x.id = w.id AND x.organization_id = $2 AND x.seq > 0"
        );
        let projects = format!(
            "SELECT w.track, {PROJECT_HEAD},
                    x.id, x.project_seq AS number, x.seq, x.project_seq, x.status, x.state
             FROM unnest($9, $11) AS w(id, track)
             JOIN projects p ON p.organization_id = $2 AND p.project_id = w.id AND p.kind = $1
             LEFT JOIN LATERAL (
                 SELECT *, sum(octet_length(state)) OVER (ORDER BY project_seq DESC)
                           - octet_length(state) AS bytes_before
                 FROM (
                 (SELECT id, seq, project_seq, status, state
                  FROM executions
                  WHERE organization_id = $2 AND project_id = w.id AND kind = $1
                    AND seq > 0 AND status IN ('waiting', 'running')
                  ORDER BY project_seq DESC
                  LIMIT {RECENTLY_CHANGED})
                 UNION ALL
                 (SELECT id, seq, project_seq, status, state
                  FROM executions
                  WHERE organization_id = $2 AND project_id = w.id AND kind = $1
                    AND status NOT IN ('waiting', 'running')
                  ORDER BY ended_at DESC NULLS LAST
                  LIMIT {RECENTLY_FINISHED})
                 ) recent
             ) x ON x.bytes_before < {RECENT_BYTES}"
        );
        let found = tracks.union(&executions, &runs, &projects);
        let sql = format!(
            "SELECT l.epoch, found.*
             FROM epoch l LEFT JOIN ({found}) found ON true
             ORDER BY track, number"
        );
        let rows = self.query_tracks(&sql, watch, &tracks).await?;
        let mut states = States {
            epoch: epoch(&rows)?,
            heads: watch.scopes.iter().map(|_| None).collect(),
            events: Vec::with_capacity(rows.len()),
        };
        for row in rows.iter().filter(|row| !is_null(row, "head")) {
            let track = track(row)?;
            note_head(&mut states.heads, track, row)?;
            if !is_null(row, "id") {
                states.events.push((track, event(row, watch.kind)?));
            }
        }
        Ok(states)
    }

    /// Reads a part of a run's tests, as they were when the last number given in it was `head`:
    /// what changed since is left out, as it comes after `head`. So the pages are of one moment.
    ///
    /// # Errors
    /// Where the log can't be read now.
    pub async fn tests(
        &self,
        organization_id: &Id,
        run_id: &Id,
        head: Seq,
        from: &TestsFrom,
    ) -> Result<Tests, LogError> {
        let sql = format!(
            "SELECT {RANK} AS rank, organization_id, project_id, id, seq, project_seq, status,
                    CASE WHEN sum(octet_length(state)) OVER (ORDER BY {RANK}, id)
                              - octet_length(state) < {PAGE_BYTES} THEN state END AS state
             FROM (SELECT * FROM executions
                   WHERE kind = 'test' AND organization_id = $1 AND run_id = $2
                     AND ({RANK}, id) > ($4, $5)
                     AND run_seq <= $3 AND seq > 0
                   ORDER BY {RANK}, id
                   LIMIT {PAGE_TESTS}) tests
             ORDER BY rank, id"
        );
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&organization_id.as_str(), Type::TEXT),
            (&run_id.as_str(), Type::TEXT),
            (&to_sql(head), Type::INT8),
            (&from.rank, Type::INT4),
            (&from.after, Type::TEXT),
        ];
        let rows = self.query(&sql, &parameters).await?;
        let mut events = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in rows.iter().take_while(|row| !is_null(row, "state")) {
            events.push(event(row, Kind::Test)?);
            last = Some(TestsFrom {
                rank: row.try_get("rank")?,
                after: row.try_get("id")?,
            });
        }
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == PAGE_TESTS);
        let is_cut = events.len() < rows.len();
        let next = last.filter(|_| is_full || is_cut);
        Ok(Tests { events, next })
    }

    /// Reads what comes after `positions`, one for each track, in one statement.
    ///
    /// # Errors
    /// Where the log can't be read now.
    pub async fn after(&self, watch: &Watch, positions: &[Seq]) -> Result<After, LogError> {
        let limit = (PAGE_EVENTS / watch.tracks().max(1)).max(4);
        let tracks = Tracks::new(watch, positions);
        let executions = format!(
            "SELECT w.track, {HEAD}, x.seq AS head,
                    w.id, e.seq AS number, e.seq, e.project_seq, e.status, e.state,
                    e.traceparent
             FROM unnest($3, $4, $5) AS w(id, after, track)
             JOIN executions x ON x.kind = $1 AND x.id = w.id AND x.organization_id = $2 AND x.seq > 0
             LEFT JOIN LATERAL (
                 SELECT seq, project_seq, status, state, traceparent FROM events
                 WHERE kind = $1 AND id = w.id AND organization_id = $2 AND seq > w.after
                 ORDER BY seq
                 LIMIT {limit}
             ) e ON true"
        );
        let runs = format!(
            "SELECT w.track, {HEAD}, x.run_seq AS head,
                    e.id, e.run_seq AS number, e.seq, e.project_seq, e.status, e.state,
                    e.traceparent
             FROM unnest($6, $7, $8) AS w(id, after, track)
             JOIN executions x ON x.kind = 'job' AND x.id = w.id AND x.organization_id = $2 AND x.seq > 0
             LEFT JOIN LATERAL (
                 SELECT id, seq, run_seq, project_seq, status, state, traceparent FROM events
                 WHERE organization_id = $2 AND run_id = w.id AND run_seq > w.after
                 ORDER BY run_seq
                 LIMIT {limit}
             ) e ON true"
        );
        let projects = format!(
            "SELECT w.track, {PROJECT_HEAD},
                    e.id, e.project_seq AS number, e.seq, e.project_seq, e.status, e.state,
                    e.traceparent
             FROM unnest($9, $10, $11) AS w(id, after, track)
             JOIN projects p ON p.organization_id = $2 AND p.project_id = w.id AND p.kind = $1
             LEFT JOIN LATERAL (
                 SELECT id, seq, project_seq, status, state, traceparent FROM events
                 WHERE organization_id = $2 AND project_id = w.id AND kind = $1
                   AND project_seq > w.after
                 ORDER BY project_seq
                 LIMIT {limit}
             ) e ON true"
        );
        let found = tracks.union(&executions, &runs, &projects);
        let sql = format!(
            "SELECT l.epoch, track, organization_id, project_id, head_status, final_state, ended_for,
                    head, id, number, seq, project_seq, status, traceparent,
                    CASE WHEN sum(octet_length(state)) OVER (ORDER BY track, number)
                              - octet_length(state) < {PAGE_BYTES} THEN state END AS state
             FROM epoch l LEFT JOIN ({found}) found ON true
             ORDER BY track, number"
        );
        let rows = self.query_tracks(&sql, watch, &tracks).await?;
        gather(&rows, watch, positions)
    }

    async fn query_tracks(
        &self,
        sql: &str,
        watch: &Watch,
        tracks: &Tracks<'_>,
    ) -> Result<Vec<Row>, LogError> {
        let (kind, organization_id) = (watch.kind.as_str(), watch.organization_id.as_str());
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> = [
            (&kind as _, Type::TEXT),
            (&organization_id as _, Type::TEXT),
        ]
        .into_iter()
        .chain(tracks.parameters())
        .collect();
        self.query(sql, &parameters).await
    }
}

/// Notes how a track stands; each of its rows says the same.
fn note_head(heads: &mut [Option<Head>], track: usize, row: &Row) -> Result<(), LogError> {
    let head = heads
        .get_mut(track)
        .ok_or_else(|| LogError::Row(format!("track {track}")))?;
    if head.is_none() {
        let final_state: Option<&str> = row.try_get("final_state")?;
        *head = Some(Head {
            organization_id: id(row, "organization_id")?,
            project_id: id(row, "project_id")?,
            seq: seq(row, "head")?,
            status: word(row.try_get("head_status")?)?,
            open_tests: final_state.map_or(0, State::open_tests_in),
            ended_for: seconds(row, "ended_for")?,
        });
    }
    Ok(())
}

fn gather(rows: &[Row], watch: &Watch, positions: &[Seq]) -> Result<After, LogError> {
    let mut heads: Vec<Option<Head>> = positions.iter().map(|_| None).collect();
    let mut last = positions.to_vec();
    let mut events = Vec::with_capacity(rows.len());
    let mut continuous = true;
    // Tracks of which more is there than the page takes.
    let mut is_cut = vec![false; positions.len()];
    for row in rows.iter().filter(|row| !is_null(row, "head")) {
        let track = track(row)?;
        note_head(&mut heads, track, row)?;
        let (Some(last), Some(is_cut)) = (last.get_mut(track), is_cut.get_mut(track)) else {
            return Err(LogError::Row(format!("track {track}")));
        };
        *is_cut |= !is_null(row, "number") && is_null(row, "state");
        if !is_null(row, "number") && !*is_cut {
            let number = seq(row, "number")?;
            continuous &= number == last.next();
            *last = number;
            let mut event = event(row, watch.kind)?;
            if let Some(Scope::Run(_)) = watch.scopes.get(track) {
                event.run_seq = number;
            }
            let traceparent: Option<&str> = row.try_get("traceparent")?;
            event.traceparent = traceparent.and_then(|text| text.parse().ok());
            events.push((track, event));
        }
    }
    let (mut whole, mut is_behind) = (true, false);
    for (((head, last), position), is_cut) in heads.iter().zip(&last).zip(positions).zip(&is_cut) {
        let head = head.as_ref().map_or(Seq::ZERO, |head| head.seq);
        whole &= *last == head;
        // Nothing although the log goes on: pruned. A position that the log never had: ahead.
        is_behind |= head < *position;
        continuous &= head >= *position && (*last > *position || head == *position || *is_cut);
    }
    Ok(After {
        epoch: epoch(rows)?,
        heads,
        events,
        whole,
        is_behind,
        continuous,
    })
}

/// Which life of the log these rows are of: each says it, and there is one at least.
fn epoch(rows: &[Row]) -> Result<u64, LogError> {
    let first = rows.first().map(|row| seq(row, "epoch")).transpose()?;
    Ok(first.unwrap_or_default().0)
}

/// A span that Postgres gives in seconds; zero where there is none, or clocks differ.
pub(super) fn seconds(row: &Row, column: &str) -> Result<Duration, LogError> {
    let seconds: Option<f64> = row.try_get(column)?;
    Ok(Duration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default())
}

pub(super) fn event(row: &Row, kind: Kind) -> Result<Event, LogError> {
    let status: Status = word(row.try_get("status")?)?;
    let state: &str = row.try_get("state")?;
    let is_over = kind == Kind::Job && status.is_terminal();
    Ok(Event {
        kind,
        id: id(row, "id")?,
        organization_id: id(row, "organization_id")?,
        project_id: id(row, "project_id")?,
        seq: seq(row, "seq")?,
        project_seq: seq(row, "project_seq")?,
        run_id: None,
        run_seq: Seq::ZERO,
        epoch: 0,
        status,
        open_tests: if is_over {
            State::open_tests_in(state)
        } else {
            0
        },
        data: State::whole(state),
        traceparent: None,
        published_at: None,
    })
}
