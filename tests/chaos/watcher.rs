//! A viewer as a browser is one: it reconnects, resumes, and takes silence for death.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use shared::execution::Kind;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{record::Heads, seen::Seen};

/// How long a stream may be silent: 2.5 heartbeats.
const SILENCE: Duration = Duration::from_secs(5);

/// What is watched.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// Executions: the stream ends by itself.
    Executions(Vec<String>),
    /// The tests of a run: the stream ends by itself.
    Run(String),
    /// All of a project, until its last event.
    Project(String),
}

/// A viewer of one stream.
pub(crate) struct Watcher {
    pub(crate) urls: Vec<String>,
    pub(crate) organization: &'static str,
    pub(crate) token: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) asked: Asked,
    /// Where it begins, instead of the current states.
    pub(crate) cursor: Option<String>,
    /// Whether it comes back when all is over, after its stream was complete.
    pub(crate) comes_back: bool,
    /// How far the wave's projects have come, once that is known.
    pub(crate) heads: watch::Receiver<Option<Heads>>,
    pub(crate) connections: Arc<AtomicU64>,
    pub(crate) random: StdRng,
}

/// A viewer that has come to its end.
pub(crate) struct Watched {
    pub(crate) organization: &'static str,
    pub(crate) kind: Kind,
    pub(crate) asked: Asked,
    pub(crate) seen: Seen,
    /// Whether it must have the last states.
    pub(crate) is_up_to_date: bool,
}

/// How a connection ended.
enum End {
    Broken,
    /// The stream said that all is over.
    Complete,
}

impl Watcher {
    /// Watches until its stream is over; that of a project, until it has its last event.
    pub(crate) async fn watch(mut self) -> Watched {
        let mut seen = Seen::after(self.cursor.take());
        let mut has_come_back = false;
        sleep(Duration::from_millis(self.random.random_range(0..4_000))).await;
        while !self.is_at_the_head(&seen) {
            self.connections.fetch_add(1, Ordering::Relaxed);
            let end = self.connect(&mut seen).await;
            seen.forget_uncovered();
            match end {
                End::Complete if !self.comes_back || has_come_back => break,
                End::Complete => {
                    has_come_back = true;
                    let _ = self.heads.wait_for(Option::is_some).await;
                }
                End::Broken => {
                    sleep(Duration::from_millis(self.random.random_range(10..300))).await;
                }
            }
        }
        Watched {
            organization: self.organization,
            kind: self.kind,
            is_up_to_date: has_come_back || matches!(self.asked, Asked::Project(_)),
            asked: self.asked,
            seen,
        }
    }

    /// Whether a project's viewer has everything.
    fn is_at_the_head(&self, seen: &Seen) -> bool {
        let Asked::Project(_) = self.asked else {
            return false;
        };
        let heads = self.heads.borrow();
        let head = heads
            .as_ref()
            .map(|heads| heads[&(self.organization, self.kind)]);
        head.is_some_and(|head| seen.number() >= head)
    }

    fn path(&self) -> String {
        let (kind, name) = (self.kind, self.kind.id_name());
        match &self.asked {
            Asked::Run(run) => format!("/api/{kind}-status/events?runId={run}"),
            Asked::Project(project) => format!("/api/{kind}-status/events?projectId={project}"),
            Asked::Executions(ids) => match ids.as_slice() {
                [id] => format!("/api/{kind}-status/events/{id}"),
                ids => {
                    let ids: Vec<_> = ids.iter().map(|id| format!("{name}={id}")).collect();
                    format!("/api/{kind}-status/events?{}", ids.join("&"))
                }
            },
        }
    }

    /// One connection.
    async fn connect(&mut self, seen: &mut Seen) -> End {
        let path = self.path();
        let url = self.urls.choose(&mut self.random).unwrap();
        let mut request = reqwest::Client::new()
            .get(format!("{url}{path}"))
            .bearer_auth(&self.token);
        if let Some(id) = &seen.last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        // Some leave of their own accord.
        let leave_at =
            Instant::now() + Duration::from_millis(self.random.random_range(500..20_000));
        let Ok(Ok(response)) = timeout_at(leave_at, request.send()).await else {
            return End::Broken;
        };
        match response.status().as_u16() {
            200 => {}
            204 => return End::Complete,
            429 | 502 | 503 => return End::Broken,
            status => panic!("{path} answered {status}"),
        }
        let (heard, mut alive) = mpsc::unbounded_channel();
        let bytes = response.bytes_stream().inspect(move |_| {
            let _ = heard.send(());
        });
        let mut events = Box::pin(bytes.eventsource());
        let mut dead_at = Instant::now() + SILENCE;
        while !self.is_at_the_head(seen) {
            let event = tokio::select! {
                event = events.next() => event,
                Some(()) = alive.recv() => {
                    dead_at = Instant::now() + SILENCE;
                    continue;
                }
                Ok(()) = self.heads.changed() => continue,
                () = sleep_until(dead_at.min(leave_at)) => return End::Broken,
            };
            let Some(Ok(event)) = event else {
                return End::Broken;
            };
            match event.event.as_str() {
                "message" => seen.take(&event, self.kind),
                "end" if event.data.contains("complete") => return End::Complete,
                "end" => return End::Broken,
                "reset" => seen.start_over(),
                _ => {}
            }
        }
        End::Broken
    }
}
