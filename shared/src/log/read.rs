//! Reading the log.

use std::time::Duration;

use tokio_postgres::{Row, types::Type};

use super::{
    Log, LogError,
    row::{id, is_null, seq, texts, to_sql, track, word},
};
use crate::{
    execution::{Event, Id, Kind, Seq, State, Status},
    watch::Watch,
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

/// The current states of what is watched.
#[derive(Debug)]
pub struct States {
    /// Which life of the log they are of.
    pub epoch: u64,
    /// The last number of each track.
    pub heads: Vec<Seq>,
    /// The last event of each reported execution, with its track.
    pub events: Vec<(usize, Event)>,
    /// For how long each track's execution has been over; zero where it is not.
    pub ended_for: Vec<Duration>,
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
    /// How it stands; a project goes on for ever.
    pub status: Status,
    /// Of a run that has ended: how many of its tests have not.
    pub open_tests: u32,
    /// For how long it has been over; zero where it is not.
    pub ended_for: Duration,
}

impl Log {
    /// Reads the current state of all that is watched, in one statement.
    ///
    /// # Errors
    /// Where the log can't be read now.
    pub async fn states(&self, watch: &Watch) -> Result<States, LogError> {
        match watch {
            Watch::Executions {
                kind,
                organization_id,
                ids,
            } => {
                let rows = self
                    .query(
                        "SELECT l.epoch, array_position($2, id)::bigint AS track, organization_id, \
                                project_id, id, seq, project_seq, status, state, \
                                extract(epoch FROM now() - ended_at)::float8 AS ended_for
                         FROM epoch l
                         LEFT JOIN executions
                              ON kind = $1 AND id = ANY($2) AND organization_id = $3 AND seq > 0
                         ORDER BY track",
                        &[
                            (&kind.as_str(), Type::TEXT),
                            (&texts(ids), Type::TEXT_ARRAY),
                            (&organization_id.as_str(), Type::TEXT),
                        ],
                    )
                    .await?;
                let mut heads = vec![Seq::ZERO; ids.len()];
                let mut ended_for = vec![Duration::ZERO; ids.len()];
                let mut events = Vec::with_capacity(rows.len());
                for row in rows.iter().filter(|row| !is_null(row, "id")) {
                    let track = track(row)?;
                    let event = event(row, *kind)?;
                    if let (Some(head), Some(span)) =
                        (heads.get_mut(track), ended_for.get_mut(track))
                    {
                        *head = event.seq;
                        *span = seconds(row, "ended_for")?;
                    }
                    events.push((track, event));
                }
                Ok(States {
                    epoch: epoch(&rows)?,
                    heads,
                    events,
                    ended_for,
                })
            }
            Watch::Project {
                kind,
                organization_id,
                project_id,
            } => {
                let rows = self
                    .query(
                        "SELECT l.epoch, coalesce(p.seq, 0) AS head, x.*
                         FROM epoch l
                         LEFT JOIN projects p
                              ON p.organization_id = $1 AND p.project_id = $2 AND p.kind = $3
                         LEFT JOIN LATERAL (
                             SELECT *, sum(octet_length(state)) OVER (ORDER BY project_seq DESC)
                                       - octet_length(state) AS bytes_before
                             FROM (
                             (SELECT organization_id, project_id, id, seq, project_seq, status, state
                              FROM executions
                              WHERE organization_id = $1 AND project_id = $2 AND kind = $3
                                AND seq > 0 AND status IN ('waiting', 'running')
                              ORDER BY project_seq DESC
                              LIMIT $5)
                             UNION ALL
                             (SELECT organization_id, project_id, id, seq, project_seq, status, state
                              FROM executions
                              WHERE organization_id = $1 AND project_id = $2 AND kind = $3
                                AND status NOT IN ('waiting', 'running')
                              ORDER BY ended_at DESC NULLS LAST
                              LIMIT $4)
                             ) recent
                         ) x ON x.bytes_before < $6
                         ORDER BY x.project_seq",
                        &[
                            (&organization_id.as_str(), Type::TEXT),
                            (&project_id.as_str(), Type::TEXT),
                            (&kind.as_str(), Type::TEXT),
                            (&RECENTLY_FINISHED, Type::INT8),
                            (&RECENTLY_CHANGED, Type::INT8),
                            (&RECENT_BYTES, Type::INT8),
                        ],
                    )
                    .await?;
                let head = rows.first().map(|row| seq(row, "head")).transpose()?;
                let events = rows
                    .iter()
                    .filter(|row| !is_null(row, "id"))
                    .map(|row| Ok((0, event(row, *kind)?)))
                    .collect::<Result<_, LogError>>()?;
                Ok(States {
                    epoch: epoch(&rows)?,
                    heads: vec![head.unwrap_or_default()],
                    events,
                    ended_for: vec![Duration::ZERO],
                })
            }
        }
    }

    /// Reads what comes after `positions`, one for each track, in one statement.
    ///
    /// # Errors
    /// Where the log can't be read now.
    pub async fn after(&self, watch: &Watch, positions: &[Seq]) -> Result<After, LogError> {
        let page = (PAGE_EVENTS / watch.tracks().max(1)).max(4);
        let limit = i64::try_from(page).unwrap_or(i64::MAX);
        let (kind, rows) = match watch {
            Watch::Executions {
                kind,
                organization_id,
                ids,
            } => {
                let after: Vec<i64> = positions.iter().map(|seq| to_sql(*seq)).collect();
                let rows = self
                    .query(
                        "SELECT l.epoch, w.track, x.organization_id, x.project_id, x.seq AS head, \
                                x.status AS head_status, \
                                CASE WHEN x.ended_at IS NOT NULL THEN x.state END AS final_state, \
                                extract(epoch FROM now() - x.ended_at)::float8 AS ended_for, \
                                w.id, e.seq, e.project_seq, e.status, \
                                CASE WHEN sum(octet_length(e.state)) OVER (ORDER BY w.track, e.seq) \
                                     - octet_length(e.state) < $6 THEN e.state END AS state
                         FROM epoch l
                         CROSS JOIN unnest($2, $3) WITH ORDINALITY AS w(id, after, track)
                         LEFT JOIN executions x ON x.kind = $1 AND x.id = w.id
                              AND x.organization_id = $5 AND x.seq > 0
                         LEFT JOIN LATERAL (
                             SELECT seq, project_seq, status, state FROM events
                             WHERE kind = $1 AND id = w.id AND organization_id = $5
                               AND seq > w.after
                             ORDER BY seq
                             LIMIT $4
                         ) e ON true
                         ORDER BY w.track, e.seq",
                        &[
                            (&kind.as_str(), Type::TEXT),
                            (&texts(ids), Type::TEXT_ARRAY),
                            (&after, Type::INT8_ARRAY),
                            (&limit, Type::INT8),
                            (&organization_id.as_str(), Type::TEXT),
                            (&PAGE_BYTES, Type::INT8),
                        ],
                    )
                    .await?;
                (*kind, rows)
            }
            Watch::Project {
                kind,
                organization_id,
                project_id,
            } => {
                let after = positions.first().copied().unwrap_or_default();
                let rows = self
                    .query(
                        "SELECT l.epoch, 1::bigint AS track, p.organization_id, p.project_id, \
                                p.seq AS head, 'running' AS head_status, NULL AS final_state, \
                                NULL::float8 AS ended_for, e.id, e.seq, e.project_seq, e.status, \
                                CASE WHEN sum(octet_length(e.state)) OVER (ORDER BY e.project_seq) \
                                     - octet_length(e.state) < $6 THEN e.state END AS state
                         FROM epoch l
                         LEFT JOIN projects p
                              ON p.organization_id = $1 AND p.project_id = $2 AND p.kind = $3
                         LEFT JOIN LATERAL (
                             SELECT id, seq, project_seq, status, state FROM events
                             WHERE organization_id = $1 AND project_id = $2 AND kind = $3
                               AND project_seq > $4
                             ORDER BY project_seq
                             LIMIT $5
                         ) e ON true
                         ORDER BY e.project_seq",
                        &[
                            (&organization_id.as_str(), Type::TEXT),
                            (&project_id.as_str(), Type::TEXT),
                            (&kind.as_str(), Type::TEXT),
                            (&to_sql(after), Type::INT8),
                            (&limit, Type::INT8),
                            (&PAGE_BYTES, Type::INT8),
                        ],
                    )
                    .await?;
                (*kind, rows)
            }
        };
        gather(&rows, kind, watch, positions)
    }
}

fn gather(rows: &[Row], kind: Kind, watch: &Watch, positions: &[Seq]) -> Result<After, LogError> {
    let mut heads: Vec<Option<Head>> = positions.iter().map(|_| None).collect();
    let mut last = positions.to_vec();
    let mut events = Vec::with_capacity(rows.len());
    let mut continuous = true;
    // Tracks of which more is there than the page takes.
    let mut is_cut = vec![false; positions.len()];
    for row in rows.iter().filter(|row| !is_null(row, "head")) {
        let track = track(row)?;
        let (Some(head), Some(last), Some(is_cut)) = (
            heads.get_mut(track),
            last.get_mut(track),
            is_cut.get_mut(track),
        ) else {
            return Err(LogError::Row(format!("track {track}")));
        };
        if head.is_none() {
            *head = Some(Head {
                organization_id: id(row, "organization_id")?,
                project_id: id(row, "project_id")?,
                seq: seq(row, "head")?,
                status: word(row.try_get("head_status")?)?,
                open_tests: match row.try_get("final_state")? {
                    Some(state) if kind == Kind::Job => State::open_tests_in(state),
                    _ => 0,
                },
                ended_for: seconds(row, "ended_for")?,
            });
        }
        *is_cut |= !is_null(row, "seq") && is_null(row, "state");
        if !is_null(row, "seq") && !*is_cut {
            let event = event(row, kind)?;
            let seq = watch.seq_of(&event);
            continuous &= seq == last.next();
            *last = seq;
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
fn seconds(row: &Row, column: &str) -> Result<Duration, LogError> {
    let seconds: Option<f64> = row.try_get(column)?;
    Ok(Duration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default())
}

fn event(row: &Row, kind: Kind) -> Result<Event, LogError> {
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
        epoch: 0,
        status,
        open_tests: if is_over {
            State::open_tests_in(state)
        } else {
            0
        },
        data: State::whole(state),
        published_at: None,
    })
}
