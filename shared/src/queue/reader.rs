//! Reads `BullMQ`'s keys: all that it shows is counted in one round trip, again and again while
//! somebody watches. `BullMQ`'s events would be sooner, but `drain`, `obliterate`, a key that
//! expires and an operator's `DEL` make none.
//!
//! The numbers are those of `Queue.getJobCounts()`: `bullmq/src/commands/getCounts-1.lua`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use backon::BackoffBuilder;
use redis::{Pipeline, RedisResult, Value, aio::MultiplexedConnection};
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

/// How long it is from one count to the next: a change is told within a second, the way included.
const INTERVAL: Duration = Duration::from_millis(900);

/// How long Redis may take for an answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// After how long a connection counts as one that held: failures before it are forgotten.
const HELD: Duration = Duration::from_secs(15);

/// How many answers [`ask`] gets.
const ANSWERS: usize = 9;

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
            if began.elapsed() > HELD {
                waits = backoff().build();
            }
            metrics::counter!("RedisErrors").increment(1);
            tracing::warn!(%error, "failed to read the queues");
            // Who comes next must not see what is old by then; who watches keeps what there was.
            numbers.send_replace(None);
            sleep(waits.next().unwrap_or(INTERVAL)).await;
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
        let queues = count(settings, &mut connection).await?;
        let statistics = Statistics::new(settings, queues);
        if let Ok(json) = serde_json::to_string(&statistics) {
            // The names of the queues are whatever was configured.
            let json = in_one_line(&json).into_owned();
            // What is as it was wakes no stream.
            numbers.send_if_modified(|latest| {
                let is_news = latest.as_deref() != Some(&json);
                if is_news {
                    *latest = Some(json.into());
                }
                is_news
            });
        }
        sleep_until(counted + INTERVAL).await;
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
        .set_response_timeout(Some(ANSWER_TIMEOUT));
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

/// Counts everything in one round trip.
async fn count(
    settings: &config::Queues,
    connection: &mut MultiplexedConnection,
) -> RedisResult<BTreeMap<String, Counts>> {
    if settings.names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut pipeline = redis::pipe();
    for queue in &settings.names {
        ask(&mut pipeline, |suffix| settings.key(queue, suffix));
    }
    let answers: Vec<Value> = pipeline.query_async(connection).await?;
    let counts = answers.chunks(ANSWERS).map(counts);
    Ok(settings.names.iter().cloned().zip(counts).collect())
}

/// Asks for what one queue has. Each question takes the same time, however much there is.
fn ask(pipeline: &mut Pipeline, key: impl Fn(&str) -> String) {
    pipeline.llen(key("wait")).lindex(key("wait"), -1);
    pipeline.llen(key("active"));
    pipeline.zcard(key("delayed")).zcard(key("prioritized"));
    pipeline.llen(key("paused")).lindex(key("paused"), -1);
    pipeline.zcard(key("completed")).zcard(key("failed"));
}

/// The counts in what [`ask`] was answered.
fn counts(answers: &[Value]) -> Counts {
    let number = |index: usize| match answers.get(index) {
        Some(Value::Int(number)) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    };
    // Until its version 5 `BullMQ` kept a marker as the last item of these lists, which is no job.
    let jobs = |index: usize| match answers.get(index + 1) {
        Some(Value::BulkString(last)) if last.starts_with(b"0:") => number(index).saturating_sub(1),
        _ => number(index),
    };
    Counts {
        waiting: jobs(0),
        active: number(2),
        delayed: number(3),
        prioritized: number(4),
        paused: jobs(5),
        completed: number(7),
        failed: number(8),
    }
}
