//! Live statistics of `BullMQ` queues, read from its keys in Redis.
//!
//! One reader serves all streams of the process, for as long as there are any.

mod reader;
mod statistics;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::RedisResult;
use tokio::{sync::watch, task::AbortHandle, time::timeout};

use self::reader::ANSWER_TIMEOUT;
use crate::{
    bus::Subscription,
    config,
    stream::{Frame, Next, Source, Stats},
};

/// The queues, and who watches them.
pub struct Queues {
    settings: config::Queues,
    watched: Arc<Mutex<Watched>>,
    numbers: watch::Sender<Option<Arc<str>>>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Watched {
    streams: usize,
    reader: Option<AbortHandle>,
}

/// One stream's view of the numbers.
pub struct Numbers {
    latest: watch::Receiver<Option<Arc<str>>>,
    sent: Option<Arc<str>>,
    subscription: Subscription,
    _watching: Watching,
}

/// Keeps the reader at work while it lives.
struct Watching {
    watched: Arc<Mutex<Watched>>,
    numbers: watch::Sender<Option<Arc<str>>>,
}

impl Queues {
    /// The configured queues. Nothing is read yet.
    #[must_use]
    pub fn new(settings: config::Queues) -> Self {
        Queues {
            settings,
            watched: Arc::default(),
            numbers: watch::channel(None).0,
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Asks the queues' Redis whether it is there.
    ///
    /// # Errors
    /// Where it is not.
    pub async fn ping(&self) -> RedisResult<()> {
        // One at a time: each makes a connection, and anyone may ask.
        let _turn = self.asking.lock().await;
        reader::ping(&self.settings).await
    }

    /// Begins to watch; `None` where the queues cannot be read now.
    pub async fn watch(&self, mut subscription: Subscription) -> Option<Numbers> {
        let watching = self.begin();
        let mut latest = self.numbers.subscribe();
        let known = latest.wait_for(Option::is_some);
        let is_known = matches!(timeout(ANSWER_TIMEOUT, known).await, Ok(Ok(_)));
        if !is_known {
            drop(watching);
            subscription.close().await;
            return None;
        }
        Some(Numbers {
            latest,
            sent: None,
            subscription,
            _watching: watching,
        })
    }

    fn begin(&self) -> Watching {
        let mut watched = lock(&self.watched);
        watched.streams += 1;
        if watched.reader.is_none() {
            let reader = reader::read(self.settings.clone(), self.numbers.clone());
            watched.reader = Some(tokio::spawn(reader).abort_handle());
        }
        Watching {
            watched: self.watched.clone(),
            numbers: self.numbers.clone(),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watched = lock(&self.watched);
        watched.streams -= 1;
        if watched.streams == 0
            && let Some(reader) = watched.reader.take()
        {
            reader.abort();
            // Who comes next must not see what is old by then.
            self.numbers.send_replace(None);
        }
    }
}

impl Source for Numbers {
    async fn next(&mut self) -> Next {
        loop {
            let now = self.latest.borrow_and_update().clone();
            if let Some(data) = now
                && self.sent.as_ref() != Some(&data)
            {
                self.sent = Some(data.clone());
                return Next::Frame(Frame::State {
                    // There is nothing to resume; it tells who comes back from who is new.
                    id: Some("0".to_owned()),
                    data,
                    published_at: None,
                });
            }
            // The sender lives as long as the process.
            let _ = self.latest.changed().await;
        }
    }

    async fn close(&mut self) -> Stats {
        self.subscription.close().await;
        Stats::default()
    }
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}
