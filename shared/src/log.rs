//! The log in Postgres: the truth about every execution. All that is read of it is here; what is
//! written, in `append`.

mod append;
mod connect;
pub mod schema;

use std::{str::FromStr, sync::Arc, time::Duration};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, RecyclingMethod,
    Runtime,
};
use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::{
    Row,
    error::SqlState,
    types::{ToSql, Type},
};

pub use self::append::{Answer, Appended, Submission};
use crate::{
    config,
    execution::{Event, Id, Kind, Seq},
    watch::Watch,
};

/// How long one read may take before its connection counts as dead.
const READ_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a connection that only a poll uses stays open after it.
const POLL_LINGER: Duration = Duration::from_millis(100);

/// How many executions that have ended a project's stream begins with.
const RECENTLY_FINISHED: i64 = 20;

/// How many events one read brings, over all tracks, about.
const PAGE_EVENTS: usize = 128;

/// The log.
#[derive(Clone, Debug)]
pub struct Log {
    pool: Pool,
}

/// Why the log could not be read or written. It may be possible later.
#[derive(Debug, Error)]
pub enum LogError {
    /// No connection could be had.
    #[error("failed to connect to Postgres")]
    Connect(#[source] Box<PoolError>),
    /// A statement failed.
    #[error("failed to query Postgres")]
    Query(#[from] tokio_postgres::Error),
    /// Postgres did not answer in time.
    #[error("Postgres did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// A row holds what this version does not know.
    #[error("a row of the log cannot be read: {0}")]
    Row(String),
    /// A migration failed.
    #[error("failed to migrate the schema")]
    Migrate(#[source] Box<refinery::Error>),
}

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
    /// A log at `database`, with at most `connections` connections. None is opened yet.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn new(database: &config::Database, connections: usize) -> Self {
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_connect(
            database.connection.expose().clone(),
            connect::Connector::new(database),
            ManagerConfig { recycling_method },
        );
        let idle = database.idle;
        // Whoever slept through the idle time, frozen by Lambda, must not trust a connection.
        let not_idle = Hook::sync_fn(move |_, metrics| {
            if metrics.last_used() < idle {
                Ok(())
            } else {
                Err(HookError::message("idle for too long"))
            }
        });
        #[expect(clippy::expect_used, reason = "a runtime is given")]
        let pool = Pool::builder(manager)
            .max_size(connections)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(Duration::from_secs(3)))
            .wait_timeout(Some(Duration::from_secs(3)))
            .pre_recycle(not_idle)
            .build()
            .expect("the pool has a runtime");
        let reaped = pool.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(idle / 4).await;
                reaped.retain(|_, metrics| metrics.last_used() < idle);
            }
        });
        Log { pool }
    }

    /// Opens a connection, so that the first read finds one.
    ///
    /// # Errors
    /// Where none can be had, or it does not answer.
    pub async fn ping(&self) -> Result<(), LogError> {
        self.query("SELECT 1", &[]).await.map(drop)
    }

    /// Closes connections that nobody else uses: called after a poll that brought nothing, so that
    /// quiet streams hold none.
    pub fn release(&self) {
        let pool = self.pool.clone();
        tokio::spawn(async move {
            tokio::time::sleep(POLL_LINGER).await;
            pool.retain(|_, metrics| metrics.last_used() < POLL_LINGER);
        });
    }

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

    /// Runs one statement in one round trip, on a fresh connection where the first is found dead.
    async fn query(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, LogError> {
        let mut attempts_left = 3;
        loop {
            attempts_left -= 1;
            let connection = self.connection().await?;
            let result = timeout(READ_TIMEOUT, connection.query_typed(sql, parameters)).await;
            let error = match result {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => LogError::from(error),
                Err(_) => LogError::TimedOut(READ_TIMEOUT),
            };
            if error.is_of_connection() {
                drop(Object::take(connection));
            }
            if attempts_left == 0 || !error.is_worth_another_try() {
                return Err(error);
            }
        }
    }

    async fn connection(&self) -> Result<Object, LogError> {
        let connection = self.pool.get().await;
        connection.map_err(|error| LogError::Connect(Box::new(error)))
    }
}

impl LogError {
    /// Whether the connection is of no more use.
    fn is_of_connection(&self) -> bool {
        match self {
            LogError::TimedOut(_) => true,
            LogError::Query(error) => match error.code() {
                // An error that Postgres sent; of class 57, "operator intervention", or after a
                // failover to a standby, it concerns the connection.
                Some(code) => code.code().starts_with("57P") || is_read_only(code),
                None => true,
            },
            LogError::Connect(_) | LogError::Row(_) | LogError::Migrate(_) => false,
        }
    }

    fn is_worth_another_try(&self) -> bool {
        self.is_of_connection() && !matches!(self, LogError::TimedOut(_))
    }
}

fn is_read_only(code: &SqlState) -> bool {
    *code == SqlState::READ_ONLY_SQL_TRANSACTION
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
        data: Arc::from(state),
        published_at: None,
    })
}

fn id(row: &Row, column: &str) -> Result<Id, LogError> {
    word(row.try_get(column)?)
}

fn word<T: FromStr<Err: ToString>>(text: &str) -> Result<T, LogError> {
    let read = text.parse();
    read.map_err(|error: T::Err| LogError::Row(error.to_string()))
}

fn seq(row: &Row, column: &str) -> Result<Seq, LogError> {
    let number: i64 = row.try_get(column)?;
    let number = u64::try_from(number).map_err(|_| LogError::Row(format!("{column} {number}")));
    number.map(Seq)
}

/// The track, counted from 0; Postgres counts from 1.
fn track(row: &Row) -> Result<usize, LogError> {
    let ordinality = seq(row, "track")?.0;
    let index = ordinality
        .checked_sub(1)
        .and_then(|n| usize::try_from(n).ok());
    index.ok_or_else(|| LogError::Row(format!("track {ordinality}")))
}

fn is_null(row: &Row, column: &str) -> bool {
    /// Accepts a value of any type, unread.
    struct Present;
    impl tokio_postgres::types::FromSql<'_> for Present {
        fn from_sql(_: &Type, _: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
            Ok(Present)
        }
        fn accepts(_: &Type) -> bool {
            true
        }
    }
    matches!(row.try_get::<_, Option<Present>>(column), Ok(None))
}

fn to_sql(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

fn texts(ids: &[Id]) -> Vec<&str> {
    ids.iter().map(Id::as_str).collect()
}
