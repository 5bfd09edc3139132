//! The schema of the log, and its retention.

use refinery::{Report, Target};
use tokio_postgres::Client;

use super::{LogError, connect};
use crate::{cause, config};

mod migrations {
    refinery::embed_migrations!("../infra/migrations");
}

/// What takes long on a large table, outside of a transaction, so that nobody waits for it; and the
/// migration after which it comes.
const ONLINE: [(i32, &str); 2] = [
    (4, include_str!("../../../infra/migrations/online.sql")),
    (7, include_str!("../../../infra/migrations/online_runs.sql")),
];

/// What a prune deleted.
#[derive(Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Events of the log.
    pub events: u64,
    /// Rejected updates.
    pub rejected_updates: u64,
}

/// How often a migration is tried that a worker, who locks the same in another order, stands in the way of.
const TRIES: usize = 10;

/// Brings the schema to this version; returns the names of the migrations that were applied.
///
/// # Errors
/// Where Postgres is away, or a migration fails; it is then undone.
pub async fn migrate(database: &config::Database) -> Result<Vec<String>, LogError> {
    let mut applied = Vec::new();
    let mut tries_left = TRIES;
    loop {
        tries_left -= 1;
        match migrate_all(database, &mut applied).await {
            Err(error) if tries_left > 0 && error.is_deadlock() => {
                tracing::warn!(error = cause::chain(&error), "a migration is tried again");
            }
            done => return done.map(|()| applied),
        }
    }
}

async fn migrate_all(
    database: &config::Database,
    applied: &mut Vec<String>,
) -> Result<(), LogError> {
    let mut client = connect(database).await?;
    for (version, statements) in ONLINE {
        migrate_to(&mut client, Target::Version(version), applied).await?;
        let runner = migrations::migrations::runner();
        let last = runner.get_last_applied_migration_async(&mut client).await;
        let last = last.map_err(|error| LogError::Migrate(Box::new(error)))?;
        if last.is_some_and(|last| last.version() <= version) {
            migrate_online(&client, statements).await?;
        }
    }
    migrate_to(&mut client, Target::Latest, applied).await
}

async fn migrate_to(
    client: &mut Client,
    target: Target,
    applied: &mut Vec<String>,
) -> Result<(), LogError> {
    let migrated = migrations::migrations::runner()
        // A newer version's: a deployment that is rolled back goes on.
        .set_abort_missing(false)
        .set_target(target)
        .run_async(client)
        .await;
    let report = match &migrated {
        Ok(report) => Some(report),
        Err(error) => error.report(),
    };
    let done = report.into_iter().flat_map(Report::applied_migrations);
    applied.extend(done.map(ToString::to_string));
    migrated.map_err(|error| LogError::Migrate(Box::new(error)))?;
    Ok(())
}

async fn migrate_online(client: &Client, statements: &str) -> Result<(), LogError> {
    // Of a former try that was cut short: Postgres leaves what it did not finish, marked invalid.
    let broken = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid
                  AND indrelid IN ('executions'::regclass, 'events'::regclass)";
    for row in client.query(broken, &[]).await? {
        let name: &str = row.try_get(0)?;
        client
            .batch_execute(&format!("DROP INDEX CONCURRENTLY IF EXISTS {name}"))
            .await?;
    }
    for statement in statements.split(";\n") {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

/// Deletes events and rejected updates older than so many days. Executions keep their last state:
/// that is what keeps a final status final.
///
/// # Errors
/// Where Postgres is away.
pub async fn prune(database: &config::Database, older_than_days: u32) -> Result<Pruned, LogError> {
    let client = connect(database).await?;
    let days = f64::from(older_than_days);
    /// Deletes a part of what is older than so many days, of a table, by its column of time.
    macro_rules! part {
        ($table:literal, $at:literal) => {
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE ctid = ANY (ARRAY(SELECT ctid FROM ",
                $table,
                " WHERE ",
                $at,
                " < now() - $1 * interval '1 day' LIMIT 10000))"
            )
        };
    }
    let (events, rejected) = (
        part!("events", "recorded_at"),
        part!("rejected_updates", "rejected_at"),
    );
    Ok(Pruned {
        events: delete(&client, events, days).await?,
        rejected_updates: delete(&client, rejected, days).await?,
    })
}

/// Runs a statement that deletes a part until nothing is left. Each part is a transaction: what was
/// deleted stays so where Lambda's time limit ends the rest, which the next prune goes on with.
async fn delete(client: &Client, part: &str, days: f64) -> Result<u64, LogError> {
    let mut deleted = 0;
    loop {
        match client.execute(part, &[&days]).await? {
            0 => return Ok(deleted),
            rows => deleted += rows,
        }
    }
}

/// Begins a new epoch of a log that was restored from a backup; returns it. Clients that have seen more
/// than the log has now, are told to start over.
///
/// # Errors
/// Where Postgres is away.
pub async fn begin_epoch(database: &config::Database) -> Result<i64, LogError> {
    let begin = "UPDATE epoch SET epoch = greatest(epoch + 1, extract(epoch FROM now())::bigint) \
                 RETURNING epoch";
    Ok(connect(database)
        .await?
        .query_one(begin, &[])
        .await?
        .try_get(0)?)
}

/// Lets the log's two roles log in by IAM authentication, as RDS wants it: whoever is a member of
/// `rds_iam` logs in that way only.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html>
///
/// # Errors
/// Where Postgres is away, or not RDS.
pub async fn grant_iam_logins(database: &config::Database) -> Result<(), LogError> {
    let grant = "ALTER ROLE runcast_reader LOGIN; ALTER ROLE runcast_writer LOGIN; \
                 GRANT rds_iam TO runcast_reader, runcast_writer";
    Ok(connect(database).await?.batch_execute(grant).await?)
}

async fn connect(database: &config::Database) -> Result<Client, LogError> {
    Ok(connect::Connector::new(database).open().await?.0)
}
