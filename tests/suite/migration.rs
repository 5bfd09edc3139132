//! A database as version 0.1 left it, migrated while its streams and its worker go on.

use integration::{
    eventually,
    stack::{Stack, update},
    viewer::Viewer,
};
use reqwest::Client;
use serde_json::json;
use tokio_postgres::{Client as Postgres, NoTls, error::SqlState};

/// How many executions it has, each with two events.
const EXECUTIONS: i32 = 20_000;

/// A database with the schema of 0.1, and its history of migrations; returns its URL.
async fn old_database(stack: &Stack) -> String {
    let postgres = stack.postgres().await;
    postgres.batch_execute("CREATE DATABASE old").await.unwrap();
    let history = "SELECT version, name, applied_on, checksum FROM refinery_schema_history
                   WHERE version <= 3";
    let history = postgres.query(history, &[]).await.unwrap();
    let (server, _) = stack.database_url.rsplit_once('/').unwrap();
    let url = format!("{server}/old");
    let old = connect(&url).await;
    for migration in [
        include_str!("../../infra/migrations/V1__log.sql"),
        include_str!("../../infra/migrations/V2__roles.sql"),
        include_str!("../../infra/migrations/V3__prune.sql"),
        "CREATE TABLE refinery_schema_history
             (version int4 PRIMARY KEY, name text, applied_on text, checksum text)",
    ] {
        old.batch_execute(migration).await.unwrap();
    }
    for row in history {
        let (version, name, on, sum): (i32, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let insert = "INSERT INTO refinery_schema_history VALUES ($1, $2, $3, $4)";
        old.execute(insert, &[&version, &name, &on, &sum])
            .await
            .unwrap();
    }
    url
}

async fn connect(url: &str) -> Postgres {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Executions as 0.1 wrote them: every other one has ended.
const FILL: &str = r#"
    CREATE FUNCTION pg_temp.state(n int, seq int) RETURNS text LANGUAGE sql AS $$
        SELECT '{"kind":"job","runId":"r' || n || '","jobId":null,"status":"'
            || CASE WHEN seq = 2 AND n % 2 = 0 THEN 'passed' ELSE 'running' END
            || '","seq":' || seq || ',"progress":null,"tests":null,"duration":null,"durationMs":null,'
            || '"startedAt":"2026-01-31T12:00:00.000Z","completedAt":null,"errorDetails":null,'
            || '"artifactPaths":null,"occurredAt":"2026-01-31T12:00:00.000Z"}' $$;
    INSERT INTO executions (kind, id, organization_id, project_id, seq, project_seq, status, state)
        SELECT 'job', 'r' || n, 'demo', 'demo', 2, 2 * n,
               pg_temp.state(n, 2)::json ->> 'status', pg_temp.state(n, 2)
        FROM generate_series(1, $N) n;
    INSERT INTO events (kind, id, seq, event_id, organization_id, project_id, project_seq, status,
                        state, occurred_at)
        SELECT 'job', 'r' || n, s, 'e' || s, 'demo', 'demo', 2 * n - 2 + s,
               pg_temp.state(n, s)::json ->> 'status', pg_temp.state(n, s), now()
        FROM generate_series(1, $N) n, generate_series(1, 2) s;
    INSERT INTO projects VALUES ('demo', 'demo', 'job', 2 * $N);
"#;

/// Does what 0.1's worker did, for as long as it can; returns how many events it wrote.
async fn old_worker(postgres: Postgres) -> i64 {
    let write = "WITH locked AS (
            INSERT INTO executions (kind, id, organization_id, project_id)
            VALUES ('job', 'written', 'demo', 'written') ON CONFLICT (kind, id) DO NOTHING)
        INSERT INTO events (kind, id, seq, event_id, organization_id, project_id, project_seq,
                            status, state, occurred_at)
        VALUES ('job', 'written', $1, ($1::bigint)::text, 'demo', 'written', $1, 'running', '{}', now())";
    let mut written = 0;
    loop {
        match postgres.execute(write, &[&(written + 1)]).await {
            Ok(_) => written += 1,
            // It goes back to the queue, and comes again.
            Err(error) if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) => {}
            // Its unique key is gone: what it is sent now goes back to the queue, for the new one.
            Err(error) if error.code() == Some(&SqlState::INVALID_COLUMN_REFERENCE) => {
                return written;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Reads what 0.1's streams read, for as long as the other goes on.
async fn old_reader(postgres: Postgres, mut done: tokio::sync::oneshot::Receiver<()>) -> u32 {
    postgres
        .batch_execute("SET statement_timeout = '4s'")
        .await
        .unwrap();
    let mut reads = 0;
    while done.try_recv().is_err() {
        for read in [
            "SELECT seq, status, state FROM executions WHERE kind = 'job' AND id = ANY ('{r1,r2}')",
            "SELECT seq, state FROM events WHERE kind = 'job' AND id = 'r7' AND seq > 0",
        ] {
            assert_eq!(postgres.query(read, &[]).await.unwrap().len(), 2);
            reads += 1;
        }
    }
    reads
}

#[tokio::test]
async fn a_database_of_the_version_before_is_migrated_while_everybody_goes_on() {
    let first = Stack::start().await;
    let url = old_database(&first).await;
    let postgres = connect(&url).await;
    let fill = FILL.replace("$N", &EXECUTIONS.to_string());
    postgres.batch_execute(&fill).await.unwrap();

    let (done, is_done) = tokio::sync::oneshot::channel();
    let writing = tokio::spawn(old_worker(connect(&url).await));
    let reading = tokio::spawn(old_reader(connect(&url).await, is_done));
    let stack = Stack::beside(&first.redis_url, &url, &[]).await;
    let written = writing.await.unwrap();
    done.send(()).unwrap();
    let reads = reading.await.unwrap();
    println!("{written} events written, {reads} reads while it migrated");
    assert!(written > 0 && reads > 0);
    let kept = "SELECT count(*) FROM events WHERE id = 'written'";
    assert_eq!(
        stack.number(kept).await,
        written,
        "what was committed is there"
    );

    // States are whole, cursors go on, and what ended has ended.
    let mut viewer = stack
        .watch("/api/job-status/events?runId=r1&runId=r2")
        .await;
    let state = viewer.state().await;
    assert_eq!(
        (&state["status"], &state["attempt"]),
        (&json!("running"), &json!(1))
    );
    assert!(
        state["attempts"].is_array() && state["deadlineAt"].is_null(),
        "{state}"
    );
    viewer.state().await;
    stack.publish("job", "r1", "passed").await;
    assert_eq!(viewer.status().await, ("passed".to_owned(), 3));
    let response = stack.get("/api/job-status/events/r2", Some("2")).await;
    assert_eq!(response.status(), 204);
    let mut resumed = stack.resume("/api/job-status/events/r1", Some("1")).await;
    assert_eq!(resumed.rest().await.0, [2, 3]);
    // A project begins with what ended last.
    stack.publish("job", "r3", "failed").await;
    let mut project = stack.watch("/api/job-status/events?projectId=demo").await;
    let mut ended = 0;
    while project.last_event_id.is_none() {
        let state = project.state().await;
        ended += u32::from(state["status"] != "running");
    }
    assert_eq!(ended, 20);

    // Another organization may use the same ids.
    let mut theirs = update("job", "r2", "running");
    theirs["organizationId"] = json!("other");
    assert_eq!(stack.send(json!([theirs])).await["accepted"], 1);
    let token = stack.token(&["--org", "other"]).await;
    let response = Client::new()
        .get(format!("{}/api/job-status/events/r2", stack.url))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(
        Viewer::new(response).status().await,
        ("running".to_owned(), 1)
    );

    // Nothing is left to migrate, nor an index that is of no use.
    let again = stack.invoke("migrate", &json!({"action": "migrate"})).await;
    assert_eq!(again, json!({"applied": []}));
    let broken = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(stack.number(broken).await, 0);
}

#[tokio::test]
async fn a_migration_that_was_cut_short_is_done_again() {
    let first = Stack::start().await;
    let url = old_database(&first).await;
    let postgres = connect(&url).await;
    // What Postgres leaves of an index whose building was cut short.
    let left = "CREATE INDEX events_key ON events (kind);
                UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'events_key'::regclass";
    postgres.batch_execute(left).await.unwrap();
    let stack = Stack::beside(&first.redis_url, &url, &[]).await;
    stack.publish("job", "r", "passed").await;
    let keys = "SELECT count(*) FROM pg_constraint WHERE conname IN
                ('executions_pkey', 'events_pkey', 'events_event_id_key')";
    assert_eq!(stack.number(keys).await, 3);
}

#[tokio::test]
async fn a_migration_that_is_in_a_workers_way_and_the_worker_in_its_is_tried_again() {
    let first = Stack::start().await;
    let url = old_database(&first).await;
    let postgres = connect(&url).await;
    // Who has waited this long looks for a deadlock, and gives way: the migration.
    let settings = "ALTER DATABASE old SET deadlock_timeout = '3s'; SET deadlock_timeout = '1min'";
    postgres.batch_execute(settings).await.unwrap();
    // A worker writes events …
    let begin = "BEGIN; LOCK TABLE events IN ROW EXCLUSIVE MODE";
    postgres.batch_execute(begin).await.unwrap();
    let redis_url = first.redis_url.clone();
    let migrating = tokio::spawn(async move { Stack::beside(&redis_url, &url, &[]).await });
    // … for whose end the building of an index waits …
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE query LIKE '%CONCURRENTLY%events_key%' AND wait_event_type = 'Lock'";
    let is_waiting = async || (first.number(waits).await == 1).then_some(());
    eventually("the migration waits", is_waiting).await;
    // … and waits for that.
    let both = "LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE; COMMIT";
    postgres.batch_execute(both).await.unwrap();
    let stack = migrating.await.unwrap();
    stack.publish("job", "r", "passed").await;
    let broken = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(stack.number(broken).await, 0);
}
