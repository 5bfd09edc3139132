//! Redis pub/sub: one connection for the whole process, whose channels are subscribed to exactly as
//! long as someone listens.
//!
//! Nothing here is trusted to be complete. A subscription tells when events may have been missed
//! (a full buffer, a message that is not an event, a lost or restored connection); the log has
//! them.

mod driver;
mod redirect;
mod registry;

use std::{sync::Arc, time::Duration};

use redis::{RedisError, RedisResult, aio::MultiplexedConnection};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

pub use self::registry::Hangup;
use self::{
    driver::Driver,
    redirect::{Call, Redirects},
    registry::Registry,
};
use crate::{
    config,
    endpoint::Endpoint,
    execution::{Event, Id},
    watch::Channel,
};

/// How long a subscriber waits for Redis before it goes on without.
const SUBSCRIBE_PATIENCE: Duration = Duration::from_secs(1);

/// The process's connection to Redis.
#[derive(Clone, Debug)]
pub struct Bus {
    registry: Registry,
    requests: mpsc::UnboundedSender<Request>,
    link: watch::Receiver<Option<MultiplexedConnection>>,
    redirects: Arc<Redirects>,
}

/// What the driver is asked for.
#[derive(Debug)]
enum Request {
    /// To subscribe to what the registry wants, and to unsubscribe from the rest. It answers whether
    /// it could.
    Synchronize(oneshot::Sender<bool>),
    /// To see whether the connection is of any use: something that was asked over it says that it
    /// is not.
    Check,
}

/// What a subscriber is told.
#[derive(Debug)]
pub enum Signal {
    /// An event, on one of the subscriber's tracks.
    Event(usize, Arc<Event>),
    /// A message of a channel that carries no events.
    Message(Arc<[u8]>),
    /// Events may have been missed.
    Nudge,
    /// The connection is gone: nothing will come until it is restored.
    Lost,
    /// The connection is back; what was published meanwhile was missed.
    Restored,
}

impl Bus {
    /// A bus at `redis`, which connects when something is asked of it. While someone listens, a connection that
    /// is silent for `ping_after` is asked whether it lives.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn new(redis: &config::Redis, ping_after: Duration) -> Self {
        let registry = Registry::default();
        let (requests, received) = mpsc::unbounded_channel();
        let (link_tx, link) = watch::channel(None);
        let endpoint = Endpoint::pushing(redis);
        let redirects = Arc::new(Redirects::new(Endpoint::new(redis)));
        let driver = Driver::new(endpoint, ping_after, registry.clone(), received, link_tx);
        tokio::spawn(driver.run());
        Bus {
            registry,
            requests,
            link,
            redirects,
        }
    }

    /// Subscribes to channels, of whose events this organization's are heard; returns once Redis has
    /// acknowledged it, or is found to be away.
    pub async fn subscribe(
        &self,
        organization_id: Option<&Id>,
        channels: Vec<(Channel, usize)>,
        close: Option<Channel>,
    ) -> Subscription {
        let (listener, signals) = self.registry.add(organization_id, channels, close);
        let mut subscription = Subscription {
            acknowledgement: Some(self.synchronize()),
            live: false,
            signals,
            listener,
            bus: self.clone(),
            link: self.link.clone(),
        };
        // Whatever comes of it, `recv` tells it.
        let acknowledged = timeout(SUBSCRIBE_PATIENCE, subscription.acknowledged()).await;
        // A connection that was made for it is no news, one that is lost already is no use.
        let connected = subscription.link.borrow_and_update().is_some();
        subscription.live = connected && acknowledged == Ok(true);
        subscription
    }

    /// Publishes a message.
    ///
    /// # Errors
    /// Where Redis is away.
    pub async fn publish(&self, channel: &Channel, message: &str) -> RedisResult<()> {
        let mut command = redis::cmd("PUBLISH");
        self.command(command.arg(channel.name()).arg(message)).await
    }

    /// Asks Redis whether it is there.
    ///
    /// # Errors
    /// Where it is not.
    pub async fn ping(&self) -> RedisResult<()> {
        self.command(&redis::cmd("PING")).await
    }

    /// Runs a script, whose keys are all in one slot: in a cluster, at the node that has it. It may
    /// run twice.
    ///
    /// # Errors
    /// Where Redis is away, or the script fails.
    pub async fn eval<T: redis::FromRedisValue>(
        &self,
        script: &redis::Script,
        keys: &[String],
        arguments: &[String],
    ) -> RedisResult<T> {
        let call = Call {
            script,
            keys,
            arguments,
        };
        self.ask(|mut link| async move { self.redirects.eval(&mut link, call).await })
            .await
    }

    async fn command(&self, command: &redis::Cmd) -> RedisResult<()> {
        self.ask(|mut link| async move { command.exec_async(&mut link).await })
            .await
    }

    /// Asks something of Redis, for as long as a subscriber waits: at once on the connection there
    /// is, beside what others ask; where it was lost, once more on the one that replaces it.
    async fn ask<T, F: Future<Output = RedisResult<T>>>(
        &self,
        question: impl Fn(MultiplexedConnection) -> F,
    ) -> RedisResult<T> {
        let asked = async {
            let mut links = self.link.clone();
            let link = links.borrow_and_update().clone();
            if let Some(link) = link {
                let answer = tokio::select! {
                    answer = question(link) => answer,
                    _ = links.changed() => Err(away()),
                };
                match answer {
                    Err(error) if redirect::is_of_connection(&error) => {
                        // The driver ends with the process only.
                        let _ = self.requests.send(Request::Check);
                    }
                    answer => return answer,
                }
            }
            question(self.link().await?).await
        };
        let answer = timeout(SUBSCRIBE_PATIENCE, asked).await;
        answer.unwrap_or_else(|_| Err(away()))
    }

    /// The connection, once it is there.
    async fn link(&self) -> RedisResult<MultiplexedConnection> {
        let synchronized = timeout(SUBSCRIBE_PATIENCE, self.synchronize()).await;
        match (synchronized, self.link.borrow().clone()) {
            (Ok(Ok(true)), Some(link)) => Ok(link),
            _ => Err(away()),
        }
    }

    fn synchronize(&self) -> oneshot::Receiver<bool> {
        let (request, answer) = oneshot::channel();
        // The driver ends with the process only.
        let _ = self.requests.send(Request::Synchronize(request));
        answer
    }
}

