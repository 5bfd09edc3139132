//! Many streams: 20,000 on two servers, and both restarted in turn while events go on.

use std::time::Duration;

use futures_util::future::join_all;
use integration::{
    served::{Served, shared_token},
    stack::{SHARED_JWKS, Stack, update, with},
};
use rand::RngExt;
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    figure::{Bar, Figure, percentile, sorted},
    load,
    machine::{cpu_seconds, resident},
    watchers::{Seen, Watchers, id_of, now},
};

const GROUP: &str = "scale";
const SERVERS: usize = 2;
const STREAMS: usize = 20_000;

/// How many the same is measured with before.
const FEW: usize = 100;

/// Updates a second, and how many are sent at once.
const RATE: u32 = 200;
const AT_ONCE: u32 = 20;

const SECONDS: u64 = 15;

/// Over how long a server ends its streams.
const GRACE: &str = "20";

pub(crate) async fn run() -> Vec<Figure> {
    let stack = Stack::with(&[], &[("AUTH_JWKS", SHARED_JWKS), ("RUST_LOG", "warn")]).await;
    let variables = [
        ("RUST_LOG", "warn"),
        ("SHUTDOWN_GRACE_SECONDS", GRACE),
        ("STREAM_WINDOW_SECONDS", "900"),
    ];
    let mut servers = join_all((0..SERVERS).map(|_| Served::start(&stack, &variables))).await;
    let urls: Vec<String> = servers.iter().map(|server| server.url.clone()).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let token = shared_token("demo");

    eprintln!("  scale: {FEW} streams");
    let mut few = vec![Watchers::start(&urls, 0, FEW, &token)];
    opened(&mut few, FEW).await;
    let base: f64 = servers.iter().map(|server| resident(server.pid())).sum();
    let updates = Updates::begin(&urls, &token, FEW);
    sleep(Duration::from_secs(SECONDS)).await;
    updates.end().await;
    let floor = sorted(seen(&mut few).await.ages);
    drop(few);

    eprintln!("  scale: {STREAMS} streams");
    let share = STREAMS / SERVERS;
    let mut all: Vec<_> = (0..SERVERS)
        .map(|index| Watchers::start(&urls, index * share, share, &token))
        .collect();
    let first = sorted(opened(&mut all, STREAMS).await);
    let held: f64 = servers.iter().map(|server| resident(server.pid())).sum();
    let (cpu, quiet) = (cpu(&servers), counts(&stack).await);
    sleep(Duration::from_secs(SECONDS)).await;
    let (cpu_after, quiet_after) = (self::cpu(&servers), counts(&stack).await);

    let updates = Updates::begin(&urls, &token, STREAMS);
    sleep(Duration::from_secs(SECONDS)).await;
    let calm = seen(&mut all).await;
    let ages = sorted(calm.ages);

    eprintln!("  scale: {SERVERS} servers restarted in turn");
    let (mut connections, mut restarts) = (0.0, Seen::default());
    for server in &mut servers {
        let ended = async {
            server.terminate().await;
            server.restart().await;
            // The last who left come back.
            sleep(Duration::from_secs(6)).await;
        };
        tokio::pin!(ended);
        loop {
            tokio::select! {
                () = &mut ended => break,
                () = sleep(Duration::from_millis(250)) => {
                    connections = f64::max(connections, connections_of_streams(&stack).await);
                }
            }
        }
    }
    updates.end().await;
    sleep(Duration::from_secs(2)).await;
    let after = seen(&mut all).await;
    restarts.lost = calm.lost + after.lost;
    restarts.doubled = calm.doubled + after.doubled;
    let returned: u64 = after.returns.values().sum();
    let busiest = after.returns.values().max().copied().unwrap_or_default();

    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let number = |value: u64| value as f64;
    let streams = number(STREAMS as u64);
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let hours = streams * SECONDS as f64 / 3600.0;
    let figure = |name: &str, unit, value: f64| Figure::new(GROUP, name, unit, &[value]);
    let of = |sorted: &[f64], percent| [percentile(sorted, percent)];
    vec![
        figure(
            "memory per stream, at 20,000 on 2 servers",
            "KB",
            (held - base) / streams,
        )
        .with(Bar::Most(25.0)),
        figure("CPU per quiet stream-hour", "s", (cpu_after - cpu) / hours),
        figure(
            "Postgres transactions per quiet stream-hour",
            "",
            (quiet_after.0 - quiet.0) / hours,
        )
        .with(Bar::Most(120.0)),
        figure(
            "Redis commands per quiet stream-hour",
            "",
            (quiet_after.1 - quiet.1) / hours,
        )
        .with(Bar::Most(500.0)),
        figure(
            "first byte, all opening, 100 at a time, p50",
            "ms",
            percentile(&first, 50.0),
        ),
        figure(
            "sent to frame, 20,000 streams over 100, p50",
            "ms",
            percentile(&ages, 50.0),
        )
        .over(&of(&ages, 50.0), &of(&floor, 50.0)),
        figure(
            "sent to frame, 20,000 streams over 100, p99",
            "ms",
            percentile(&ages, 99.0),
        )
        .over(&of(&ages, 99.0), &of(&floor, 99.0)),
        figure(
            "restart of both servers: events lost",
            "",
            number(restarts.lost),
        )
        .with(Bar::Most(0.0)),
        figure(
            "restart of both servers: events doubled",
            "",
            number(restarts.doubled),
        )
        .with(Bar::Most(0.0)),
        figure(
            "restart of both servers: streams begun anew",
            "",
            number(after.resets),
        )
        .with(Bar::Most(0.0)),
        figure(
            "restart of both servers: viewers that came back",
            "",
            number(returned),
        ),
        figure("of them in the busiest second", "", number(busiest)).with(Bar::Most(2_000.0)),
        figure("database connections meanwhile, at most", "", connections).with(Bar::Most(40.0)),
    ]
}

