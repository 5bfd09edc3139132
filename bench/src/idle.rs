//! What a stream costs while nothing happens, and after its viewer has left.

use std::time::Duration;

use integration::stack::Stack;
use nix::unistd::Pid;
use redis::aio::MultiplexedConnection;
use tokio_postgres::Client;

use crate::{
    figure::{Bar, Figure},
    load::{self, Load, Times},
    machine::cpu_seconds,
};

const GROUP: &str = "idle";

/// How many quiet streams; the bar names it.
const STREAMS: usize = 1000;
const SECONDS: u64 = 30;

pub(crate) async fn run() -> Vec<Figure> {
    let mut figures = Vec::new();
    for managed in [false, true] {
        figures.extend(quiet(managed).await);
    }
    figures.extend(abandoned().await);
    figures
}

/// Streams with the default settings, that nothing is published to.
async fn quiet(managed: bool) -> Vec<Figure> {
    let mode = if managed {
        "managed"
    } else {
        "a process a stream"
    };
    eprintln!("  idle, {mode}: {STREAMS} streams for {SECONDS} s");
    let option = if managed {
        "--managed"
    } else {
        "--max-environments"
    };
    let stack = Stack::with(&[option, "1100"], &[("RUST_LOG", "warn")]).await;
    // At this many, opening them takes a while; all of them have polled once when it begins.
    let load = Load::open(&stack, "idle", STREAMS).await;
    tokio::time::sleep(Duration::from_secs(16)).await;
    let pids = stack.pids("job-status").await;
    let (mut redis, postgres) = (stack.redis().await, stack.postgres().await);
    let (cpu, commands, queries) = counts(&pids, &mut redis, &postgres).await;
    let mut connections = 0;
    for _ in 0..SECONDS * 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        connections = connections.max(connections_of_streams(&postgres).await);
    }
    let (cpu_after, commands_after, queries_after) = counts(&pids, &mut redis, &postgres).await;
    drop(load);
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let stream_hours = STREAMS as f64 * SECONDS as f64 / 3600.0;
    let per_hour = |before: f64, after: f64| [(after - before) / stream_hours];
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let connections = [connections as f64];
    vec![
        Figure::new(
            GROUP,
            format!("CPU per stream-hour, {mode}"),
            "s",
            &per_hour(cpu, cpu_after),
        ),
        Figure::new(
            GROUP,
            format!("Redis commands per stream-hour, {mode}"),
            "",
            &per_hour(commands, commands_after),
        ),
        Figure::new(
            GROUP,
            format!("Postgres queries per stream-hour, {mode}"),
            "",
            &per_hour(queries, queries_after),
        ),
        Figure::new(
            GROUP,
            format!("database connections of {STREAMS} streams, at most, {mode}"),
            "",
            &connections,
        )
        .with(Bar::Most(20.0)),
    ]
}

/// Processor seconds of the functions, commands of Redis and transactions of Postgres so far; the
/// bench's own are too few to show.
async fn counts(
    pids: &[Pid],
    redis: &mut MultiplexedConnection,
    postgres: &Client,
) -> (f64, f64, f64) {
    let cpu = pids.iter().map(|pid| cpu_seconds(*pid)).sum();
    let stats: String = redis::cmd("INFO")
        .arg("stats")
        .query_async(redis)
        .await
        .unwrap();
    let commands = stats
        .lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"));
    let commands = commands.unwrap().trim().parse().unwrap();
    let row = postgres
        .query_one(
            "SELECT xact_commit::float8 FROM pg_stat_database WHERE datname = current_database()",
            &[],
        )
        .await
        .unwrap();
    (cpu, commands, row.get(0))
}

async fn connections_of_streams(postgres: &Client) -> i64 {
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'runcast\\_%'";
    postgres.query_one(connections, &[]).await.unwrap().get(0)
}

/// What is billed for a stream whose viewer left after a second.
async fn abandoned() -> Vec<Figure> {
    const WINDOW: &str = "20";
    eprintln!("  abandoned viewers: one window, {WINDOW} s");
    let stack = Stack::with(
        &[],
        &[("STREAM_WINDOW_SECONDS", WINDOW), ("RUST_LOG", "warn")],
    )
    .await;
    let url = |id: &str| format!("{}/api/job-status/events/{id}", stack.url);
    let times = Times::default();
    let client = load::client();
    let with = Load::at_once(vec![url("with-beacon")], &stack, 1).await;
    let without = load::open(&client, &url("without-beacon"), &stack.token, &times).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    with.close().await;
    drop(without);
    let billed = integration::eventually("both have ended", async || {
        let report = stack.report().await;
        let ended = report["invocations"].as_array()?.iter().filter(|ended| {
            ended["function"] == "job-status" && ended["durationMs"].as_f64() > Some(500.0)
        });
        let billed: Vec<f64> = ended
            .filter_map(|ended| ended["billedDurationMs"].as_f64())
            .collect();
        (billed.len() == 2).then_some(billed)
    })
    .await;
    let (least, most) = (
        billed[0].min(billed[1]) / 1000.0,
        billed[0].max(billed[1]) / 1000.0,
    );
    vec![
        Figure::new(
            "abandoned",
            "billed for a viewer who left after 1 s, with a beacon",
            "s",
            &[least],
        ),
        Figure::new(
            "abandoned",
            format!("the same without, window {WINDOW} s"),
            "s",
            &[most],
        ),
    ]
}
