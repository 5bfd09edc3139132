//! Reads `BullMQ`'s keys: all that it shows is counted in one round trip, again and again while
//! somebody watches. `BullMQ`'s events would be sooner, but `drain`, `obliterate`, a key that
//! expires and an operator's `DEL` make none.
//!
//! The numbers are those of `Queue.getJobCounts()`: `bullmq/src/commands/getCounts-1.lua`.

use std::{sync::Arc, time::Duration};

use backon::BackoffBuilder;
use redis::{Pipeline, RedisResult, Value, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    seat::{Held, LEASE, Seat},
    statistics::{Counts, Numbers},
};
use crate::{
    bus::{Bus, Signal, Subscription},
    config,
    endpoint::{Endpoint, silence},
    jitter::{backoff, jittered},
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

/// Keeps a process's numbers as they are, while somebody watches.
pub(super) struct Reader {
    pub(super) settings: config::Queues,
    pub(super) bus: Bus,
    pub(super) seat: Seat,
    pub(super) numbers: watch::Sender<Option<Arc<Numbers>>>,
}

impl Reader {
    /// Counts, or listens to who does, until it is aborted.
    pub(super) async fn run(self) {
        let channels = vec![(self.seat.channel(), 0)];
        let mut subscription = self.bus.subscribe(None, channels, None).await;
        let mut waits = backoff().build();
        loop {
            match self.seat.take().await {
                Ok(Held::Elsewhere(last)) if subscription.is_live() => {
                    if let Some(numbers) = last {
                        self.show(numbers);
                    }
                    self.listen(&mut subscription).await;
                }
                // Where Redis cannot say who counts, each does.
                _ => {
                    let began = Instant::now();
                    if let Err(error) = self.count_on().await {
                        if began.elapsed() > HELD {
                            waits = backoff().build();
                        }
                        metrics::counter!("RedisErrors").increment(1);
                        tracing::warn!(%error, "failed to read the queues");
                        // Who comes next must not see what is old by then; who watches keeps what
                        // there was.
                        self.numbers.send_replace(None);
                        self.seat.leave().await;
                        sleep(waits.next().unwrap_or(INTERVAL)).await;
                    }
                }
            }
        }
    }

    /// Listens to who counts, until it says nothing any more.
    async fn listen(&self, subscription: &mut Subscription) {
        loop {
            match timeout(jittered(LEASE), subscription.recv()).await {
                Ok(Signal::Message(message)) => match serde_json::from_slice(&message) {
                    Ok(numbers) => self.show(numbers),
                    // It has left: one of all who heard it is first.
                    Err(_) => return,
                },
                Ok(Signal::Event(..) | Signal::Nudge) => {}
                Ok(Signal::Lost | Signal::Restored) | Err(_) => return,
            }
        }
    }

    /// Counts over one connection, for as long as it holds and the seat is this process's.
    async fn count_on(&self) -> RedisResult<()> {
        let endpoint = Endpoint::new(&self.settings.redis);
        let mut connection = connect(&endpoint, &self.settings).await?;
        let connected = Instant::now();
        while !endpoint.is_too_old(connected) {
            let counted = Instant::now();
            let numbers = count(&self.settings, &mut connection).await?;
            let told = self.seat.tell(&numbers).await;
            self.show(numbers);
            if let Ok(Held::Elsewhere(_)) = told {
                break;
            }
            sleep_until(counted + INTERVAL).await;
        }
        Ok(())
    }

    /// What is as it was wakes no stream.
    fn show(&self, numbers: Numbers) {
        self.numbers.send_if_modified(|latest| {
            let is_news = latest.as_deref() != Some(&numbers);
            if is_news {
                *latest = Some(numbers.into());
            }
            is_news
        });
    }
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
) -> RedisResult<Numbers> {
    if settings.names.is_empty() {
        return Ok(Numbers::new());
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