/// Waits until all have their first state; returns how long each waited for its first byte.
async fn opened(watchers: &mut [Watchers], count: usize) -> Vec<f64> {
    let mut opened_in = Vec::new();
    for _ in 0..600 {
        let seen = seen(watchers).await;
        opened_in.extend(seen.opened_in);
        if seen.open == count {
            return opened_in;
        }
        sleep(Duration::from_millis(500)).await;
    }
    panic!("{} of {count} streams have opened", opened_in.len());
}

async fn seen(watchers: &mut [Watchers]) -> Seen {
    let mut all = Seen::default();
    for each in watchers {
        let seen = each.seen().await;
        all.open += seen.open;
        all.ages.extend(seen.ages);
        all.opened_in.extend(seen.opened_in);
        all.lost += seen.lost;
        all.doubled += seen.doubled;
        all.resets += seen.resets;
        for (second, count) in seen.returns {
            *all.returns.entry(second).or_default() += count;
        }
    }
    all
}

fn cpu(servers: &[Served]) -> f64 {
    servers.iter().map(|server| cpu_seconds(server.pid())).sum()
}

/// Transactions of Postgres, and commands of Redis, so far.
async fn counts(stack: &Stack) -> (f64, f64) {
    let transactions =
        "SELECT xact_commit::float8 FROM pg_stat_database WHERE datname = current_database()";
    let row = stack.postgres().await.query_one(transactions, &[]).await;
    let commands = stack.valkey_info("total_commands_processed").await;
    (row.unwrap().get(0), commands.parse().unwrap())
}

async fn connections_of_streams(stack: &Stack) -> f64 {
    let connections =
        "SELECT count(*)::float8 - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'";
    let row = stack.postgres().await.query_one(connections, &[]).await;
    row.unwrap().get(0)
}

/// Updates that are sent by HTTP all the time.
struct Updates {
    ends: tokio::sync::oneshot::Sender<()>,
    sent: JoinHandle<()>,
}

impl Updates {
    /// Of so many executions, at random.
    fn begin(servers: &[&str], token: &str, executions: usize) -> Self {
        let (ends, mut ended) = tokio::sync::oneshot::channel();
        let urls = servers.iter().map(|url| format!("{url}/api/updates"));
        let (urls, token) = (urls.collect::<Vec<_>>(), token.to_owned());
        let sent = tokio::spawn(async move {
            let client = load::client();
            let mut tick = interval(Duration::from_secs(1) * AT_ONCE / RATE);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = &mut ended => return,
                    _ = tick.tick() => {}
                }
                let random = |_| {
                    let run = id_of(rand::rng().random_range(0..executions));
                    let progress =
                        json!({"completed": 1, "total": 2, "message": now().to_string()});
                    with(
                        update("job", &run, "running"),
                        json!({"progress": progress}),
                    )
                };
                let updates: Vec<_> = (0..AT_ONCE).map(random).collect();
                let body = json!({"updates": updates});
                for url in &urls {
                    let request = client.post(url).bearer_auth(&token).json(&body);
                    // One that ends takes none.
                    if request
                        .send()
                        .await
                        .is_ok_and(|answer| answer.status().is_success())
                    {
                        break;
                    }
                }
            }
        });
        Updates { ends, sent }
    }

    async fn end(self) {
        let _ = self.ends.send(());
        self.sent.await.unwrap();
    }
}
