//! `runcast tail`: a viewer that shows what it gets, resumes where a stream ends too early, and
//! checks that nothing is missing or twice.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant},
};

use eventsource_stream::{Event, Eventsource};
use futures_util::StreamExt;
use rand::RngExt;
use reqwest::{Response, StatusCode, header};
use serde_json::Value;
use shared::execution::{Id, Kind, Timestamp};
use tokio::time::{sleep, timeout};

use super::{Target, innermost, refusal, say};
use crate::{
    Error,
    arguments::{self, Secret},
    signer::{Scope, TokenRequest},
};

/// The longest wait before reconnecting.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// How long an answer may take to begin: a cold start, and Postgres that is slow to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// How often in a row a server is tried that has never served a stream, or says that it is too much.
const TRIES: u32 = 6;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  runcast tail job r1
  runcast tail test t1 t2 t3              # several on one stream
  runcast tail job --project demo         # every run of a project
  runcast tail test --run r1              # every test of a run
  runcast tail job r1 --last-event-id 3   # only what came after event 3

Ends when all is over (Ctrl-C before), with a summary; fails where an event was missing or twice.")]
pub(crate) struct Options {
    /// test or job
    kind: Kind,
    /// 1 to 50 ids on one stream
    #[arg(required_unless_present_any = ["project", "run"], num_args = 1..=50)]
    ids: Vec<Id>,
    /// Every execution of this project instead
    #[arg(long, conflicts_with = "ids")]
    project: Option<Id>,
    /// Every test of this run instead
    #[arg(long, conflicts_with_all = ["ids", "project"])]
    run: Option<Id>,
    /// Whose executions
    #[arg(long, default_value = "demo")]
    org: Id,
    /// Where to go on
    #[arg(long, value_parser = arguments::cursor)]
    last_event_id: Option<String>,
    /// A token of one's own; without, one of the stack's
    #[arg(long, env = "RUNCAST_TOKEN", hide_env_values = true, value_parser = Secret::TOKEN)]
    token: Option<String>,
    /// Print each event's JSON instead of a line for a person
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// What was seen of a stream.
#[derive(Default)]
struct Summary {
    frames: u64,
    gaps: u64,
    duplicates: u64,
    reconnects: u64,
    resets: u64,
    latencies_ms: Vec<i64>,
    /// The last seq of each execution.
    seqs: BTreeMap<String, u64>,
    /// Whether the next states start over.
    fresh: bool,
}

/// How a connection ended.
enum Over {
    /// All is over.
    Complete,
    /// To be resumed.
    Early,
}

pub(crate) async fn run(mut options: Options) -> Result<ExitCode, Error> {
    if let (Kind::Job, Some(run)) = (options.kind, &options.run) {
        return Err(format!("a run has tests: say `runcast tail test --run {run}`").into());
    }
    let mut summary = Summary {
        fresh: options.last_event_id.is_none(),
        seqs: options.seqs(),
        ..Summary::default()
    };
    let result = tokio::select! {
        result = follow(&mut options, &mut summary) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    if result.is_ok() || summary.frames > 0 {
        summary.print();
    }
    result?;
    let exact = summary.gaps == 0 && summary.duplicates == 0;
    Ok(if exact {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Options {
    /// Where each execution stands at the cursor, which tells it in the order of the request. A
    /// project's cursor is one number, of no execution.
    fn seqs(&self) -> BTreeMap<String, u64> {
        let mut ids = Vec::new();
        for id in &self.ids {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let seqs = self.last_event_id.iter().flat_map(|id| id.split(','));
        let pairs = ids.into_iter().zip(seqs);
        pairs
            .filter_map(|(id, seq)| Some((id.to_string(), seq.parse().ok()?)))
            .collect()
    }
}

/// Why there is no stream now.
struct Failure {
    why: String,
    /// How long the server asks to wait.
    wait: Duration,
    /// How often it may happen in a row, until it is told as an error.
    tries: u32,
}

impl Failure {
    /// Nothing came back.
    fn silence(why: String, served: bool) -> Self {
        Failure {
            why,
            wait: Duration::ZERO,
            tries: if served { u32::MAX } else { TRIES },
        }
    }

    /// The server has refused.
    async fn refused(response: Response, served: bool) -> Self {
        let seconds = response.headers().get(header::RETRY_AFTER);
        let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
        let tries = match response.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => TRIES,
            status if !status.is_server_error() => 1,
            _ if served => u32::MAX,
            _ => TRIES,
        };
        Failure {
            why: refusal(response).await,
            wait: Duration::from_secs(seconds.unwrap_or(0)),
            tries,
        }
    }
}

async fn follow(options: &mut Options, summary: &mut Summary) -> Result<(), Error> {
    let client = reqwest::Client::builder()
        .http1_only()
        .tcp_nodelay(true)
        .build()?;
    let mut served = false;
    let mut failures = 0_u32;
    loop {
        let failure = match timeout(ANSWER_TIMEOUT, connect(&client, options)).await {
            Ok(Ok(response)) if response.status() == StatusCode::NO_CONTENT => {
                eprintln!("all has ended, and nothing follows this cursor");
                return Ok(());
            }
            Ok(Ok(response)) if response.status().is_success() => {
                if !is_stream(&response) {
                    return Err(options.target.no_stack("no stream").into());
                }
                (served, failures) = (true, 0);
                if let Over::Complete = read(response, options, summary).await {
                    return Ok(());
                }
                None
            }
            Ok(Ok(response)) => Some(Failure::refused(response, served).await),
            Ok(Err(error)) => {
                let why = options.target.unreachable(&innermost(&error));
                if error.is_builder() || (error.is_connect() && !served && failures == 0) {
                    return Err(why.into());
                }
                Some(Failure::silence(why, served))
            }
            Err(_) => {
                let waited = format!("for {} s", ANSWER_TIMEOUT.as_secs());
                let why = options.target.unreachable(&waited);
                Some(Failure::silence(why, served))
            }
        };
        let mut wait = Duration::ZERO;
        if let Some(failure) = failure {
            if failures + 1 >= failure.tries {
                return Err(failure.why.into());
            }
            eprintln!("{}", failure.why);
            wait = failure.wait;
        }
        // Full jitter, so that many viewers don't come back at once.
        let backoff = MAX_BACKOFF.min(Duration::from_millis(200) * 2_u32.pow(failures.min(8)));
        failures += 1;
        sleep(wait + backoff.mul_f64(rand::rng().random())).await;
        summary.reconnects += 1;
    }
}

fn is_stream(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|it| it.as_bytes().starts_with(b"text/event-stream"))
}

async fn connect(client: &reqwest::Client, options: &Options) -> reqwest::Result<Response> {
    let Options { kind, ids, .. } = options;
    let path = match ids.as_slice() {
        [id] => format!("/api/{kind}-status/events/{id}"),
        _ => format!("/api/{kind}-status/events"),
    };
    let mut request = client
        .get(options.target.path(&path))
        .header(header::ACCEPT, "text/event-stream");
    match (&options.project, &options.run, ids.as_slice()) {
        (Some(project), ..) => request = request.query(&[("projectId", project)]),
        (None, Some(run), _) => request = request.query(&[("runId", run)]),
        (None, None, [_]) => {}
        (None, None, ids) => {
            let ids: Vec<_> = ids.iter().map(|id| (kind.id_name(), id)).collect();
            request = request.query(&ids);
        }
    }
    let token = match &options.token {
        Some(token) => Some(token.clone()),
        None => {
            let request = TokenRequest {
                org: options.org.clone(),
                projects: None,
                queues: None,
                ttl_seconds: 3600,
                scope: vec![Scope::Read],
            };
            // Where there is none to be had, the answer to the stream's request says why.
            options.target.token(&request).await.ok()
        }
    };
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(id) = &options.last_event_id {
        request = request.header("Last-Event-ID", id);
    }
    request.send().await
}

/// Reads a stream to its end, or until it is silent for 2.5 heartbeats.
async fn read(response: Response, options: &mut Options, summary: &mut Summary) -> Over {
    let mut silence = Duration::from_mins(1);
    // Pings are no events: what counts as silence is seen below the parser.
    let bytes = response.bytes_stream();
    let (alive, mut heard) = tokio::sync::watch::channel(());
    let bytes = bytes.inspect(move |_| {
        let _ = alive.send(());
    });
    let mut events = Box::pin(bytes.eventsource());
    let mut last_heard = Instant::now();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            Ok(()) = heard.changed() => {
                last_heard = Instant::now();
                continue;
            }
            () = sleep(silence.saturating_sub(last_heard.elapsed())) => None,
        };
        let Some(Ok(event)) = event else {
            return Over::Early;
        };
        if !event.id.is_empty() {
            options.last_event_id = Some(event.id.clone());
        }
        match event.event.as_str() {
            "stream" => {
                let opening: Value = serde_json::from_str(&event.data).unwrap_or_default();
                let seconds = opening.get("heartbeatSeconds").and_then(Value::as_f64);
                silence = Duration::from_secs_f64(seconds.unwrap_or(15.0) * 2.5);
            }
            "reset" => {
                summary.resets += 1;
                summary.fresh = true;
            }
            "end" => {
                let end: Value = serde_json::from_str(&event.data).unwrap_or_default();
                let reason = end
                    .get("reason")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                if !options.json {
                    eprintln!("end: {reason}");
                }
                // The server closes; without waiting for it, the connection would be cut.
                let _ = timeout(Duration::from_secs(2), events.next()).await;
                let over = matches!(reason, "complete" | "closed");
                return if over { Over::Complete } else { Over::Early };
            }
            _ => summary.take(&event, options),
        }
    }
}

impl Summary {
    fn take(&mut self, event: &Event, options: &Options) {
        let Ok(state) = serde_json::from_str::<Value>(&event.data) else {
            return;
        };
        self.frames += 1;
        let text = |name: &str| state.get(name).and_then(Value::as_str);
        let id = text(options.kind.id_name()).unwrap_or_default();
        let seq = state.get("seq").and_then(Value::as_u64).unwrap_or_default();
        self.check(id, seq);
        let fresh = self.fresh;
        // The first states of a fresh stream carry the cursor on the last one.
        if !event.id.is_empty() {
            self.fresh = false;
        }
        // How old a first state is, says nothing of how fast it came.
        let occurred = text("occurredAt").filter(|_| !fresh);
        let occurred =
            occurred.and_then(|time| serde_json::from_value::<Timestamp>(time.into()).ok());
        let latency = occurred.map(|time| (Timestamp::now().0 - time.0).num_milliseconds());
        self.latencies_ms
            .extend(latency.filter(|latency| *latency >= 0));
        if options.json {
            return say(&event.data);
        }
        let status = text("status").unwrap_or_default();
        let latency = latency.map_or(String::new(), |latency| format!("{latency} ms"));
        let progress = state.get("progress").filter(|progress| !progress.is_null());
        let progress = progress.map(progress_in_words).unwrap_or_default();
        say(format!(
            "{id}  {seq:>4}  {}  {latency:>9}  {progress}",
            coloured(status)
        ));
    }

    fn check(&mut self, id: &str, seq: u64) {
        let last = self.seqs.insert(id.to_owned(), seq);
        match last {
            _ if self.fresh => {}
            // That nobody has reported it yet, is said again.
            Some(0) if seq == 0 => {}
            Some(last) if seq <= last => self.duplicates += 1,
            Some(last) if seq > last + 1 => self.gaps += 1,
            _ => {}
        }
    }

    fn print(&self) {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_unstable();
        let at = |part: usize| sorted.get(sorted.len() * part / 100);
        let latency = match (at(50), at(99)) {
            (Some(p50), Some(p99)) => format!("latency p50 {p50} ms, p99 {p99} ms"),
            _ => "no latency: nothing happened while it was open".to_owned(),
        };
        eprintln!(
            "{} frames, {} gaps, {} duplicates, {} reconnects, {} resets; {latency}",
            self.frames, self.gaps, self.duplicates, self.reconnects, self.resets,
        );
    }
}

fn progress_in_words(progress: &Value) -> String {
    let number = |name: &str| progress.get(name).and_then(Value::as_u64);
    let total = number("total").map_or(String::new(), |total| format!("/{total}"));
    let message = progress
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or_default();
    format!(
        "{}{total} {message}",
        number("completed").unwrap_or_default()
    )
}

fn coloured(status: &str) -> String {
    let colour = match status {
        "passed" | "completed" => 32,
        "failed" | "error" => 31,
        "cancelled" => 33,
        "running" => 36,
        _ => 90,
    };
    if std::io::stdout().is_terminal() {
        format!("\x1b[{colour}m{status:<9}\x1b[0m")
    } else {
        format!("{status:<9}")
    }
}
