//! Beside others: the same viewers and events, on the same machine, one server at a time.

use std::{process::Stdio, time::Duration};

use integration::{checkout, free_port, stack::Stack};
use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    figure::{Bar, Figure, median, of_runs, sorted},
    load::{self, Load, Publisher, RATE, Times},
    machine::resident,
    mode::{MOST, Mode, server_of},
};

const GROUP: &str = "beside others";
const RUNS: usize = 3;
const SECONDS: f64 = 2.0;
/// Streams of each contender.
pub(crate) const STREAMS: usize = 500;

/// It reads no database: Runcast may take 1.3 times as long, and as much.
const NCHAN: &str = "nchan";

/// As figures name what was lost, after the contender.
const LOST: &str = "lost, of 100 events right after a first";

/// As they name what was lost of all that was delivered later.
const MISSED: &str = "lost, of 3,150 events after that";

/// As figures name a stream's memory, after the contender.
pub(crate) const MEMORY: &str = "memory per stream";

/// As figures name the delivery, after the contender.
pub(crate) fn delivery_at(percentile: &str) -> String {
    format!("delivery to {STREAMS} streams, {percentile}")
}

/// The others, and the program that serves each.
const OTHERS: [(&str, &[&str]); 4] = [
    (NCHAN, &["bench/others/nchan.sh"]),
    ("Pushpin", &["bench/others/pushpin.sh"]),
    (
        "better-sse, shared ioredis",
        &["node", "bench/others/better-sse.mjs"],
    ),
    ("Node route handler", &["node", "bench/others/plain.mjs"]),
];

/// How one contender is reached.
struct Contender {
    name: &'static str,
    /// Where an execution's events are served.
    events_url: String,
    publisher: Publisher,
    token: String,
    /// The root of its processes.
    pid: Pid,
    /// What they have of memory, in KB.
    memory: fn(Pid) -> f64,
}

