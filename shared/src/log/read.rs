//! Reading the log.

use tokio_postgres::{Row, types::Type};

use super::{
    Log, LogError,
    row::{id, is_null, seq, texts, to_sql, track, word},
};
use crate::{
    execution::{Event, Id, Kind, Seq, json},
    watch::Watch,
};

/// How many executions that have ended a project's stream begins with.
const RECENTLY_FINISHED: i64 = 20;

/// How many events one read brings, over all tracks, about.
const PAGE_EVENTS: usize = 128;

/// The current states of what is watched.
#[derive(Debug)]
pub struct States {
    /// The last number of each track.
    pub heads: Vec<Seq>,
    /// The last event of each reported execution, with its track.
    pub events: Vec<(usize, Event)>,
}

/// What the log has after a cursor.
#[derive(Debug)]
pub struct After {
    /// How each track stands; `None` where nothing was ever reported.
    pub heads: Vec<Option<Head>>,
    /// The events, in order on each track.
    pub events: Vec<(usize, Event)>,
    /// Whether this is everything.
    pub whole: bool,
    /// Whether the events go on exactly from the cursor. They don't when it is ahead of the log,
    /// or when the log before it was pruned.
    pub continuous: bool,
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
    /// Whether nothing can follow.
    pub ended: bool,
}

impl Log {
    /// Reads the current state of all that is watched, in one statement.
    ///
    /// # Errors
    /// Where the log can't be read now.
    pub async fn states(&self, watch: &Watch) -> Result<States, LogError> {
        match watch {
            Watch::Executions { kind, ids } => {
                let rows = self
                    .query(
                        "SELECT array_position($2, id)::bigint AS track, organization_id, \
                                project_id, id, seq, project_seq, status, state
                         FROM executions
                         WHERE kind = $1 AND id = ANY($2) AND seq > 0
                         ORDER BY track",
                        &[
                            (&kind.as_str(), Type::TEXT),
                            (&texts(ids), Type::TEXT_ARRAY),
                        ],
                    )
                    .await?;
                let mut heads = vec![Seq::ZERO; ids.len()];
                let mut events = Vec::with_capacity(rows.len());
                for row in &rows {
                    let track = track(row)?;
                    let event = event(row, *kind)?;
                    if let Some(head) = heads.get_mut(track) {
                        *head = event.seq;
                    }
                    events.push((track, event));
                }
                Ok(States { heads, events })
            }
            Watch::Project {
                kind,
                organization_id,
                project_id,
            } => {
                let rows = self
                    .query(
                        "SELECT p.seq AS head, x.*
                         FROM projects p
                         LEFT JOIN LATERAL (
                             SELECT organization_id, project_id, id, seq, project_seq, status, state
                             FROM executions
                             WHERE organization_id = $1 AND project_id = $2 AND kind = $3
                               AND seq > 0 AND status IN ('waiting', 'running')
                             UNION ALL
                             (SELECT organization_id, project_id, id, seq, project_seq, status, state
                              FROM executions
                              WHERE organization_id = $1 AND project_id = $2 AND kind = $3
                                AND seq > 0 AND status NOT IN ('waiting', 'running')
                              ORDER BY project_seq DESC
                              LIMIT $4)
                         ) x ON true
                         WHERE p.organization_id = $1 AND p.project_id = $2 AND p.kind = $3
                         ORDER BY x.project_seq",
                        &[
                            (&organization_id.as_str(), Type::TEXT),
                            (&project_id.as_str(), Type::TEXT),
                            (&kind.as_str(), Type::TEXT),
                            (&RECENTLY_FINISHED, Type::INT8),
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
                    heads: vec![head.unwrap_or_default()],
                    events,
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
            Watch::Executions { kind, ids } => {
                let after: Vec<i64> = positions.iter().map(|seq| to_sql(*seq)).collect();
                let rows = self
                    .query(
                        "SELECT w.track, x.organization_id, x.project_id, x.seq AS head, \
                                x.status NOT IN ('waiting', 'running') AS ended, w.id, e.*
                         FROM unnest($2, $3) WITH ORDINALITY AS w(id, after, track)
                         JOIN executions x ON x.kind = $1 AND x.id = w.id AND x.seq > 0
                         LEFT JOIN LATERAL (
                             SELECT seq, project_seq, status, state FROM events
                             WHERE kind = $1 AND id = w.id AND seq > w.after
                             ORDER BY seq
                             LIMIT $4
                         ) e ON true
                         ORDER BY w.track, e.seq",
                        &[
                            (&kind.as_str(), Type::TEXT),
                            (&texts(ids), Type::TEXT_ARRAY),
                            (&after, Type::INT8_ARRAY),
                            (&limit, Type::INT8),
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
                        "SELECT 1::bigint AS track, p.organization_id, p.project_id, p.seq AS head, \
                                false AS ended, e.*
                         FROM projects p
                         LEFT JOIN LATERAL (
                             SELECT id, seq, project_seq, status, state FROM events
                             WHERE organization_id = $1 AND project_id = $2 AND kind = $3
                               AND project_seq > $4
                             ORDER BY project_seq
                             LIMIT $5
                         ) e ON true
                         WHERE p.organization_id = $1 AND p.project_id = $2 AND p.kind = $3
                         ORDER BY e.project_seq",
                        &[
                            (&organization_id.as_str(), Type::TEXT),
                            (&project_id.as_str(), Type::TEXT),
                            (&kind.as_str(), Type::TEXT),
                            (&to_sql(after), Type::INT8),
                            (&limit, Type::INT8),
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
    for row in rows {
        let track = track(row)?;
        let (Some(head), Some(last)) = (heads.get_mut(track), last.get_mut(track)) else {
            return Err(LogError::Row(format!("track {track}")));
        };
        if head.is_none() {
            *head = Some(Head {
                organization_id: id(row, "organization_id")?,
                project_id: id(row, "project_id")?,
                seq: seq(row, "head")?,
                ended: row.try_get("ended")?,
            });
        }
        if !is_null(row, "seq") {
            let event = event(row, kind)?;
            let seq = watch.seq_of(&event);
            continuous &= seq == last.next();
            *last = seq;
            events.push((track, event));
        }
    }
    let mut whole = true;
    for ((head, last), position) in heads.iter().zip(&last).zip(positions) {
        let head = head.as_ref().map_or(Seq::ZERO, |head| head.seq);
        whole &= *last == head;
        // Nothing although the log goes on: pruned. A position that the log never had: ahead.
        continuous &= head >= *position && (*last > *position || head == *position);
    }
    Ok(After {
        heads,
        events,
        whole,
        continuous,
    })
}

fn event(row: &Row, kind: Kind) -> Result<Event, LogError> {
    let status: &str = row.try_get("status")?;
    let state: &str = row.try_get("state")?;
    Ok(Event {
        kind,
        id: id(row, "id")?,
        organization_id: id(row, "organization_id")?,
        project_id: id(row, "project_id")?,
        seq: seq(row, "seq")?,
        project_seq: seq(row, "project_seq")?,
        status: word(status)?,
        // Versions before 0.2 stored it as it came.
        data: json::in_one_line(state).into(),
        published_at: None,
    })
}
