//! Viewers, and events for them: the same load for Runcast, its floor, and the others.
//!
//! An event carries the time at which it was sent, so that one clock measures all.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use eventsource_stream::Eventsource;
use futures_util::{StreamExt, future::join_all, stream};
use integration::stack::Stack;
use redis::{
    AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection,
};
use serde_json::json;
use shared::execution::{Id, Kind, State};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::runtime::{Process, Said, request};

/// Events a second, over all streams.
pub(crate) const RATE: u32 = 500;

/// How many streams open at once.
const OPENING: usize = 50;

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_mins(1);

/// What has not come when nothing came for so long, is lost.
const PAUSE: Duration = Duration::from_secs(2);

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment, as events carry it.
pub(crate) fn now() -> u64 {
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The time of an event from when it was sent to when it came, in ms; `None` where it does not say.
fn age(data: &[u8], came: Instant) -> Option<f64> {
    const MARK: &[u8] = br#""message":""#;
    let at = data.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let digits = data[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let sent = digits.fold(0u64, |sent, digit| sent * 10 + u64::from(digit - b'0'));
    let sent = *EPOCH + Duration::from_nanos(sent);
    Some(milliseconds(came.saturating_duration_since(sent)))
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// What the worker would publish: an event of a job run, of the size that one has.
pub(crate) fn message(id: &str, seq: u64) -> String {
    static RUNNING: LazyLock<String> = LazyLock::new(|| {
        let id: Id = "_id_".parse().unwrap();
        let state = State::unreported(Kind::Job, id).to_json();
        let of = r#","organizationId":"demo","projectId":"demo","publishedAt":"2026-01-01T00:01:05.000Z"}"#;
        let time = "\"2026-01-01T00:00:00.000Z\"";
        let state = state
            .replace(r#""jobId":null"#, r#""jobId":"nightly""#)
            .replace(r#""status":"waiting""#, r#""status":"running""#)
            .replace(r#""startedAt":null"#, &format!(r#""startedAt":{time}"#))
            .replace(r#""occurredAt":null"#, &format!(r#""occurredAt":{time}"#));
        format!("{}{of}", state.strip_suffix('}').unwrap())
    });
    let sent = now();
    let progress = format!(r#""progress":{{"completed":{seq},"total":100000,"message":"{sent}"}}"#);
    RUNNING
        .replace(r#""runId":"_id_""#, &format!(r#""runId":"{id}""#))
        .replace(r#""seq":0"#, &format!(r#""seq":{seq}"#))
        .replace(r#""progress":null"#, &progress)
}

/// Where an execution's events are published.
pub(crate) fn channel(id: &str) -> String {
    format!("job:{id}:status")
}

/// So many executions.
fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{name}-{index}")).collect()
}

/// Times as they come in.
#[derive(Clone, Default)]
pub(crate) struct Times(Arc<Mutex<Vec<f64>>>);

impl Times {
    fn record(&self, time: f64) {
        self.lock().push(time);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are so many, no more, and takes them.
    async fn take(&self, count: usize) -> Vec<f64> {
        let times = self.take_within(count, PAUSE).await;
        assert_eq!(times.len(), count, "an event was lost, or came twice");
        times
    }

    /// Waits until there are so many, and takes them; fewer where nothing comes for so long.
    pub(crate) async fn take_within(&self, count: usize, patience: Duration) -> Vec<f64> {
        let mut last = (0, Instant::now());
        loop {
            let length = self.lock().len();
            if length >= count || last.1.elapsed() > patience {
                return std::mem::take(&mut *self.lock());
            }
            if length > last.0 {
                last = (length, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// One open stream.
pub(crate) struct Viewer {
    /// From the request to the first state, in ms.
    pub(crate) first_event: f64,
    /// Runcast's name for it.
    pub(crate) stream_id: Option<String>,
    reader: JoinHandle<()>,
}

impl Viewer {
    /// Waits until the stream has ended.
    pub(crate) async fn ended(mut self) {
        timeout(PATIENCE, &mut self.reader)
            .await
            .expect("the stream's end")
            .unwrap();
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Opens a stream, and waits for its first state.
pub(crate) async fn open(
    client: &reqwest::Client,
    url: &str,
    token: &str,
    times: &Times,
) -> Viewer {
    let asked = Instant::now();
    let response = client
        .get(url)
        .bearer_auth(token)
        .header("Accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200, "{url}");
    let mut events = response.bytes_stream().eventsource();
    let mut stream_id = None;
    let first_event = loop {
        let event = timeout(PATIENCE, events.next())
            .await
            .expect("a first event")
            .unwrap()
            .unwrap();
        match event.event.as_str() {
            "message" => break milliseconds(asked.elapsed()),
            "stream" => {
                let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                stream_id = data["streamId"].as_str().map(str::to_owned);
            }
            other => panic!("{other} instead of a state"),
        }
    };
    let times = times.clone();
    let reader = tokio::spawn(async move {
        while let Some(Ok(event)) = events.next().await {
            assert_ne!(event.event, "reset", "the load is ahead of the log");
            if let Some(age) = age(event.data.as_bytes(), Instant::now()) {
                times.record(age);
            }
        }
    });
    Viewer {
        first_event,
        stream_id,
        reader,
    }
}

/// What is published: events of these executions in turn, each with its next number.
struct Events {
    ids: Vec<String>,
    seqs: Vec<u64>,
}

impl Events {
    fn new(ids: Vec<String>) -> Self {
        Events {
            seqs: vec![0; ids.len()],
            ids,
        }
    }

    /// Publishes them for so long, at a rate; returns how many.
    async fn publish(&mut self, publisher: &mut Publisher, seconds: f64, rate: u32) -> usize {
        let mut tick = interval(Duration::from_secs(1) / rate);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let mut sent = 0;
        while Instant::now() < until {
            tick.tick().await;
            let index = sent % self.ids.len();
            self.seqs[index] += 1;
            publisher.publish(&self.ids[index], self.seqs[index]).await;
            sent += 1;
        }
        sent
    }
}

/// The load on one set of streams.
pub(crate) struct Load {
    viewers: Vec<Viewer>,
    times: Times,
    events: Events,
    /// How many streams show each event.
    viewers_of_each: usize,
    close_url: Option<String>,
}

impl Load {
    /// Opens so many streams, each of an execution of its own.
    pub(crate) async fn open(stack: &Stack, name: &str, count: usize) -> Self {
        let ids = ids(name, count);
        Self::of(stack, &ids, ids.clone(), OPENING).await
    }

    /// The same, all at once, and nothing is published.
    pub(crate) async fn at_once(stack: &Stack, name: &str, count: usize) -> Self {
        let ids = ids(name, count);
        Self::of(stack, &ids, Vec::new(), count).await
    }

    /// Opens so many streams of one execution.
    pub(crate) async fn open_one(stack: &Stack, id: &str, count: usize) -> Self {
        let watched = vec![id.to_owned(); count];
        Self::of(stack, &watched, vec![id.to_owned()], OPENING).await
    }

    async fn of(stack: &Stack, watched: &[String], ids: Vec<String>, at_once: usize) -> Self {
        let url = |id: &String| format!("{}/api/job-status/events/{id}", stack.url);
        let urls = watched.iter().map(url).collect();
        let load = Self::at(urls, ids, &stack.token, at_once).await;
        let close_url = Some(format!("{}/api/job-status/streams", stack.url));
        Load { close_url, ..load }
    }

    /// Opens streams anywhere, so many at once.
    pub(crate) async fn at(
        urls: Vec<String>,
        ids: Vec<String>,
        token: &str,
        at_once: usize,
    ) -> Self {
        let (times, client) = (Times::default(), client());
        let open = async |url: String| open(&client, &url, token, &times).await;
        let opened = stream::iter(urls).map(open).buffer_unordered(at_once);
        let viewers: Vec<_> = opened.collect().await;
        Load {
            viewers_of_each: viewers.len() / ids.len().max(1),
            viewers,
            times,
            events: Events::new(ids),
            close_url: None,
        }
    }

    /// Has a function's process serve so many streams, and listens where its frames leave it.
    pub(crate) async fn of_process(mut process: Process, name: &str, count: usize) -> Self {
        let (times, ids) = (Times::default(), ids(name, count));
        for id in &ids {
            process.invoke(request(id));
        }
        let mut states = 0;
        while states < count {
            if let Said::Chunk(_, text) = process.said().await {
                states += text.matches(r#""seq":"#).count();
            }
        }
        let taken = times.clone();
        let reader = tokio::spawn(async move {
            loop {
                if let Said::Chunk(at, text) = process.said().await
                    && let Some(age) = age(text.as_bytes(), at)
                {
                    taken.record(age);
                }
            }
        });
        // Dropped with its reader, the process ends.
        let viewer = Viewer {
            first_event: 0.0,
            stream_id: None,
            reader,
        };
        Load {
            viewers: vec![viewer],
            viewers_of_each: 1,
            times,
            events: Events::new(ids),
            close_url: None,
        }
    }

    /// Publishes events for so long, at a rate, and returns how long each was on its way, in ms.
    pub(crate) async fn deliver(
        &mut self,
        publisher: &mut Publisher,
        seconds: f64,
        rate: u32,
    ) -> Vec<f64> {
        let sent = self.events.publish(publisher, seconds, rate).await;
        self.take(sent * self.viewers_of_each).await
    }

    /// The same of a server that may lose some: those that came, and how many did not.
    pub(crate) async fn deliver_some(
        &mut self,
        publisher: &mut Publisher,
        seconds: f64,
        rate: u32,
    ) -> (Vec<f64>, usize) {
        let sent = self.events.publish(publisher, seconds, rate).await * self.viewers_of_each;
        let came = self.times.take_within(sent, PAUSE).await;
        assert!(came.len() <= sent, "an event came twice");
        let lost = sent - came.len();
        (came, lost)
    }

    /// Waits for so many events that someone else has published.
    pub(crate) async fn take(&self, count: usize) -> Vec<f64> {
        self.times.take(count).await
    }

    /// How long each viewer waited for its first state, in ms.
    pub(crate) fn first_events(&self) -> Vec<f64> {
        self.viewers
            .iter()
            .map(|viewer| viewer.first_event)
            .collect()
    }

    /// Sends a beacon for each stream.
    pub(crate) async fn close(self) {
        let Some(url) = &self.close_url else { return };
        let client = client();
        let beacon = async |viewer: &Viewer| {
            let id = viewer.stream_id.as_deref().unwrap_or_default();
            let url = format!("{url}/{id}/close");
            assert_eq!(client.post(url).send().await.unwrap().status(), 204);
        };
        for viewers in self.viewers.chunks(20) {
            join_all(viewers.iter().map(beacon)).await;
        }
    }
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .tcp_nodelay(true)
        .build()
        .unwrap()
}

/// Where events are published.
pub(crate) enum Publisher {
    /// On the execution's Redis channel.
    Redis(MultiplexedConnection),
    /// By HTTP, as nchan takes them.
    Nchan(reqwest::Client, String),
    /// By HTTP, as Pushpin takes them: <https://pushpin.org/docs/usage/#publishing>.
    Pushpin(reqwest::Client, String),
}

impl Publisher {
    pub(crate) async fn redis(url: &str) -> Self {
        let client = redis::Client::open(url).unwrap();
        Publisher::Redis(client.get_multiplexed_async_connection().await.unwrap())
    }

    /// Gives an execution its first state, where a viewer finds none without: only nchan's are kept
    /// by nchan itself.
    pub(crate) async fn seed(&mut self, id: &str) {
        if let Publisher::Nchan(..) = self {
            self.publish(id, 0).await;
        }
    }

    pub(crate) async fn publish(&mut self, id: &str, seq: u64) {
        match self {
            Publisher::Redis(connection) => {
                let mut command = redis::cmd("PUBLISH");
                command.arg(channel(id)).arg(message(id, seq));
                command.exec_async(connection).await.unwrap();
            }
            Publisher::Nchan(client, url) => {
                let posted = client.post(format!("{url}/{id}"));
                post(posted.body(message(id, seq))).await;
            }
            Publisher::Pushpin(client, url) => {
                let content = format!("id: {seq}\ndata: {}\n\n", message(id, seq));
                let item = json!({"channel": id, "formats": {"http-stream": {"content": content}}});
                post(client.post(&*url).json(&json!({"items": [item]}))).await;
            }
        }
    }
}

async fn post(request: reqwest::RequestBuilder) {
    assert!(request.send().await.unwrap().status().is_success());
}

/// The floor of delivery: a subscriber of the same driver, and nothing behind it.
pub(crate) struct Subscriber {
    times: Times,
    /// Kept open.
    _connections: Vec<MultiplexedConnection>,
    /// How many of them hear each event.
    hearers_of_each: usize,
    events: Events,
}

impl Subscriber {
    /// One connection, subscribed to so many channels.
    pub(crate) async fn to_many(redis_url: &str, name: &str, channels: usize) -> Self {
        let ids = ids(name, channels);
        Self::new(redis_url, vec![ids.clone()], ids, 1).await
    }

    /// A connection for each of so many channels.
    pub(crate) async fn each_to_one(redis_url: &str, name: &str, channels: usize) -> Self {
        let ids = ids(name, channels);
        let one_each = ids.iter().map(|id| vec![id.clone()]).collect();
        Self::new(redis_url, one_each, ids, 1).await
    }

    /// So many connections, subscribed to one channel.
    pub(crate) async fn many_to(redis_url: &str, name: &str, connections: usize) -> Self {
        let id = vec![name.to_owned()];
        Self::new(redis_url, vec![id.clone(); connections], id, connections).await
    }

    /// What each connection subscribes to, all there is to publish, and how many hear each.
    async fn new(
        redis_url: &str,
        subscribed: Vec<Vec<String>>,
        ids: Vec<String>,
        hearers_of_each: usize,
    ) -> Self {
        let times = Times::default();
        let mut open = Vec::new();
        for ids in subscribed {
            let names: Vec<_> = ids.iter().map(|id| channel(id)).collect();
            let mut connection = listening(redis_url, times.clone()).await;
            connection.subscribe(&names).await.unwrap();
            open.push(connection);
        }
        Subscriber {
            times,
            _connections: open,
            hearers_of_each,
            events: Events::new(ids),
        }
    }

    /// Publishes one event; returns how long it was on its way.
    pub(crate) async fn deliver_one(&self, publisher: &mut Publisher) -> f64 {
        publisher.publish(&self.events.ids[0], 0).await;
        self.times.take(1).await[0]
    }

    /// As [`Load::deliver`].
    pub(crate) async fn deliver(
        &mut self,
        publisher: &mut Publisher,
        seconds: f64,
        rate: u32,
    ) -> Vec<f64> {
        let sent = self.events.publish(publisher, seconds, rate).await;
        self.times.take(sent * self.hearers_of_each).await
    }
}

/// A connection that times what it is pushed.
async fn listening(url: &str, times: Times) -> MultiplexedConnection {
    let take = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
        if let (PushKind::Message, [_, Value::BulkString(payload)]) =
            (push.kind, push.data.as_slice())
            && let Some(age) = age(payload, Instant::now())
        {
            times.record(age);
        }
        Ok(())
    };
    connect(url, take).await.unwrap()
}

/// A connection that speaks RESP3, as subscribing needs.
pub(crate) async fn connect(
    url: &str,
    take: impl Fn(PushInfo) -> Result<(), redis::aio::SendError> + Send + Sync + 'static,
) -> RedisResult<MultiplexedConnection> {
    let separator = if url.contains('?') { '&' } else { '?' };
    let client = redis::Client::open(format!("{url}{separator}protocol=resp3"))?;
    let config = AsyncConnectionConfig::new().set_push_sender(take);
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}
