//! The log in Postgres: the truth about every execution.

mod append;
mod connect;
mod outbox;
mod polls;
mod read;
mod row;
mod runs;
pub mod schema;
mod session;
mod shared;

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, PoolBuilder, PoolError,
    QueueMode, RecyclingMethod, Runtime,
};
use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::{Row, error::SqlState};

pub use self::{
    append::{Answer, Appended, Submission, Sweep},
    outbox::{Change, Changes, Told, Untold},
    polls::{Heads, Reached},
    read::{After, Head, States, Tests, TestsFrom},
    runs::{Asked, Before, Runs},
    shared::{Read, SharedRead},
};
use self::{
    polls::Polls,
    session::{Parameter, Session},
    shared::Reads,
};
use crate::config;

/// How long one read may take before its connection counts as dead.
const READ_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the connection of a process that serves one stream stays open after a read.
const READ_LINGER: Duration = Duration::from_millis(100);

/// After how many uses of a connection its plans are made anew for the first time; from then on, after twice
/// as many each time.
const FIRST_PLANS: usize = 16;

/// A standby that took over writes another timeline, and may not have had all: the log's numbers are
/// of a new epoch from then on.
const NOTE_TIMELINE: &str = "UPDATE epoch SET timeline = now.timeline, epoch = CASE
         WHEN epoch.timeline IS NULL THEN epoch ELSE extract(epoch FROM now())::bigint END
     FROM (SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline) now
     WHERE epoch.timeline IS DISTINCT FROM now.timeline";

/// The log.
#[derive(Clone, Debug)]
pub struct Log {
    pool: Pool,
    reads: Arc<Reads>,
    polls: Arc<Polls>,
    /// Whether statements are prepared: see [`config::Database::proxy`].
    prepares: bool,
    /// How long a connection stays open after a read that another may follow.
    linger: Duration,
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

impl Log {
    /// A log at `database`, to be read with at most `connections` connections. None is opened yet.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn new(database: &config::Database, connections: usize) -> Self {
        Self::of(Self::pool(database, connections), database, connections)
    }

    /// A log at `database`, to be written over at most `connections` connections. None is opened yet.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn writer(database: &config::Database, connections: usize) -> Self {
        let note = Hook::async_fn(|client, _| {
            Box::pin(async move {
                // Where Postgres does not tell (Aurora, whose failover loses nothing), nobody knows.
                let noted = client.batch_execute(NOTE_TIMELINE).await;
                if let Err(error) = noted {
                    tracing::debug!(%error, "Postgres does not tell its timeline");
                }
                Ok(())
            })
        });
        let pool = Self::pool(database, connections).post_create(note);
        Self::of(pool, database, connections)
    }

    fn pool(database: &config::Database, connections: usize) -> PoolBuilder {
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
        // What was planned for tables as they were, is planned anew as they grow.
        let plan_anew = Hook::async_fn(|client: &mut ClientWrapper, metrics| {
            let uses = metrics.recycle_count;
            Box::pin(async move {
                if uses >= FIRST_PLANS && uses.is_power_of_two() {
                    client
                        .batch_execute("DISCARD PLANS")
                        .await
                        .map_err(HookError::Backend)?;
                }
                Ok(())
            })
        });
        Pool::builder(manager)
            .max_size(connections)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(Duration::from_secs(3)))
            .wait_timeout(Some(Duration::from_secs(3)))
            .pre_recycle(not_idle)
            .pre_recycle(plan_anew)
    }

    fn of(builder: PoolBuilder, database: &config::Database, connections: usize) -> Self {
        #[expect(clippy::expect_used, reason = "a runtime is given")]
        let pool = builder.build().expect("the pool has a runtime");
        Log {
            pool,
            reads: Arc::default(),
            polls: Arc::default(),
            prepares: !database.proxy,
            // A process that serves many has few connections for all of them.
            linger: if connections > 1 {
                database.idle
            } else {
                READ_LINGER
            },
        }
    }

    /// Opens a connection where there is none, so that a read finds one.
    pub async fn connect(&self) {
        if self.pool.status().size == 0 {
            // Who reads finds the same, and says so.
            let _ = self.session().await;
        }
    }

    /// Asks Postgres whether it is there.
    ///
    /// # Errors
    /// Where no connection can be had, or it does not answer.
    pub async fn ping(&self) -> Result<(), LogError> {
        self.query("SELECT 1", &[]).await.map(drop)
    }

    /// Closes connections that nobody else uses: called after a later read while Redis brings what is new, so
    /// that quiet streams hold none.
    pub fn close_unused(&self) {
        let (pool, linger) = (self.pool.clone(), self.linger);
        tokio::spawn(async move {
            tokio::time::sleep(linger).await;
            pool.retain(|_, metrics| metrics.last_used() < linger);
        });
    }

    /// Runs one statement in one round trip, on a fresh connection where the first is found dead.
    async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, LogError> {
        let mut attempts_left = 3;
        loop {
            attempts_left -= 1;
            let session = self.session().await?;
            let result = timeout(READ_TIMEOUT, session.query(sql, parameters)).await;
            let error = match result {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => LogError::from(error),
                Err(_) => LogError::TimedOut(READ_TIMEOUT),
            };
            if error.is_of_connection() {
                session.close();
            }
            if attempts_left == 0 || !error.is_worth_another_try() {
                return Err(error);
            }
        }
    }

    async fn session(&self) -> Result<Session, LogError> {
        let connection = self.pool.get().await;
        let connection = connection.map_err(|error| LogError::Connect(Box::new(error)))?;
        Ok(Session::new(connection, self.prepares))
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

    /// Whether Postgres ended it for another that waits for it, while it waits for that one.
    fn is_deadlock(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let postgres = error.downcast_ref::<tokio_postgres::Error>();
            if postgres.and_then(|error| error.code()) == Some(&SqlState::T_R_DEADLOCK_DETECTED) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    fn is_worth_another_try(&self) -> bool {
        self.is_of_connection() && !matches!(self, LogError::TimedOut(_))
    }
}

fn is_read_only(code: &SqlState) -> bool {
    *code == SqlState::READ_ONLY_SQL_TRANSACTION
}