/// What was measured of a contender: name, unit, and the runs' values.
type Measured = [(String, &'static str, Vec<f64>); 6];

/// As rows of a contender; `ours`, where that is another than Runcast: in the floor's place.
fn rows(contender: &str, measured: &Measured, ours: Option<&Measured>) -> Vec<Figure> {
    let row = |(at, (name, unit, values)): (usize, &(String, &'static str, Vec<f64>))| {
        let figure = Figure::new(GROUP, format!("{contender}: {name}"), unit, values);
        let is_loss = [LOST, MISSED].contains(&name.as_str());
        match ours {
            None => figure.with(is_loss.then_some(Bar::Most(0.0))),
            // Ours is nothing, and nothing divides by that.
            Some(_) if is_loss => figure,
            Some(ours) => {
                let least = if contender == NCHAN { 0.77 } else { 1.0 };
                let figure = figure.over(values, &ours[at].2);
                figure.with(Bar::LeastRatio(least))
            }
        }
    };
    measured.iter().enumerate().map(row).collect()
}

pub(crate) async fn run() -> Vec<Figure> {
    let mut figures = Vec::new();
    let quiet = [("FALLBACK_POLL_SECONDS", "900")];
    let ours = async |mode: Mode, name| {
        let runcast = mode.stack(MOST, &quiet).await;
        let mut contender = Contender {
            name,
            events_url: format!("{}/api/job-status/events", runcast.url),
            publisher: Publisher::redis(&runcast.redis_url).await,
            token: runcast.token.clone(),
            pid: server_of(&runcast).await,
            // Its children are Valkey and Postgres.
            memory: resident,
        };
        let measured = measure(&mut contender).await;
        (rows(name, &measured, None), measured, runcast)
    };
    figures.extend(ours(Mode::Managed, "Runcast, managed").await.0);
    let (served, ours, runcast) = ours(Mode::Served, "Runcast, served").await;
    figures.extend(served);
    for (name, command) in OTHERS {
        let (port, control) = (free_port(), free_port());
        let mut server = start(command, &runcast, port, control).await;
        let pid = Pid::from_raw(i32::try_from(server.id().unwrap()).unwrap());
        let url = format!("http://127.0.0.1:{port}");
        let publisher = match name {
            NCHAN => Publisher::Nchan(load::client(), format!("{url}/pub")),
            "Pushpin" => {
                let url = format!("http://127.0.0.1:{control}/publish/");
                Publisher::Pushpin(load::client(), url)
            }
            _ => Publisher::redis(&runcast.redis_url).await,
        };
        let mut contender = Contender {
            name,
            events_url: format!("{url}/events"),
            publisher,
            token: runcast.token.clone(),
            pid,
            memory: memory_of_tree,
        };
        figures.extend(rows(name, &measure(&mut contender).await, Some(&ours)));
        integration::stack::signal(pid, Signal::SIGTERM);
        server.wait().await.unwrap();
    }
    figures
}

async fn start(command: &[&str], stack: &Stack, port: u16, control: u16) -> Child {
    let mut server = Command::new(command[0])
        .args(&command[1..])
        .current_dir(checkout(""))
        .env("REDIS_URL", &stack.redis_url)
        .env("DATABASE_URL", &stack.database_url)
        .env("PORT", port.to_string())
        .env("CONTROL_PORT", control.to_string())
        .env("ORIGIN_PORT", free_port().to_string())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    assert_eq!(
        lines.next_line().await.unwrap().as_deref(),
        Some("ready"),
        "{command:?}"
    );
    // Nothing more is said, but its pipe stays open.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    server
}

async fn measure(it: &mut Contender) -> Measured {
    eprintln!("  beside others: {}", it.name);
    let before = (it.memory)(it.pid);
    let ids: Vec<String> = (0..STREAMS)
        .map(|index| format!("others-{index}-{}", it.pid))
        .collect();
    // A state to begin with.
    for id in &ids {
        it.publisher.seed(id).await;
    }
    let urls = ids
        .iter()
        .map(|id| format!("{}/{id}", it.events_url))
        .collect();
    let mut load = Load::at(urls, ids, &it.token, 50).await;
    let firsts = load.first_events();
    let mut runs = Vec::new();
    let (_, mut lost_of_all) = load.deliver_some(&mut it.publisher, 0.3, RATE).await;
    for _ in 0..RUNS {
        let (came, lost) = load.deliver_some(&mut it.publisher, SECONDS, RATE).await;
        runs.push(sorted(came));
        lost_of_all += lost;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let each = ((it.memory)(it.pid) - before) / STREAMS as f64;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let lost_of_all = lost_of_all as f64;
    let lost = lost(it).await;
    [
        (
            "first event, 50 at once, p50".to_owned(),
            "ms",
            vec![median(firsts)],
        ),
        (delivery_at("p50"), "ms", of_runs(&runs, 50.0)),
        (delivery_at("p99"), "ms", of_runs(&runs, 99.0)),
        (MEMORY.to_owned(), "KB", vec![each]),
        (LOST.to_owned(), "", vec![lost]),
        (MISSED.to_owned(), "", vec![lost_of_all]),
    ]
}

/// Of a hundred viewers, how many never see an event that is published as soon as they have their
/// first state.
async fn lost(it: &mut Contender) -> f64 {
    let client = load::client();
    let mut lost = 0.0;
    for index in 0..100 {
        let id = format!("after-{index}-{}", it.pid);
        it.publisher.seed(&id).await;
        let times = Times::default();
        let url = format!("{}/{id}", it.events_url);
        let viewer = load::open(&client, &url, &it.token, &times).await;
        it.publisher.publish(&id, 1).await;
        if times
            .take_within(1, Duration::from_millis(300))
            .await
            .is_empty()
        {
            lost += 1.0;
        }
        drop(viewer);
    }
    lost
}

/// The memory of a process and all that it started, in KB.
fn memory_of_tree(pid: Pid) -> f64 {
    let children =
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children
        .split_whitespace()
        .filter_map(|child| child.parse().ok());
    resident(pid)
        + children
            .map(|child| memory_of_tree(Pid::from_raw(child)))
            .sum::<f64>()
}
