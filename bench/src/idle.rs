//! What a stream costs while nothing happens, and after its viewer has left.

use std::time::Duration;

use integration::stack::Stack;
use nix::unistd::Pid;
use tokio_postgres::Client;

use crate::{
    figure::{Bar, Figure},
    load::{self, Load, Times},
    machine::cpu_seconds,
    mode::Mode,
};

const GROUP: &str = "idle";

/// How many quiet streams; the bar names it.
const STREAMS: usize = 1000;
const SECONDS: u64 = 30;

/// How often the connections are counted meanwhile; each is a query of the bench's own.
const LOOKS: u32 = 300;

pub(crate) async fn run() -> Vec<Figure> {
    let mut figures = Vec::new();
    for mode in [Mode::Plain, Mode::Managed] {
        figures.extend(quiet(mode).await);
    }
    figures.extend(abandoned().await);
    figures
}

/// Streams with the default settings, that nothing is published to.
async fn quiet(mode: Mode) -> Vec<Figure> {
    let name = mode.name();
    eprintln!("  idle, {name}: {STREAMS} streams for {SECONDS} s");
    let stack = mode.stack(STREAMS + 100, &[]).await;
    // At this many, opening them takes a while; all of them have polled once when it begins.
    let load = Load::open(&stack, "idle", STREAMS).await;
    tokio::time::sleep(Duration::from_secs(16)).await;
    let pids = stack.pids("job-status").await;
    let postgres = stack.postgres().await;
    let (cpu, commands, queries) = counts(&pids, &stack, &postgres).await;
    let mut connections = 0;
    for _ in 0..LOOKS {
        tokio::time::sleep(Duration::from_secs(SECONDS) / LOOKS).await;
        connections = connections.max(connections_of_streams(&postgres).await);
    }
    let (cpu_after, commands_after, queries_after) = counts(&pids, &stack, &postgres).await;
    let queries_after = queries_after - f64::from(LOOKS);
    drop(load);
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let stream_hours = STREAMS as f64 * SECONDS as f64 / 3600.0;
    let per_hour = |before: f64, after: f64| [(after - before) / stream_hours];
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let connections = [connections as f64];
    vec![
        Figure::new(
            GROUP,
            format!("CPU per stream-hour, {name}"),
            "s",
            &per_hour(cpu, cpu_after),
        ),
        Figure::new(
            GROUP,
            format!("Redis commands per stream-hour, {name}"),
            "",
            &per_hour(commands, commands_after),
        )
        .with(Bar::Most(500.0)),
        Figure::new(
            GROUP,
            format!("Postgres transactions per stream-hour, {name}"),
            "",
            &per_hour(queries, queries_after),
        )
        .with(Bar::Most(120.0)),
        Figure::new(
            GROUP,
            format!("database connections of {STREAMS} streams, at most, {name}"),
            "",
            &connections,
        )
        .with(Bar::Most(20.0)),
    ]
}

/// Processor seconds of the functions, commands of Redis and transactions of Postgres so far.
pub(crate) async fn counts(pids: &[Pid], stack: &Stack, postgres: &Client) -> (f64, f64, f64) {
    let cpu = pids.iter().map(|pid| cpu_seconds(*pid)).sum();
    let commands = stack.valkey_info("total_commands_processed").await;
    let row = postgres
        .query_one(
            "SELECT xact_commit::float8 FROM pg_stat_database WHERE datname = current_database()",
            &[],
        )
        .await
        .unwrap();
    (cpu, commands.parse().unwrap(), row.get(0))
}

async fn connections_of_streams(postgres: &Client) -> i64 {
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'runcast\\_%'";
    postgres.query_one(connections, &[]).await.unwrap().get(0)
}

/// What is billed for a stream whose viewer left after a second.
async fn abandoned() -> Vec<Figure> {
    const WINDOW: &str = "20";
    eprintln!("  abandoned viewers: one window, {WINDOW} s");
    let stack = Mode::Plain
        .stack(100, &[("STREAM_WINDOW_SECONDS", WINDOW)])
        .await;
    let url = format!("{}/api/job-status/events/without-beacon", stack.url);
    let times = Times::default();
    let client = load::client();
    let with = Load::at_once(&stack, "with-beacon", 1).await;
    let without = load::open(&client, &url, &stack.token, &times).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    with.close().await;
    drop(without);
    let billed = integration::eventually("both have ended", async || {
        let ended = stack.ended("job-status").await;
        let billed: Vec<f64> = ended
            .iter()
            .filter(|ended| ended["durationMs"].as_f64() > Some(500.0))
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
