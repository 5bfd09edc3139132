//! Reads `BullMQ`'s keys: it waits for `BullMQ`'s own events (a blocking read, on a connection of its
//! own) and then counts; it never asks again and again.
//!
//! Keys: <https://docs.bullmq.io>, `bullmq/src/commands`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use backon::BackoffBuilder;
use redis::{RedisResult, Value, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::statistics::{Counts, Statistics};
use crate::{
    config,
    endpoint::{Endpoint, silence},
    execution::json::in_one_line,
    jitter::backoff,
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
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the queues' Redis whether it is there.
pub(super) async fn ping(settings: &config::Queues) -> RedisResult<()> {
    let asked = async {
        let endpoint = Endpoint::new(&settings.redis);
        let mut connection = connect(&endpoint, settings).await?;
        redis::cmd("PING").exec_async(&mut connection).await
    };
    let answer = timeout(ANSWER_TIMEOUT, asked).await;
    answer.unwrap_or_else(|_| Err(silence()))
}

/// Reads the numbers until it is aborted.
pub(super) async fn read(settings: config::Queues, numbers: watch::Sender<Option<Arc<str>>>) {
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
            // The names of the queues are whatever was configured.
            numbers.send_replace(Some(in_one_line(&json).into()));
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
