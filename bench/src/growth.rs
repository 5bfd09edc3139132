//! Growth: the same work, when the log is larger, and when an execution's history is longer.

use integration::stack::Stack;
use tokio_postgres::Client;

use crate::{
    figure::{Figure, median},
    first_event, load,
    worker::{self, BARRED},
};

const GROUP: &str = "growth";
const EXECUTIONS: [u64; 2] = [10_000, 1_000_000];
const HISTORY: [u64; 2] = [10, 10_000];
const REQUESTS: usize = 50;

pub(crate) async fn run() -> Vec<Figure> {
    let stack = Stack::with(&[], &[("RUST_LOG", "warn")]).await;
    let postgres = stack.postgres().await;
    for events in HISTORY {
        seed_history(&postgres, events).await;
    }
    let mut figures = Vec::new();
    let (mut firsts, mut events) = (Vec::new(), Vec::new());
    let mut held = 0;
    for executions in EXECUTIONS {
        eprintln!("  growth: {executions} executions");
        seed(&postgres, held, executions).await;
        held = executions;
        firsts.push(medians(&stack, "seed-7", None).await);
        events.push(worker::throughput(&stack, BARRED).await.0);
    }
    figures.push(grown(
        "first event, 10⁶ executions over 10⁴, p50",
        "ms",
        &firsts,
    ));
    figures.push(grown(
        "worker, 10⁶ executions over 10⁴",
        "events/s",
        &events,
    ));
    let (mut firsts, mut resumed) = (Vec::new(), Vec::new());
    for events in HISTORY {
        eprintln!("  growth: a history of {events} events");
        let id = format!("history-{events}");
        firsts.push(medians(&stack, &id, None).await);
        resumed.push(medians(&stack, &id, Some(&(events - 1).to_string())).await);
    }
    figures.push(grown(
        "first event, a history of 10⁴ events over 10, p50",
        "ms",
        &firsts,
    ));
    figures.push(grown(
        "resuming at its last event, 10⁴ events over 10, p50",
        "ms",
        &resumed,
    ));
    figures
}

/// The larger over the smaller, in the floor's place.
fn grown(name: &str, unit: &'static str, runs: &[Vec<f64>]) -> Figure {
    Figure::new(GROUP, name, unit, &runs[1]).over(&runs[1], &runs[0])
}

/// Medians to a first event, with what is warm as it is.
async fn medians(stack: &Stack, id: &str, last_event_id: Option<&str>) -> Vec<f64> {
    let client = load::client();
    let resume = last_event_id
        .map(|id| format!("?lastEventId={id}"))
        .unwrap_or_default();
    let path = format!("{id}{resume}");
    let mut medians = Vec::new();
    for run in 0..=3 {
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            times.push(first_event::first_event(stack, &client, &path).await);
        }
        if run > 0 {
            medians.push(median(times));
        }
    }
    medians
}

/// A state as it is stored, ended, so that its stream ends at once.
const STATE: &str = r#"'{"kind":"job","runId":"' || id || '","jobId":"nightly","status":"passed","seq":' || seq ||
    ',"progress":null,"tests":null,"duration":"1m 5s","durationMs":65000,"startedAt":null,"completedAt":null,"errorDetails":null,"artifactPaths":null,"occurredAt":"2026-01-01T00:00:00.000Z"}'"#;

/// Executions with an event each, up to so many.
async fn seed(postgres: &Client, from: u64, to: u64) {
    let rows =
        format!("SELECT 'seed-' || n AS id, n, 1 AS seq FROM generate_series({from} + 1, {to}) n");
    insert(postgres, &rows, "seed").await;
}

/// One execution with so many events.
async fn seed_history(postgres: &Client, events: u64) {
    let rows =
        format!("SELECT 'history-{events}' AS id, n, n AS seq FROM generate_series(1, {events}) n");
    insert(postgres, &rows, &format!("history-{events}")).await;
}

async fn insert(postgres: &Client, rows: &str, project: &str) {
    let sql = format!(
        "SET synchronous_commit = off;
         INSERT INTO executions (kind, id, organization_id, project_id, seq, project_seq, status, state)
         SELECT DISTINCT ON (id) 'job', id, 'demo', '{project}', seq, n, 'passed', {STATE}
         FROM ({rows}) x ORDER BY id, seq DESC;
         INSERT INTO events (kind, id, seq, event_id, organization_id, project_id, project_seq, status, state,
                             occurred_at)
         SELECT 'job', id, seq, 'e' || n, 'demo', '{project}', n, 'passed', {STATE}, now()
         FROM ({rows}) x;
         INSERT INTO projects (organization_id, project_id, kind, seq)
         SELECT 'demo', '{project}', 'job', max(n) FROM ({rows}) x
         ON CONFLICT (organization_id, project_id, kind) DO UPDATE SET seq = excluded.seq;
         VACUUM (ANALYZE) executions, events; CHECKPOINT"
    );
    // One by one: the last two are no part of a transaction.
    for statement in sql
        .split(';')
        .filter(|statement| !statement.trim().is_empty())
    {
        postgres.batch_execute(statement).await.unwrap();
    }
}
