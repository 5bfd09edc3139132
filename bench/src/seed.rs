//! A log that has grown: rows as the worker leaves them, by the million.

use futures_util::future::try_join_all;
use integration::stack::Stack;
use tokio_postgres::Client;

/// How many executions there are in the end.
pub(crate) const MOST: u64 = 1_000_000;

/// Of each execution: ten million in all.
const EVENTS: u64 = 10;

/// How many executions are put in at once.
const PART: u64 = 50_000;

/// A state as it is stored, ended, so that its stream ends at once.
const STATE: &str = r#"'{"kind":"job","runId":"' || id || '","jobId":"nightly","status":"passed","seq":' || seq ||
    ',"progress":null,"tests":null,"duration":"1m 5s","durationMs":65000,"startedAt":null,"completedAt":null,"errorDetails":null,"artifactPaths":null,"occurredAt":"2026-01-01T00:00:00.000Z"}'"#;

/// Executions with their events, up to so many, all of them old; each part on one of two connections.
pub(crate) async fn executions(stack: &Stack, from: u64, to: u64) {
    let parts: Vec<u64> = (from..to).step_by(usize::try_from(PART).unwrap()).collect();
    let seeders = (0..2).map(async |seeder| {
        let postgres = stack.postgres().await;
        for first in parts.iter().skip(seeder).step_by(2) {
            let last = (first + PART).min(to);
            let rows = format!(
                "SELECT 'seed-' || n AS id, (n - 1) * {EVENTS} + seq AS n, seq
                 FROM generate_series({first} + 1, {last}) n, generate_series(1, {EVENTS}) seq"
            );
            insert(&postgres, &rows, "seed").await?;
        }
        Ok::<_, tokio_postgres::Error>(())
    });
    try_join_all(seeders).await.unwrap();
    settle(&stack.postgres().await).await;
}

/// What autovacuum does in time.
async fn settle(postgres: &Client) {
    for statement in ["VACUUM (ANALYZE) executions, events", "CHECKPOINT"] {
        postgres.batch_execute(statement).await.unwrap();
    }
}

/// One execution with so many events.
pub(crate) async fn history(postgres: &Client, events: u64) {
    let rows =
        format!("SELECT 'history-{events}' AS id, n, n AS seq FROM generate_series(1, {events}) n");
    let project = format!("history-{events}");
    insert(postgres, &rows, &project).await.unwrap();
    settle(postgres).await;
}

async fn insert(postgres: &Client, rows: &str, project: &str) -> Result<(), tokio_postgres::Error> {
    let sql = format!(
        "SET synchronous_commit = off;
         INSERT INTO executions (kind, id, organization_id, project_id, seq, project_seq, status, state)
         SELECT DISTINCT ON (id) 'job', id, 'demo', '{project}', seq, n, 'passed', {STATE}
         FROM ({rows}) x ORDER BY id, seq DESC;
         INSERT INTO events (kind, id, seq, event_id, organization_id, project_id, project_seq, status, state,
                             occurred_at, recorded_at)
         SELECT 'job', id, seq, 'e' || n, 'demo', '{project}', n, 'passed', {STATE}, now(),
                now() - interval '60 days'
         FROM ({rows}) x;
         INSERT INTO projects (organization_id, project_id, kind, seq)
         SELECT 'demo', '{project}', 'job', max(n) FROM ({rows}) x
         ON CONFLICT (organization_id, project_id, kind) DO UPDATE SET seq = greatest(projects.seq, excluded.seq)"
    );
    postgres.batch_execute(&sql).await
}
