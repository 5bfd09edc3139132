//! What happens where much happens at once: events that overtake each other, a run that everybody
//! writes to, a batch that is large.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration::stack::{NO_POLL, Stack, update};
use serde_json::{Value, json};

use crate::figure::{Bar, Figure, median};

const GROUP: &str = "pressure";
const VIEWERS: usize = 10;
const SENDERS: usize = 8;
/// How many updates each of them sends.
const EACH: usize = 100;

pub(crate) async fn run() -> Vec<Figure> {
    let mut figures = out_of_order().await;
    figures.extend(hot_run().await);
    figures.push(large_batch().await);
    figures
}

/// Senders of one project, side by side: their events overtake each other.
async fn out_of_order() -> Vec<Figure> {
    eprintln!("  pressure: {SENDERS} senders and {VIEWERS} viewers of one project");
    let stack = Stack::with(&[], &[NO_POLL, ("RUST_LOG", "warn")]).await;
    let open = (0..VIEWERS).map(|_| stack.watch("/api/job-status/events?projectId=demo"));
    let mut viewers = join_all(open).await;
    let before = scans(&stack).await;
    let send = join_all((0..SENDERS).map(async |sender| {
        for _ in 0..EACH {
            stack.publish("job", &format!("r{sender}"), "running").await;
        }
    }));
    let read = join_all(viewers.iter_mut().map(async |viewer| {
        for _ in 0..SENDERS * EACH {
            viewer.state().await;
        }
    }));
    tokio::join!(send, read);
    let after = scans(&stack).await;
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let reads = (after.0 - before.0) as f64 - (SENDERS * EACH) as f64;
    vec![
        Figure::new(
            GROUP,
            format!(
                "reads of the log, {} events of {SENDERS} senders, {VIEWERS} viewers",
                SENDERS * EACH
            ),
            "",
            &[reads.max(0.0)],
        )
        .with(Bar::Most(50.0)),
        Figure::new(
            GROUP,
            "updates of executions that are heap-only (HOT)",
            "%",
            &[after.1],
        )
        .with(Bar::Least(90.0)),
    ]
}

/// How often the log was read or written (each time, its epoch is read), and how many in a hundred
/// updates of executions were heap-only.
async fn scans(stack: &Stack) -> (i64, f64) {
    // Postgres tells what it counted a second later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let postgres = stack.postgres().await;
    let counts = "SELECT (SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'epoch'),
                         (SELECT 100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1)
                          FROM pg_stat_user_tables WHERE relname = 'executions')::float8";
    let row = postgres.query_one(counts, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// A run whose tests change all the time, beside runs that change now and then.
async fn hot_run() -> Vec<Figure> {
    const QUIET: usize = 50;
    eprintln!("  pressure: a hot run and {QUIET} quiet ones");
    let stack = Stack::with(&[], &[("RUST_LOG", "warn")]).await;
    let quiet = async || {
        let mut latencies = Vec::new();
        for _ in 0..4 {
            for run in 0..QUIET {
                let sent = Instant::now();
                let mut update = update("job", &format!("quiet{run}"), "running");
                update["projectId"] = json!("quiet");
                stack.send(json!([update])).await;
                latencies.push(sent.elapsed().as_secs_f64() * 1000.0);
            }
        }
        median(latencies)
    };
    let alone = quiet().await;
    // As much is done, but each for a run of its own: what the machine itself adds.
    let spread = beside(&stack, true, quiet()).await;
    let hot = beside(&stack, false, quiet()).await;
    vec![
        Figure::new(GROUP, "a quiet run's update, alone", "ms", &[alone]),
        Figure::new(
            GROUP,
            format!("the same beside {SENDERS} senders of one run; floor: of {SENDERS} runs"),
            "ms",
            &[hot],
        )
        .over(&[hot], &[spread])
        .with(Bar::Ratio(2.0)),
    ]
}

async fn beside(stack: &Stack, spread: bool, work: impl Future<Output = f64>) -> f64 {
    let sending = join_all((0..SENDERS).map(async |sender| {
        for n in 0.. {
            let updates: Vec<Value> = (0..10)
                .map(|test| {
                    let id = format!("{spread}{sender}-{}", (n * 10 + test) % 500);
                    let mut update = update("test", &id, "running");
                    let run = if spread { sender } else { SENDERS };
                    update["runId"] = json!(format!("hot{run}"));
                    update["projectId"] = json!(format!("hot{run}"));
                    update
                })
                .collect();
            stack.send(json!(updates)).await;
        }
    }));
    tokio::select! {
        _ = sending => unreachable!("it goes on for ever"),
        latency = work => latency,
    }
}

/// A direct invocation of as many updates as its 6 MB hold.
async fn large_batch() -> Figure {
    const TESTS: usize = 25_000;
    eprintln!("  pressure: a batch of {TESTS} tests of one run");
    let stack = Stack::with(&[], &[("RUST_LOG", "warn")]).await;
    let mut run = update("job", "r", "running");
    run["artifactPaths"] = json!((0..1_200).map(|n| format!("{n:0>100}")).collect::<Vec<_>>());
    stack.send(json!([run])).await;
    let updates: Vec<Value> = (0..TESTS)
        .map(|test| {
            let mut update = update("test", &format!("t{test}"), "passed");
            update["runId"] = json!("r");
            update
        })
        .collect();
    let answer = stack.send(json!(updates)).await;
    assert_eq!(answer["accepted"], TESTS, "{answer}");
    let report = stack.report().await;
    let peak = report["functions"]["worker"]["peakMemoryMb"].as_f64();
    Figure::new(
        GROUP,
        format!("the worker's memory, {TESTS} tests of a run with 120 KB of paths in one batch"),
        "MB",
        &[peak.unwrap()],
    )
    .with(Bar::Most(256.0))
}
