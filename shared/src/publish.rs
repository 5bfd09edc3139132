//! Telling Redis what was committed. The log has it already: a publish that fails costs the
//! watchers a moment, never an event.

use std::{collections::HashMap, time::Duration};

use redis::{AsyncConnectionConfig, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tracing::{Instrument, Span};

use crate::{
    config,
    endpoint::{Endpoint, hello, silence},
    execution::Event,
    message,
    telemetry::traces,
    watch::Channel,
};

/// How often a publish is tried.
const ATTEMPTS: u32 = 3;

/// How long one try may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);

/// The worker's connection to Redis.
#[derive(Debug)]
pub struct Publisher {
    endpoint: Endpoint,
    connection: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    connection: MultiplexedConnection,
    since: Instant,
}

impl Publisher {
    /// A publisher at `redis`; it connects when there is something to publish.
    #[must_use]
    pub fn new(redis: &config::Redis) -> Self {
        Publisher {
            endpoint: Endpoint::new(redis),
            connection: Mutex::new(None),
        }
    }

    /// Publishes committed events in order, in one round trip.
    pub async fn publish(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let span = traces::publish(events.len());
        self.publish_all(events).instrument(span).await;
    }

    async fn publish_all(&self, events: &[Event]) {
        let mut pipeline = redis::pipe();
        pipeline.add_command(hello());
        for event in events {
            for channel in Channel::of_event(event) {
                let message = message::write(event, &channel);
                pipeline.publish(channel.name(), message).ignore();
            }
        }
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            match timeout(ATTEMPT_TIMEOUT, self.try_publish(&pipeline)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => failure = Some(error),
                Err(_) => failure = Some(silence()),
            }
        }
        let cause = failure.as_ref().map(RedisError::to_string);
        let events = events.len();
        tracing::warn!(
            cause,
            events,
            "failed to publish; watchers will read the log"
        );
        traces::not_published(&Span::current());
        metrics::counter!("PublishFailures").increment(1);
    }

    async fn try_publish(&self, pipeline: &redis::Pipeline) -> RedisResult<()> {
        let mut place = self.connection.lock().await;
        // Taken out: a try that fails or is cancelled leaves no broken connection behind.
        let held = place.take();
        let mut held = match held.filter(|held| !self.endpoint.is_too_old(held.since)) {
            Some(held) => held,
            None => Held {
                connection: self.endpoint.connect(&AsyncConnectionConfig::new()).await?,
                since: Instant::now(),
            },
        };
        let (role,): (HashMap<String, Value>,) = pipeline.query_async(&mut held.connection).await?;
        self.endpoint.check_role(&role)?;
        *place = Some(held);
        Ok(())
    }
}
