//! Live statistics of `BullMQ` queues, read from its keys in Redis.
//!
//! However many watch, one process counts: who has the seat (`seat.lua`). It tells the others, in Redis, and
//! any of them takes its place when it is gone. Where Redis cannot say who, each counts for itself.

mod reader;
mod seat;
mod statistics;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::RedisResult;
use tokio::{sync::watch, task::AbortHandle, time::timeout};

use self::{
    reader::{ANSWER_TIMEOUT, Reader},
    seat::Seat,
    statistics::{Numbers, Statistics},
};
use crate::{
    access::grant::Grant,
    bus::{Bus, Subscription},
    config,
    execution::json::in_one_line,
    stream::{Frame, Next, Source, Stats},
};

/// The queues, and who watches them.
#[derive(Clone)]
pub struct Queues(Arc<Shared>);

struct Shared {
    settings: config::Queues,
    bus: Bus,
    seat: Seat,
    watched: Mutex<Watched>,
    /// What was counted last; `None` where that is old, or nothing.
    numbers: watch::Sender<Option<Arc<Numbers>>>,
}

#[derive(Default)]
struct Watched {
    streams: usize,
    reader: Option<AbortHandle>,
}

/// One stream's view of the queues: of those that the caller may see.
pub struct View {
    queues: Queues,
    grant: Grant,
    latest: watch::Receiver<Option<Arc<Numbers>>>,
    sent: Option<String>,
    subscription: Subscription,
    watching: Option<Watching>,
}

/// Keeps the reader at work while it lives.
struct Watching(Queues);

impl Queues {
    /// The configured queues. Nothing is read yet.
    #[must_use]
    pub fn new(settings: config::Queues, bus: Bus) -> Self {
        Queues(Arc::new(Shared {
            seat: Seat::new(&settings, bus.clone()),
            settings,
            bus,
            watched: Mutex::default(),
            numbers: watch::channel(None).0,
        }))
    }

    /// Asks the queues' Redis whether it is there.
    ///
    /// # Errors
    /// Where it is not.
    pub async fn ping(&self) -> RedisResult<()> {
        reader::ping(&self.0.settings).await
    }

    /// Begins to watch; `None` where the queues cannot be read now.
    pub async fn watch(&self, grant: Grant, mut subscription: Subscription) -> Option<View> {
        let watching = self.begin();
        let mut latest = self.0.numbers.subscribe();
        let known = latest.wait_for(Option::is_some);
        let is_known = matches!(timeout(ANSWER_TIMEOUT, known).await, Ok(Ok(_)));
        if !is_known {
            tokio::join!(subscription.close(), watching.end());
            return None;
        }
        Some(View {
            queues: self.clone(),
            grant,
            latest,
            sent: None,
            subscription,
            watching: Some(watching),
        })
    }

    fn begin(&self) -> Watching {
        let mut watched = self.watched();
        watched.streams += 1;
        if watched.reader.is_none() {
            let reader = Reader {
                settings: self.0.settings.clone(),
                bus: self.0.bus.clone(),
                seat: self.0.seat.clone(),
                numbers: self.0.numbers.clone(),
            };
            watched.reader = Some(tokio::spawn(reader.run()).abort_handle());
        }
        Watching(self.clone())
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0
            .watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watching {
    /// Ends it; where nobody watches any more, gives the seat to another process.
    async fn end(self) {
        let queues = self.0.clone();
        drop(self);
        if queues.watched().streams == 0 {
            queues.0.seat.leave().await;
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watched = self.0.watched();
        watched.streams -= 1;
        if watched.streams == 0
            && let Some(reader) = watched.reader.take()
        {
            reader.abort();
            // Who comes next must not see what is old by then.
            self.0.0.numbers.send_replace(None);
        }
    }
}

impl View {
    /// The statistics as the caller sees them.
    fn statistics(&self, numbers: &Numbers) -> Option<String> {
        let visible = numbers
            .iter()
            .filter(|(queue, _)| self.grant.covers_queue(queue))
            .map(|(queue, counts)| (queue.as_str(), *counts));
        let statistics = Statistics::new(&self.queues.0.settings, visible.collect());
        let json = serde_json::to_string(&statistics).ok()?;
        // The names of the queues are whatever was configured.
        Some(in_one_line(&json).into_owned())
    }
}

impl Source for View {
    async fn next(&mut self) -> Next {
        loop {
            let now = self.latest.borrow_and_update().clone();
            let data = now.and_then(|numbers| self.statistics(&numbers));
            if data.is_some() && data != self.sent {
                self.sent.clone_from(&data);
                return Next::Frame(Frame::State {
                    // There is nothing to resume; it tells who comes back from who is new.
                    id: Some("0".to_owned()),
                    data: data.unwrap_or_default().into(),
                    published_at: None,
                    traceparent: None,
                });
            }
            // The sender lives as long as the process.
            let _ = self.latest.changed().await;
        }
    }

    async fn close(&mut self) -> Stats {
        let watching = self.watching.take();
        let end = async {
            if let Some(watching) = watching {
                watching.end().await;
            }
        };
        tokio::join!(self.subscription.close(), end);
        Stats::default()
    }
}
