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
    idle::counts,
    load,
    machine::resident,
    watchers::{Seen, Watchers, id_of, now},
};

const GROUP: &str = "scale";
const SERVERS: usize = 2;
const COUNT: usize = 20_000;
const STREAMS: f64 = 20_000.0;

/// How many the same is measured with before.
const FEW: usize = 100;

/// Updates a second, and how many are sent at once.
const RATE: u32 = 200;
const AT_ONCE: u32 = 20;

const SPAN: Duration = Duration::from_secs(15);

/// Some times what a quiet stream does now and then: the renewal of its place, every 40 s.
const QUIET: Duration = Duration::from_mins(3);

/// For how long all streams are quiet, together.
const HOURS: f64 = STREAMS * QUIET.as_secs_f64() / 3600.0;

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
    sleep(SPAN).await;
    updates.end().await;
    let floor = sorted(seen(&mut few).await.ages);
    drop(few);

    eprintln!("  scale: {COUNT} streams");
    let share = COUNT / SERVERS;
    let mut all: Vec<_> = (0..SERVERS)
        .map(|index| Watchers::start(&urls, index * share, share, &token))
        .collect();
    let first = sorted(opened(&mut all, COUNT).await);
    let held: f64 = servers.iter().map(|server| resident(server.pid())).sum();
    let pids: Vec<_> = servers.iter().map(Served::pid).collect();
    let postgres = stack.postgres().await;
    let (cpu, commands, transactions) = counts(&pids, &stack, &postgres).await;
    sleep(QUIET).await;
    let (cpu_after, commands_after, transactions_after) = counts(&pids, &stack, &postgres).await;

    let updates = Updates::begin(&urls, &token, COUNT);
    sleep(SPAN).await;
    let mut calm = seen(&mut all).await;
    let ages = sorted(std::mem::take(&mut calm.ages));

    let mut figures = vec![
        figure(
            "memory per stream, at 20,000 on 2 servers",
            "KB",
            (held - base) / STREAMS,
        )
        .with(Bar::Most(25.0)),
        figure("CPU per quiet stream-hour", "s", (cpu_after - cpu) / HOURS),
        figure(
            "Postgres transactions per quiet stream-hour",
            "",
            (transactions_after - transactions) / HOURS,
        )
        .with(Bar::Most(120.0)),
        figure(
            "Redis commands per quiet stream-hour",
            "",
            (commands_after - commands) / HOURS,
        )
        .with(Bar::Most(500.0)),
        figure(
            "first byte, all opening, 100 at a time, p50",
            "ms",
            percentile(&first, 50.0),
        ),
    ];
    for (name, percent) in [("p50", 50.0), ("p99", 99.0)] {
        let [many, few] = [&ages, &floor].map(|sorted| [percentile(sorted, percent)]);
        let name = format!("sent to frame, 20,000 streams over {FEW}, {name}");
        figures.push(Figure::new(GROUP, name, "ms", &many).over(&many, &few));
    }
    figures.extend(restarted(&stack, &mut servers, &mut all, calm).await);
    updates.end().await;
    figures
}

fn figure(name: &str, unit: &'static str, value: f64) -> Figure {
    Figure::new(GROUP, name, unit, &[value])
}

/// Restarts the servers in turn, while updates go on; `calm`: what was seen of them before.
async fn restarted(
    stack: &Stack,
    servers: &mut [Served],
    watchers: &mut [Watchers],
    calm: Seen,
) -> Vec<Figure> {
    eprintln!("  scale: {SERVERS} servers restarted in turn");
    let mut connections: f64 = 0.0;
    for server in servers {
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
                    connections = connections.max(connections_of(stack).await);
                }
            }
        }
    }
    let after = seen(watchers).await;
    let busiest = after.returns.values().max().copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let figure = |name: &str, value: u64| figure(name, "", value as f64);
    vec![
        figure("restart of both: events lost", calm.lost + after.lost).with(Bar::Most(0.0)),
        figure(
            "restart of both: events doubled",
            calm.doubled + after.doubled,
        )
        .with(Bar::Most(0.0)),
        figure("restart of both: streams begun anew", after.resets).with(Bar::Most(0.0)),
        figure(
            "restart of both: viewers that came back",
            after.returns.values().sum(),
        ),
        figure("of them in the busiest second", busiest).with(Bar::Most(2_000.0)),
        self::figure("database connections meanwhile, at most", "", connections)
            .with(Bar::Most(40.0)),
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

/// Connections to Postgres, but for this one.
async fn connections_of(stack: &Stack) -> f64 {
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
