//! A viewer as a browser is one: it reconnects, resumes, and takes silence for death.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eventsource_stream::{Event, Eventsource};
use futures_util::StreamExt;
use integration::stack::Stack;
use rand::{RngExt, rngs::StdRng};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

/// How long a stream may be silent: 2.5 heartbeats.
const SILENCE: Duration = Duration::from_secs(5);

/// A viewer of one stream.
pub(crate) struct Watcher {
    pub(crate) stack: Arc<Stack>,
    pub(crate) path: String,
    pub(crate) ids: Vec<String>,
    /// Whether the stream ends by itself; a project's does not.
    pub(crate) ends: bool,
    pub(crate) connections: Arc<AtomicU64>,
    pub(crate) random: StdRng,
}

/// What it saw: each execution's states, in the order in which they came.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) states: BTreeMap<String, Vec<Value>>,
    ended: BTreeSet<String>,
    last_event_id: Option<String>,
    /// What came since the last id: it is not covered by it, and comes again after a break.
    uncovered: Vec<(String, Value)>,
}

impl Watcher {
    /// Watches until every execution has ended.
    pub(crate) async fn watch(mut self) -> Seen {
        let mut seen = Seen::default();
        sleep(Duration::from_millis(self.random.random_range(0..4_000))).await;
        while !self.is_over(&seen) {
            self.connections.fetch_add(1, Ordering::Relaxed);
            if self.connect(&mut seen).await {
                break;
            }
            seen.uncovered.clear();
            sleep(Duration::from_millis(self.random.random_range(10..300))).await;
        }
        assert!(
            self.is_over(&seen),
            "{} ended before its executions",
            self.path
        );
        seen
    }

    fn is_over(&self, seen: &Seen) -> bool {
        self.ids.iter().all(|id| seen.ended.contains(id))
    }

    /// One connection; returns whether the stream is over for good.
    async fn connect(&mut self, seen: &mut Seen) -> bool {
        let mut request = reqwest::Client::new()
            .get(format!("{}{}", self.stack.url, self.path))
            .bearer_auth(&self.stack.token);
        if let Some(id) = &seen.last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        // Some leave of their own accord.
        let leave_at =
            Instant::now() + Duration::from_millis(self.random.random_range(500..20_000));
        let Ok(Ok(response)) = timeout_at(leave_at, request.send()).await else {
            return false;
        };
        match response.status().as_u16() {
            200 => {}
            204 => return true,
            429 | 502 | 503 => return false,
            status => panic!("{} answered {status}", self.path),
        }
        let (heard, mut alive) = mpsc::unbounded_channel();
        let bytes = response.bytes_stream().inspect(move |_| {
            let _ = heard.send(());
        });
        let mut events = Box::pin(bytes.eventsource());
        let mut dead_at = Instant::now() + SILENCE;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                Some(()) = alive.recv() => {
                    dead_at = Instant::now() + SILENCE;
                    continue;
                }
                () = tokio::time::sleep_until(dead_at.min(leave_at)) => return false,
            };
            let Some(Ok(event)) = event else {
                return false;
            };
            match event.event.as_str() {
                "message" => seen.take(&event),
                "end" => return event.data.contains("complete") && self.ends,
                "reset" => panic!("{}: nothing was pruned, and yet {event:?}", self.path),
                _ => {}
            }
            if self.is_over(seen) && !self.ends {
                return true;
            }
        }
    }
}

impl Seen {
    fn take(&mut self, event: &Event) {
        let state: Value = serde_json::from_str(&event.data).unwrap();
        let id = state["runId"]
            .as_str()
            .or(state["testId"].as_str())
            .unwrap()
            .to_owned();
        self.uncovered.push((id, state));
        if event.id.is_empty() {
            return;
        }
        self.last_event_id = Some(event.id.clone());
        for (id, state) in self.uncovered.drain(..) {
            let status = state["status"].as_str().unwrap();
            if !matches!(status, "waiting" | "running") {
                self.ended.insert(id.clone());
            }
            self.states.entry(id).or_default().push(state);
        }
    }
}
