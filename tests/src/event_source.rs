//! A browser's `EventSource`, of a page that listens to messages only and never closes it.

use std::time::Duration;

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use reqwest::{Client, StatusCode};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

/// It comes back by itself for as long as the specification says so (WHATWG HTML, section 9.2.2).
/// Dropped, it is closed.
pub struct EventSource {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

/// What an [`EventSource`] has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often it was opened.
    pub opened: usize,
    /// Whether it is open now.
    pub is_open: bool,
    /// The answer that ended it for good.
    pub gave_up: Option<StatusCode>,
    /// The data of its messages.
    pub messages: Vec<String>,
}

impl EventSource {
    /// Opens a URL; with a token, as the browser would with a cookie.
    #[must_use]
    pub fn open(url: String, token: String) -> Self {
        let (told, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(run(url, token, told));
        EventSource { seen, task }
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(url: String, token: String, told: watch::Sender<Seen>) {
    let (mut last_event_id, mut retry) = (String::new(), Duration::from_secs(1));
    // A browser's pool: a broken connection is not used again.
    let client = Client::new();
    loop {
        let mut request = client.get(&url).bearer_auth(&token);
        if !last_event_id.is_empty() {
            request = request.header("Last-Event-ID", &last_event_id);
        }
        if let Ok(response) = request.send().await {
            let status = response.status();
            if status != StatusCode::OK {
                told.send_modify(|seen| seen.gave_up = Some(status));
                return;
            }
            told.send_modify(|seen| {
                seen.opened += 1;
                seen.is_open = true;
            });
            let mut events = response.bytes_stream().eventsource();
            while let Some(Ok(event)) = events.next().await {
                if !event.id.is_empty() {
                    last_event_id.clone_from(&event.id);
                }
                retry = event.retry.unwrap_or(retry);
                if event.event == "message" {
                    told.send_modify(|seen| seen.messages.push(event.data));
                }
            }
            told.send_modify(|seen| seen.is_open = false);
        }
        sleep(retry).await;
    }
}
