//! Keeps the connection to Redis, and subscribed to what the registry wants.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff};
use redis::{
    AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{Request, registry::Registry};
use crate::{
    endpoint::{Endpoint, hello, silence},
    jitter::backoff,
};

/// How long Redis may say nothing at all after it was asked something, before it counts as dead.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a new connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);

/// How long after a failed authentication the next is tried, on a connection that still holds.
const REAUTHENTICATE_AGAIN: Duration = Duration::from_mins(1);

/// How many channels one command names.
const CHANNELS_PER_COMMAND: usize = 500;

pub(super) struct Driver {
    endpoint: Endpoint,
    ping_after: Duration,
    registry: Registry,
    requests: mpsc::UnboundedReceiver<Request>,
    link: watch::Sender<Option<MultiplexedConnection>>,
    connection: Option<Connection>,
    backoff: ExponentialBackoff,
    reconnect_at: Instant,
}

struct Connection {
    handle: MultiplexedConnection,
    pulse: Arc<Pulse>,
    /// When to authenticate it again, where that is needed.
    reauthenticate_at: Option<Instant>,
}

/// What is known of a connection's life.
struct Pulse {
    last_received: Mutex<Instant>,
    closed: Notify,
}

impl Driver {
    pub(super) fn new(
        endpoint: Endpoint,
        ping_after: Duration,
        registry: Registry,
        requests: mpsc::UnboundedReceiver<Request>,
        link: watch::Sender<Option<MultiplexedConnection>>,
    ) -> Self {
        Driver {
            endpoint,
            ping_after,
            registry,
            requests,
            link,
            connection: None,
            backoff: backoff().build(),
            reconnect_at: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        // Before somebody who may asks for something, there is no connection.
        let Some(request) = self.requests.recv().await else {
            return;
        };
        self.serve(request).await;
        loop {
            let ping_at = self.ping_at();
            let reauthenticate_at = self.connection.as_ref().and_then(|it| it.reauthenticate_at);
            tokio::select! {
                request = self.requests.recv() => {
                    let Some(request) = request else { return };
                    self.serve(request).await;
                }
                () = closed(self.connection.as_ref()) => self.lose("it was closed"),
                () = sleep_until(ping_at), if self.connection.is_some() => self.ping().await,
                () = sleep_until(reauthenticate_at.unwrap_or(ping_at)),
                    if reauthenticate_at.is_some() => self.reauthenticate().await,
                () = sleep_until(self.reconnect_at), if self.connection.is_none() => {
                    self.connect().await;
                }
            }
        }
    }

    /// Answers this request and all that wait with it: one command serves them together.
    async fn serve(&mut self, request: Request) {
        let (mut waiting, mut is_doubtful) = (Vec::new(), false);
        let mut next = Some(request);
        while let Some(request) = next {
            match request {
                Request::Synchronize(answer) => waiting.push(answer),
                Request::Check => is_doubtful = true,
            }
            next = self.requests.try_recv().ok();
        }
        if is_doubtful {
            self.ping().await;
        }
        let mut synchronized = self.synchronize().await;
        if !synchronized && self.reconnect_at <= Instant::now() {
            synchronized = self.connect().await;
        }
        for answer in waiting {
            // Who no longer waits has dropped its end.
            let _ = answer.send(synchronized);
        }
    }

    /// Makes a new connection, subscribed to all that is wanted.
    async fn connect(&mut self) -> bool {
        let pulse = Arc::new(Pulse {
            last_received: Mutex::new(Instant::now()),
            closed: Notify::new(),
        });
        match self.open(&pulse).await {
            Ok(handle) => {
                self.connection = Some(Connection {
                    handle: handle.clone(),
                    pulse,
                    reauthenticate_at: self.endpoint.reauthenticate_after().map(from_now),
                });
                self.backoff = backoff().build();
                self.link.send_replace(Some(handle));
                return true;
            }
            Err(error) => {
                metrics::counter!("RedisErrors").increment(1);
                tracing::warn!(%error, "failed to connect to Redis");
            }
        }
        let wait = self.backoff.next().unwrap_or(Duration::from_secs(2));
        self.reconnect_at = Instant::now() + wait;
        false
    }

    /// A connection to a primary, subscribed to all that is wanted.
    async fn open(&self, pulse: &Arc<Pulse>) -> RedisResult<MultiplexedConnection> {
        let handle = connect(&self.endpoint, &self.registry, pulse).await?;
        let wanted = self.registry.all();
        tokio::try_join!(
            pulse.subscribe(&handle, &wanted, &[]),
            pulse.answer(self.role(handle.clone()))
        )?;
        Ok(handle)
    }

    /// Asks a server whether it lives, and is the primary.
    async fn role(&self, mut handle: MultiplexedConnection) -> RedisResult<()> {
        let role: HashMap<String, Value> = hello().query_async(&mut handle).await?;
        self.endpoint.check_role(&role)
    }

    /// Subscribes to what has become wanted, and unsubscribes from what no longer is. Once more does
    /// no harm.
    async fn synchronize(&mut self) -> bool {
        let (wanted, unwanted) = self.registry.take_changes();
        self.subscribe(wanted, unwanted).await
    }

    async fn subscribe(&mut self, wanted: Vec<String>, unwanted: Vec<String>) -> bool {
        // A new connection subscribes to all that is wanted then.
        let Some(connection) = &self.connection else {
            return false;
        };
        let (pulse, handle) = (&connection.pulse, &connection.handle);
        let result = pulse.subscribe(handle, &wanted, &unwanted).await;
        if let Err(error) = &result {
            self.lose(&error.to_string());
        }
        result.is_ok()
    }

    async fn ping(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        let role = self.role(connection.handle.clone());
        if let Err(error) = connection.pulse.answer(role).await {
            self.lose(&error.to_string());
        }
    }

    /// Presents a new token, before the connection is closed for the age of the last. A failure
    /// takes nothing from the connection.
    async fn reauthenticate(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let mut handle = connection.handle.clone();
        let authenticated = self.endpoint.authenticate(&mut handle);
        let after = match connection.pulse.answer(authenticated).await {
            Ok(()) => self.endpoint.reauthenticate_after(),
            Err(error) => {
                tracing::warn!(%error, "failed to authenticate to Redis again");
                Some(REAUTHENTICATE_AGAIN)
            }
        };
        connection.reauthenticate_at = after.map(from_now);
    }

    /// When to ask whether Redis lives. While nobody listens it does not matter.
    fn ping_at(&self) -> Instant {
        let far = Instant::now() + Duration::from_hours(1);
        match &self.connection {
            Some(connection) if !self.registry.is_empty() => {
                (connection.pulse.last_received() + self.ping_after).min(far)
            }
            _ => far,
        }
    }

    fn lose(&mut self, cause: &str) {
        self.connection = None;
        self.reconnect_at = Instant::now();
        if self.link.send_replace(None).is_some() {
            metrics::counter!("RedisErrors").increment(1);
            tracing::warn!(cause, "the connection to Redis is lost");
        }
    }
}

impl Pulse {
    async fn subscribe(
        &self,
        handle: &MultiplexedConnection,
        wanted: &[String],
        unwanted: &[String],
    ) -> RedisResult<()> {
        for names in unwanted.chunks(CHANNELS_PER_COMMAND) {
            let mut handle = handle.clone();
            self.answer(handle.unsubscribe(names)).await?;
        }
        for names in wanted.chunks(CHANNELS_PER_COMMAND) {
            let mut handle = handle.clone();
            self.answer(handle.subscribe(names)).await?;
        }
        Ok(())
    }

    fn last_received(&self) -> Instant {
        *self
            .last_received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn received(&self) {
        let mut last = self
            .last_received
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Instant::now();
    }

    /// Waits for an answer for as long as anything comes at all: a busy connection is not a dead
    /// one.
    async fn answer<T>(&self, asked: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        tokio::pin!(asked);
        let mut silent_since = Instant::now();
        loop {
            tokio::select! {
                // An answer that came while the process stood still, counts.
                biased;
                answer = &mut asked => {
                    self.received();
                    return answer;
                }
                () = sleep_until(silent_since + ANSWER_TIMEOUT) => {
                    if self.last_received() <= silent_since {
                        return Err(silence());
                    }
                    silent_since = self.last_received();
                }
            }
        }
    }
}

async fn connect(
    endpoint: &Endpoint,
    registry: &Registry,
    pulse: &Arc<Pulse>,
) -> RedisResult<MultiplexedConnection> {
    let registry = registry.clone();
    let received = pulse.clone();
    let take = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
        received.received();
        match (push.kind, push.data.as_slice()) {
            (PushKind::Disconnection, _) => received.closed.notify_one(),
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                if let Ok(channel) = std::str::from_utf8(channel) {
                    registry.dispatch(channel, payload);
                }
            }
            _ => {}
        }
        Ok(())
    };
    let config = AsyncConnectionConfig::new()
        .set_push_sender(take)
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect(&config)).await;
    connected.unwrap_or_else(|_| Err(silence()))
}

async fn closed(connection: Option<&Connection>) {
    match connection {
        Some(connection) => connection.pulse.closed.notified().await,
        None => std::future::pending().await,
    }
}

fn from_now(duration: Duration) -> Instant {
    Instant::now() + duration
}
