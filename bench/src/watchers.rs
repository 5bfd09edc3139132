//! A process full of viewers, who come back as a page does: 20,000 are more than one process may open.
//! `bench watchers` is that process; it says a line of JSON for each line that it is sent.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use clap::Args;
use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Semaphore,
    time::sleep,
};

/// How many open a stream at once, of one process.
const OPENING: usize = 50;

/// What a process of viewers is started with.
#[derive(Args)]
pub(crate) struct Watching {
    /// Where servers are; who loses one, goes on at the next
    #[arg(long, required = true)]
    server: Vec<String>,
    /// The number of the first execution
    #[arg(long)]
    from: usize,
    /// How many of them
    #[arg(long)]
    count: usize,
    #[arg(long)]
    token: String,
}

/// What the viewers of a process have seen since they were asked last.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Seen {
    /// Viewers who have had a first state.
    pub(crate) open: usize,
    /// From an update's sending to its frame, in ms.
    pub(crate) ages: Vec<f64>,
    /// From a connection to its first byte, in ms.
    pub(crate) opened_in: Vec<f64>,
    /// Numbers that were left out.
    pub(crate) lost: u64,
    /// Numbers that came again.
    pub(crate) doubled: u64,
    /// Streams that began anew, though they had a place to go on from.
    pub(crate) resets: u64,
    /// How often viewers came back, in each second that any did.
    pub(crate) returns: HashMap<u64, u64>,
}

/// The name of an execution.
pub(crate) fn id_of(number: usize) -> String {
    format!("scale-{number}")
}

/// The time as updates carry it, in µs.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

type Shared = Arc<Mutex<Seen>>;

fn note(seen: &Shared, what: impl FnOnce(&mut Seen)) {
    what(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
}

/// The process itself.
#[expect(clippy::print_stdout, reason = "what it is for")]
pub(crate) async fn watch(watching: Watching) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seen = Shared::default();
    let opening = Arc::new(Semaphore::new(OPENING));
    let client = crate::load::client();
    let servers = Arc::new(watching.server);
    for number in watching.from..watching.from + watching.count {
        let viewer = Viewer {
            client: client.clone(),
            servers: servers.clone(),
            token: watching.token.clone(),
            id: id_of(number),
            seen: seen.clone(),
            last: None,
            last_event_id: None,
        };
        tokio::spawn(viewer.watch(number, opening.clone()));
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        let mut said = String::new();
        note(&seen, |seen| {
            said = serde_json::to_string(seen).unwrap();
            let open = seen.open;
            *seen = Seen {
                open,
                ..Seen::default()
            };
        });
        println!("{said}");
    }
}

struct Viewer {
    client: reqwest::Client,
    servers: Arc<Vec<String>>,
    token: String,
    id: String,
    seen: Shared,
    last: Option<u64>,
    last_event_id: Option<String>,
}

impl Viewer {
    /// Watches for ever, and comes back as long after an end as the server asks for.
    async fn watch(mut self, mut server: usize, opening: Arc<Semaphore>) {
        let mut wait = Duration::ZERO;
        loop {
            sleep(wait).await;
            let returns = self.last.is_some();
            if returns {
                note(&self.seen, |seen| {
                    *seen.returns.entry(now() / 1_000_000).or_default() += 1;
                });
            }
            wait = Duration::from_millis(rand::rng().random_range(1_000..3_000));
            let permit = opening.acquire().await;
            let asked = Instant::now();
            let url = &self.servers[server % self.servers.len()];
            let mut request = self
                .client
                .get(format!("{url}/api/job-status/events/{}", self.id))
                .bearer_auth(&self.token);
            if let Some(id) = &self.last_event_id {
                request = request.header("Last-Event-ID", id);
            }
            let answer = request.send().await;
            drop(permit);
            if let Ok(answer) = answer
                && answer.status() == 200
            {
                let took = crate::load::milliseconds(asked.elapsed());
                note(&self.seen, |seen| seen.opened_in.push(took));
                wait = self.read(answer).await.unwrap_or(wait);
            }
            server += 1;
        }
    }

    /// Reads a stream to its end; returns how long to wait before the next.
    async fn read(&mut self, answer: reqwest::Response) -> Option<Duration> {
        let mut events = answer.bytes_stream().eventsource();
        let mut wait = None;
        while let Some(Ok(event)) = events.next().await {
            wait = event.retry.or(wait);
            if !event.id.is_empty() {
                self.last_event_id = Some(event.id);
            }
            match event.event.as_str() {
                "message" => self.state(&event.data),
                "reset" => {
                    self.last = None;
                    note(&self.seen, |seen| seen.resets += 1);
                }
                _ => {}
            }
        }
        wait
    }

    fn state(&mut self, data: &str) {
        #[derive(Deserialize)]
        struct State {
            seq: u64,
            progress: Option<Progress>,
        }
        #[derive(Deserialize)]
        struct Progress {
            message: Option<String>,
        }
        let state: State = serde_json::from_str(data).unwrap();
        let sent = state
            .progress
            .and_then(|it| it.message?.parse::<u64>().ok());
        note(&self.seen, |seen| match self.last.replace(state.seq) {
            None => seen.open += 1,
            // That nobody has reported it yet, is said again.
            Some(0) if state.seq == 0 => {}
            Some(last) if state.seq <= last => seen.doubled += 1,
            Some(last) => {
                seen.lost += state.seq - last - 1;
                if let Some(sent) = sent {
                    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 µs")]
                    seen.ages.push(now().saturating_sub(sent) as f64 / 1000.0);
                }
            }
        });
    }
}

/// Such a process, as its parent has it.
pub(crate) struct Watchers {
    _child: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Watchers {
    /// Starts one.
    pub(crate) fn start(servers: &[&str], from: usize, count: usize, token: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "watchers",
            "--from",
            &from.to_string(),
            "--count",
            &count.to_string(),
        ]);
        for server in servers {
            command.args(["--server", server]);
        }
        let mut child = command
            .args(["--token", token])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Watchers {
            orders: child.stdin.take().unwrap(),
            said: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
        }
    }

    /// What they have seen since they were asked last.
    pub(crate) async fn seen(&mut self) -> Seen {
        self.orders.write_all(b"\n").await.unwrap();
        let line = self.said.next_line().await.unwrap();
        serde_json::from_str(&line.expect("the viewers live")).unwrap()
    }
}
