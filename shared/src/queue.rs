//! Live statistics of `BullMQ` queues, read from its keys in Redis.
//!
//! One reader serves all streams of the process, for as long as there are any. It waits for
//! `BullMQ`'s own events (a blocking read, on a connection of its own) and then counts; it never
//! asks again and again. Keys: <https://docs.bullmq.io>, `bullmq/src/commands`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::BackoffBuilder;
use redis::{RedisResult, Value, aio::MultiplexedConnection};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    bus::Subscription,
    config,
    endpoint::{Endpoint, backoff, silence},
    stream::{Frame, Next, Source, Stats},
};

/// How often the numbers are counted at most.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

/// How often they are counted at least: for what no event tells.
const MAX_INTERVAL: Duration = Duration::from_mins(1);

/// How long one blocking read lasts, in milliseconds; a connection that does not come back from it
/// is dead.
const BLOCK_MS: u64 = 15_000;

const BLOCK: Duration = Duration::from_millis(BLOCK_MS);

/// How long Redis may take for an answer beyond that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The queues, and who watches them.
pub struct Queues {
    settings: config::Queues,
    watched: Arc<Mutex<Watched>>,
    numbers: watch::Sender<Option<Arc<str>>>,
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
        }
    }

    /// Asks the queues' Redis whether it is there.
    ///
    /// # Errors
    /// Where it is not.
    pub async fn ping(&self) -> RedisResult<()> {
        let asked = async {
            let endpoint = Endpoint::new(&self.settings.redis);
            let mut connection = connect(&endpoint, &self.settings).await?;
            redis::cmd("PING").exec_async(&mut connection).await
        };
        let answer = timeout(ANSWER_TIMEOUT, asked).await;
        answer.unwrap_or_else(|_| Err(silence()))
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
            let reader = read(self.settings.clone(), self.numbers.clone());
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
                    id: None,
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

/// What is counted of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    waiting: u64,
    active: u64,
    delayed: u64,
    prioritized: u64,
    paused: u64,
    completed: u64,
    failed: u64,
}

/// The statistics as clients get them.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    running: u64,
    running_capacity: u64,
    queued: u64,
    queued_capacity: u64,
    queues: BTreeMap<String, Counts>,
}

impl Statistics {
    fn new(settings: &config::Queues, queues: BTreeMap<String, Counts>) -> Self {
        let total = |count: fn(&Counts) -> u64| queues.values().map(count).sum::<u64>();
        let active = total(|queue| queue.active);
        let running = active.min(settings.running_capacity);
        let behind =
            total(|queue| queue.waiting + queue.prioritized + queue.delayed + queue.paused);
        Statistics {
            running,
            running_capacity: settings.running_capacity,
            queued: behind + (active - running),
            queued_capacity: settings.queued_capacity,
            queues,
        }
    }
}

/// Reads the numbers until it is aborted.
async fn read(settings: config::Queues, numbers: watch::Sender<Option<Arc<str>>>) {
    let mut waits = backoff().build();
    loop {
        let began = Instant::now();
        if let Err(error) = follow(&settings, &numbers).await {
            if began.elapsed() > BLOCK {
                waits = backoff().build();
            }
            metrics::counter!("RedisErrors").increment(1);
            tracing::warn!(%error, "failed to read the queues");
            // Who comes next must not see what is old by then; who watches keeps what there was.
            numbers.send_replace(None);
            sleep(waits.next().unwrap_or(MIN_INTERVAL)).await;
        }
    }
}

/// Reads the numbers over one connection, for as long as it holds.
async fn follow(
    settings: &config::Queues,
    numbers: &watch::Sender<Option<Arc<str>>>,
) -> RedisResult<()> {
    let endpoint = Endpoint::new(&settings.redis);
    let mut connection = connect(&endpoint, settings).await?;
    let connected = Instant::now();
    while !endpoint.is_too_old(connected) {
        let counted = Instant::now();
        let (queues, events) = count(settings, &mut connection).await?;
        let statistics = Statistics::new(settings, queues);
        if let Ok(json) = serde_json::to_string(&statistics) {
            numbers.send_replace(Some(json.into()));
        }
        sleep_until(counted + MIN_INTERVAL).await;
        while counted.elapsed() < MAX_INTERVAL && !wait(settings, &events, &mut connection).await? {
        }
    }
    Ok(())
}

