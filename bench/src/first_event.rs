//! First event: from the request to the first state.

use std::time::{Duration, Instant};

use integration::stack::{SHARED_JWKS, Stack};
use redis::aio::MultiplexedConnection;
use tokio_postgres::{Client, Statement};

use crate::{
    figure::{Bar, Figure, median},
    load::{self, Load, Times, client, milliseconds},
    mode::Mode,
    runtime::{Process, request, variables},
};

const GROUP: &str = "first event";
const RUNS: usize = 3;
const REQUESTS: usize = 100;
const AT_ONCE: usize = 500;

pub(crate) async fn run() -> Vec<Figure> {
    let mut figures = Vec::new();
    for mode in [Mode::Plain, Mode::Managed, Mode::Served] {
        let name = mode.name();
        let stack = mode.stack(2 * AT_ONCE, &[]).await;
        stack.publish("job", "done", "running").await;
        stack.publish("job", "done", "passed").await;
        let mut floor = Floor::open(&stack).await;
        eprintln!("  first event, {name}: one at a time");
        figures.extend(one_at_a_time(&stack, &mut floor, mode).await);
        if mode == Mode::Plain {
            eprintln!("  first event, {name}: thawed, its connections gone");
            figures.push(thawed(&stack, &mut floor).await);
        }
        eprintln!("  first event, {name}: {AT_ONCE} at once");
        figures.push(at_once(&stack, &mut floor, mode).await);
    }
    figures.extend(at_the_runtime_api().await);
    figures
}

async fn one_at_a_time(stack: &Stack, floor: &mut Floor, mode: Mode) -> Vec<Figure> {
    let client = client();
    let (mut ours, mut floors, mut transits) = (Vec::new(), Vec::new(), Vec::new());
    // The first finds nothing warm.
    first_event(stack, &client, "done").await;
    for _ in 0..RUNS {
        let (mut requests, mut asked, mut passed) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..REQUESTS {
            asked.push(floor.ask().await);
            requests.push(first_event(stack, &client, "done").await);
            passed.push(transit(stack, &client).await);
        }
        ours.push(median(requests));
        floors.push(median(asked));
        transits.push(median(passed));
    }
    let name = mode.name();
    vec![
        // The local Lambda is no part of what the goal is about.
        Figure::new(GROUP, format!("warm, {name}, p50"), "ms", &ours)
            .over(&ours, &floors)
            .with((mode == Mode::Served).then_some(Bar::Ratio(1.5))),
        Figure::new(
            GROUP,
            format!("the same, over floor and a health check, {name}"),
            "ms",
            &ours,
        )
        .over(&ours, &plus(&floors, &transits)),
    ]
}

/// From an invocation to where the first state leaves the function, without the local Lambda; and
/// a function on the same runtime that only says hello.
async fn at_the_runtime_api() -> Vec<Figure> {
    eprintln!("  first event, to the Runtime API");
    let stack = Stack::with(&[], &[("AUTH_JWKS", SHARED_JWKS)]).await;
    stack.publish("job", "done", "passed").await;
    let mut floor = Floor::open(&stack).await;
    let variables = variables(&stack);
    let mut function = Process::start("job-status", &variables).await;
    let mut hello = Process::start("hello", &variables).await;
    let (mut ours, mut floors, mut hellos) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let (mut answered, mut asked, mut greeted) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..REQUESTS {
            asked.push(floor.ask().await);
            answered.push(answer(&mut function).await);
            greeted.push(answer(&mut hello).await);
        }
        // The first connects.
        if run > 0 {
            ours.push(median(answered));
            floors.push(median(asked));
            hellos.push(median(greeted));
        }
    }
    vec![
        Figure::new(GROUP, "warm, to the Runtime API, p50", "ms", &ours)
            .over(&ours, &plus(&floors, &hellos))
            .with(Bar::Ratio(1.2)),
        Figure::new(GROUP, "a hello, to the Runtime API, p50", "ms", &hellos),
    ]
}

async fn answer(function: &mut Process) -> f64 {
    function.next().await;
    let invoked = Instant::now();
    function.invoke(request("done"));
    milliseconds(function.first_state().await - invoked)
}