fn away() -> RedisError {
    (redis::ErrorKind::Io, "Redis is away").into()
}

/// A listener's subscription. It ends with [`Subscription::close`], or when dropped.
#[derive(Debug)]
pub struct Subscription {
    acknowledgement: Option<oneshot::Receiver<bool>>,
    live: bool,
    signals: registry::Signals,
    listener: u64,
    bus: Bus,
    link: watch::Receiver<Option<MultiplexedConnection>>,
}

impl Subscription {
    /// Whether events come, as far as is known.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Tells when the viewer has left, or the stream is evicted.
    #[must_use]
    pub fn hangup(&self) -> Hangup {
        self.signals.hangup()
    }

    /// Waits for the next signal. Cancelling it loses nothing.
    pub async fn recv(&mut self) -> Signal {
        loop {
            tokio::select! {
                acknowledged = Self::answer(&mut self.acknowledgement) => {
                    self.acknowledgement = None;
                    self.live = acknowledged;
                    return if acknowledged { Signal::Restored } else { Signal::Lost };
                }
                Ok(()) = self.link.changed() => {
                    let live = self.link.borrow_and_update().is_some();
                    // A late acknowledgement of the old connection says nothing of this one.
                    self.acknowledgement = None;
                    let was_live = std::mem::replace(&mut self.live, live);
                    if live || was_live {
                        return if live { Signal::Restored } else { Signal::Lost };
                    }
                }
                signal = self.signals.recv() => return signal,
            }
        }
    }

    /// Ends the subscription; returns once Redis has acknowledged it, or is found to be away.
    pub async fn close(&mut self) {
        self.bus.registry.remove(self.listener);
        let _ = timeout(SUBSCRIBE_PATIENCE, self.bus.synchronize()).await;
    }

    async fn acknowledged(&mut self) -> bool {
        let acknowledged = Self::answer(&mut self.acknowledgement).await;
        self.acknowledgement = None;
        acknowledged
    }

    async fn answer(acknowledgement: &mut Option<oneshot::Receiver<bool>>) -> bool {
        match acknowledgement {
            Some(answer) => answer.await.unwrap_or(false),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.bus.registry.remove(self.listener) {
            drop(self.bus.synchronize());
        }
    }
}