/// Connects to where the queues are: in a cluster, to the node that has their keys.
async fn connect(
    endpoint: &Endpoint,
    settings: &config::Queues,
) -> RedisResult<MultiplexedConnection> {
    let patience = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_TIMEOUT))
        .set_response_timeout(Some(BLOCK + ANSWER_TIMEOUT));
    let mut connection = endpoint.connect(&patience).await?;
    let Some(queue) = settings.names.first() else {
        return Ok(connection);
    };
    let mut probe = redis::cmd("LLEN");
    let probe = probe.arg(settings.key(queue, "wait"));
    match probe.exec_async(&mut connection).await {
        Err(error) => match error.redirect_node() {
            Some((node, _)) => endpoint.connect_to(node, &patience).await,
            None => Err(error),
        },
        Ok(()) => Ok(connection),
    }
}

/// Counts everything in one round trip. Returns the last event of each queue too: it is read
/// before the numbers, so what comes after it is news.
async fn count(
    settings: &config::Queues,
    connection: &mut MultiplexedConnection,
) -> RedisResult<(BTreeMap<String, Counts>, Vec<String>)> {
    if settings.names.is_empty() {
        return Ok((BTreeMap::new(), Vec::new()));
    }
    let mut pipeline = redis::pipe();
    for queue in &settings.names {
        let key = |suffix| settings.key(queue, suffix);
        let last = pipeline.cmd("XREVRANGE").arg(key("events"));
        last.arg("+").arg("-").arg("COUNT").arg(1);
        pipeline.llen(key("wait")).llen(key("active"));
        pipeline.zcard(key("delayed")).zcard(key("prioritized"));
        pipeline.llen(key("paused"));
        pipeline.zcard(key("completed")).zcard(key("failed"));
    }
    let answer = timeout(ANSWER_TIMEOUT, pipeline.query_async(connection)).await;
    let answer: Vec<Value> = answer.map_err(|_| silence())??;
    let mut queues = BTreeMap::new();
    let mut events = Vec::new();
    for (queue, values) in settings.names.iter().zip(answer.chunks(8)) {
        let number = |index: usize| match values.get(index) {
            Some(Value::Int(number)) => u64::try_from(*number).unwrap_or_default(),
            _ => 0,
        };
        let counts = Counts {
            waiting: number(1),
            active: number(2),
            delayed: number(3),
            prioritized: number(4),
            paused: number(5),
            completed: number(6),
            failed: number(7),
        };
        queues.insert(queue.clone(), counts);
        events.push(
            values
                .first()
                .and_then(last_id)
                .unwrap_or_else(|| "0-0".to_owned()),
        );
    }
    Ok((queues, events))
}

/// Waits for an event after these; returns whether there is one.
async fn wait(
    settings: &config::Queues,
    events: &[String],
    connection: &mut MultiplexedConnection,
) -> RedisResult<bool> {
    if events.is_empty() {
        sleep(BLOCK).await;
        return Ok(false);
    }
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK_MS);
    read.arg("STREAMS");
    for queue in &settings.names {
        read.arg(settings.key(queue, "events"));
    }
    let answer: Value = read.arg(events).query_async(connection).await?;
    Ok(!matches!(answer, Value::Nil))
}

/// The id of the one entry that `XREVRANGE` brought.
fn last_id(entries: &Value) -> Option<String> {
    let Value::Array(entries) = entries else {
        return None;
    };
    match entries.first()? {
        Value::Array(entry) => redis::from_redis_value_ref(entry.first()?).ok(),
        _ => None,
    }
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_active_beyond_the_capacity_counts_as_queued() {
        let env = [
            ("REDIS_URL", "redis://localhost"),
            ("RUNNING_CAPACITY", "5"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = config::Queues::from_env(&env.into_iter().collect()).unwrap();
        let counts = Counts {
            waiting: 1,
            active: 4,
            delayed: 2,
            prioritized: 3,
            paused: 4,
            completed: 100,
            failed: 100,
        };
        let queues = ["a", "b"].map(|name| (name.to_owned(), counts));
        let statistics = Statistics::new(&settings, queues.into_iter().collect());
        assert_eq!((statistics.running, statistics.queued), (5, 23));
    }
}