fn plus(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter()
        .zip(right)
        .map(|(left, right)| left + right)
        .collect()
}

/// A stream of what has ended: its environment is free again when it is read.
pub(crate) async fn first_event(stack: &Stack, client: &reqwest::Client, path: &str) -> f64 {
    let url = format!("{}/api/job-status/events/{path}", stack.url);
    let viewer = load::open(client, &url, &stack.token, &Times::default()).await;
    let first_event = viewer.first_event;
    viewer.ended().await;
    // The function asks for its next invocation, and is frozen.
    tokio::time::sleep(Duration::from_millis(5)).await;
    first_event
}

/// The way through the local Lambda and back, with nothing done.
async fn transit(stack: &Stack, client: &reqwest::Client) -> f64 {
    let url = format!("{}/api/job-status/health", stack.url);
    let asked = Instant::now();
    client.get(url).send().await.unwrap().bytes().await.unwrap();
    let transit = milliseconds(asked.elapsed());
    tokio::time::sleep(Duration::from_millis(5)).await;
    transit
}

/// After a sleep that its connections did not survive.
async fn thawed(stack: &Stack, floor: &mut Floor) -> Figure {
    let client = client();
    let mut redis = stack.redis().await;
    let postgres = stack.postgres().await;
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        postgres
            .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'runcast_%'", &[])
            .await
            .unwrap();
        for kind in ["normal", "pubsub"] {
            redis::cmd("CLIENT")
                .arg("KILL")
                .arg("TYPE")
                .arg(kind)
                .arg("SKIPME")
                .arg("yes")
                .exec_async(&mut redis)
                .await
                .unwrap();
        }
        *floor = Floor::open(stack).await;
        floors.push(floor.ask().await);
        ours.push(first_event(stack, &client, "done").await);
    }
    Figure::new(GROUP, "thawed, all connections gone", "ms", &ours).over(&ours, &floors)
}

async fn at_once(stack: &Stack, floor: &mut Floor, mode: Mode) -> Figure {
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for round in 0..=RUNS {
        let load = Load::at_once(stack, &format!("once-{round}"), AT_ONCE).await;
        let times = load.first_events();
        load.close().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        // The first round starts the environments.
        if round > 0 {
            ours.push(median(times));
            floors.push(median(floor.ask_at_once(AT_ONCE).await));
        }
    }
    let name = format!("{AT_ONCE} at once, {}, p50", mode.name());
    Figure::new(GROUP, name, "ms", &ours)
        .over(&ours, &floors)
        .with((mode == Mode::Served).then_some(Bar::Most(60.0)))
}

/// A `SUBSCRIBE` that is acknowledged, then an indexed query, on connections that are open.
struct Floor {
    redis: MultiplexedConnection,
    postgres: Client,
    statement: Statement,
    asked: u64,
}

impl Floor {
    async fn open(stack: &Stack) -> Self {
        let postgres = stack.postgres().await;
        let statement = "SELECT state FROM executions WHERE kind = $1 AND id = $2";
        let statement = postgres.prepare(statement).await.unwrap();
        Floor {
            redis: load::connect(&stack.redis_url, |_| Ok(())).await.unwrap(),
            postgres,
            statement,
            asked: 0,
        }
    }

    async fn ask(&mut self) -> f64 {
        self.asked += 1;
        self.ask_of(&format!("floor-{}", self.asked)).await
    }

    async fn ask_of(&self, id: &str) -> f64 {
        let (mut redis, channel) = (self.redis.clone(), load::channel(id));
        let asked = Instant::now();
        redis.subscribe(&channel).await.unwrap();
        self.postgres
            .query(&self.statement, &[&"job", &"done"])
            .await
            .unwrap();
        let took = milliseconds(asked.elapsed());
        redis.unsubscribe(&channel).await.unwrap();
        took
    }

    async fn ask_at_once(&mut self, count: usize) -> Vec<f64> {
        let ask = async |index| self.ask_of(&format!("floor-{index}")).await;
        futures_util::future::join_all((0..count).map(ask)).await
    }
}
