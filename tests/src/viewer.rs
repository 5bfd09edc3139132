//! A viewer: a client of a stream.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt};
use reqwest::Response;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{PATIENCE, secrets::assert_discreet};

type Events = Pin<Box<dyn Stream<Item = Option<Event>> + Send>>;

/// An open stream.
pub struct Viewer {
    events: Events,
    raw: Arc<Mutex<Vec<u8>>>,
    /// The last id that was seen.
    pub last_event_id: Option<String>,
}

impl Viewer {
    /// Reads a stream's response.
    #[must_use]
    pub fn new(response: Response) -> Self {
        let raw = Arc::new(Mutex::new(Vec::new()));
        let kept = raw.clone();
        let keep = move |chunk: &reqwest::Result<Bytes>| {
            if let Ok(chunk) = chunk {
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(chunk);
            }
        };
        let events = response.bytes_stream().inspect(keep).eventsource();
        Viewer {
            events: Box::pin(events.map(Result::ok)),
            raw,
            last_event_id: None,
        }
    }

    /// The next event of any name; `None` where the stream has ended.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn event(&mut self) -> Option<Event> {
        let event = timeout(PATIENCE, self.events.next()).await;
        let event = event.unwrap_or_else(|_| panic!("no event came; so far:\n{}", self.text()));
        let event = event.flatten();
        if let Some(event) = &event
            && !event.id.is_empty()
        {
            self.last_event_id = Some(event.id.clone());
        }
        event
    }

    /// The next state.
    ///
    /// # Panics
    /// When the stream ends before.
    pub async fn state(&mut self) -> Value {
        loop {
            let event = self.event().await.expect("a state before the stream's end");
            match event.event.as_str() {
                "message" => return serde_json::from_str(&event.data).unwrap(),
                "stream" | "reset" => {}
                other => panic!("{other} {} instead of a state", event.data),
            }
        }
    }

    /// The next state's status and seq.
    pub async fn status(&mut self) -> (String, u64) {
        let state = self.state().await;
        let status = state["status"].as_str().unwrap().to_owned();
        (status, state["seq"].as_u64().unwrap())
    }

    /// Reads to the end; returns every state's seq and the reason of the end, if one was given.
    pub async fn rest(&mut self) -> (Vec<u64>, Option<String>) {
        let mut seqs = Vec::new();
        while let Some(event) = self.event().await {
            let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
            match event.event.as_str() {
                "message" => seqs.push(data["seq"].as_u64().unwrap()),
                "end" => return (seqs, data["reason"].as_str().map(str::to_owned)),
                _ => {}
            }
        }
        (seqs, None)
    }

    /// Reads until so many more pings have come, which are no events.
    ///
    /// # Panics
    /// When they do not come in time, or an event comes first.
    pub async fn pings(&mut self, count: usize) {
        let count_all = |viewer: &Self| viewer.text().matches(": ping\n\n").count();
        let enough = count_all(self) + count;
        let read = async {
            while count_all(self) < enough {
                tokio::select! {
                    event = self.events.next() => panic!("{event:?} instead of a ping"),
                    () = sleep(Duration::from_millis(10)) => {}
                }
            }
        };
        timeout(PATIENCE, read).await.expect("the stream pings");
    }

    /// Reads until the server has closed.
    pub async fn closed(&mut self) {
        while self.event().await.is_some() {}
    }

    /// All that came so far, byte for byte.
    #[must_use]
    pub fn text(&self) -> String {
        let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&raw).into_owned()
    }
}

impl Drop for Viewer {
    /// Whatever a test saw, it saw no internals.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_discreet(&self.text());
        }
    }
}
