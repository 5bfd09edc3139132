//! Server-Sent Events (WHATWG HTML, section 9.2): frames, heartbeat, window and end.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::response::{
    IntoResponse, Response,
    sse::{Event as SseEvent, KeepAlive, Sse},
};
use futures_util::{StreamExt, stream::poll_fn};
use rand::RngExt;
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    config::Streams,
    execution::{Id, Timestamp},
};

/// How many frames wait for a slow reader; the rest waits in the log.
const BUFFERED_FRAMES: usize = 16;

/// How long the last frame waits for a reader that does not read.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a stream's frames come from.
pub trait Source: Send + 'static {
    /// Waits for what comes next. Once it was not [`Next::Frame`], the source is over.
    fn next(&mut self) -> impl Future<Output = Next> + Send;

    /// Ends its subscription; returns once Redis knows.
    fn close(self) -> impl Future<Output = Stats> + Send;
}

/// What to send to the viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The client's cursor is of no use: it starts over from the states that follow.
    Reset,
    /// A state.
    State {
        /// The cursor once it is sent; `None` where more belongs to it, or there is none.
        id: Option<String>,
        /// The state, as JSON.
        data: Arc<str>,
    },
    /// Nothing to show, only where the client stands.
    Cursor(String),
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Something to send.
    Frame(Frame),
    /// All that is watched has ended, and everything was sent.
    Complete,
    /// The viewer has left, or what it waited for turned out not to be its.
    Closed,
}

/// What happened in a source's life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// States sent.
    pub events: u64,
    /// Reads of the log after the first.
    pub reads: u64,
    /// Events that came from the log after the first read: Redis had not brought them.
    pub repaired: u64,
}

/// How long a stream lives, beyond its source.
#[derive(Debug)]
pub struct Lifetime {
    /// When the caller's token runs out.
    pub expires_at: SystemTime,
    /// When Lambda kills the function; `None` where it says nothing sensible.
    pub deadline: Option<SystemTime>,
}

/// Why a stream ended; the `reason` of its last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Reason {
    Complete,
    Rotate,
    Expired,
    Closed,
    /// The connection broke: there is nobody to tell.
    #[serde(skip)]
    Gone,
}

/// A stream as the viewer is told of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Opening<'a> {
    stream_id: &'a Id,
    heartbeat_seconds: u64,
    ends_at: Timestamp,
}

/// Serves a source. The subscription is gone, and everything written, before the body ends: after
/// it, Lambda freezes the process.
#[must_use]
pub fn serve(
    source: impl Source,
    stream_id: Id,
    settings: &Streams,
    lifetime: &Lifetime,
) -> Response {
    let ends = Ends::new(settings.window, lifetime);
    let opening = Opening {
        stream_id: &stream_id,
        heartbeat_seconds: settings.heartbeat.as_secs(),
        ends_at: Timestamp(ends.first_at().into()),
    };
    let retry = Duration::from_millis(rand::rng().random_range(1_000..3_000));
    let opening = SseEvent::default()
        .retry(retry)
        .event("stream")
        .data(json(&opening));
    let (sender, mut receiver) = mpsc::channel(BUFFERED_FRAMES);
    let _ = sender.try_send(opening);
    tokio::spawn(run(source, stream_id, sender, ends));

    let frames = poll_fn(move |context| receiver.poll_recv(context)).map(Ok::<_, Infallible>);
    let heartbeat = KeepAlive::new().interval(settings.heartbeat).text("ping");
    Sse::new(frames).keep_alive(heartbeat).into_response()
}

async fn run(mut source: impl Source, stream_id: Id, sender: mpsc::Sender<SseEvent>, ends: Ends) {
    let opened = Instant::now();
    let reason = tokio::select! {
        biased;
        () = sender.closed() => Reason::Gone,
        () = sleep_until(ends.expired_at) => Reason::Expired,
        () = sleep_until(ends.rotate_at) => Reason::Rotate,
        reason = pump(&mut source, &sender) => reason,
    };
    let farewell = async {
        if reason != Reason::Gone {
            #[derive(Serialize)]
            struct End {
                reason: Reason,
            }
            let end = SseEvent::default().event("end").data(json(&End { reason }));
            let _ = timeout(FAREWELL_TIMEOUT, sender.send(end)).await;
        }
    };
    let ((), stats) = tokio::join!(farewell, source.close());
    tracing::info!(
        %stream_id,
        ?reason,
        seconds = opened.elapsed().as_secs_f64(),
        events = stats.events,
        reads = stats.reads,
        repaired = stats.repaired,
        "stream ended"
    );
    drop(sender);
}

/// Passes frames on until the source is over or the viewer gone.
async fn pump(source: &mut impl Source, sender: &mpsc::Sender<SseEvent>) -> Reason {
    loop {
        let frame = match source.next().await {
            Next::Frame(frame) => frame,
            Next::Complete => return Reason::Complete,
            Next::Closed => return Reason::Closed,
        };
        let frame = match frame {
            Frame::Reset => SseEvent::default().event("reset").data("{}"),
            Frame::State { id: None, data } => SseEvent::default().data(data),
            Frame::State { id: Some(id), data } => SseEvent::default().id(id).data(data),
            Frame::Cursor(id) => SseEvent::default().id(id),
        };
        if sender.send(frame).await.is_err() {
            return Reason::Gone;
        }
    }
}

/// When a stream ends by itself.
struct Ends {
    rotate_at: Instant,
    expired_at: Instant,
}

impl Ends {
    /// The window is jittered, so that streams that began together don't return together. It ends
    /// a margin before Lambda's deadline, for the last writes: a tenth of what is left.
    fn new(window: Duration, lifetime: &Lifetime) -> Self {
        let now = Instant::now();
        let until = |time: SystemTime| {
            let left = time.duration_since(SystemTime::now()).unwrap_or_default();
            left.min(Duration::from_hours(24))
        };
        let mut window = jittered(window);
        // A deadline in the past is none: `cargo lambda watch` sends one of 1970.
        if let Some(left) = lifetime.deadline.map(until).filter(|left| !left.is_zero()) {
            let margin = (left / 10).clamp(Duration::from_millis(500), Duration::from_secs(10));
            window = window.min(left.saturating_sub(margin));
        }
        Ends {
            rotate_at: now + window,
            expired_at: now + until(lifetime.expires_at),
        }
    }

    fn first_at(&self) -> SystemTime {
        let first = self.rotate_at.min(self.expired_at);
        SystemTime::now() + first.saturating_duration_since(Instant::now())
    }
}

/// 80 to 100 % of a duration: what began together shall not come back together.
#[must_use]
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::rng().random_range(0.8..1.0))
}

/// A new stream's id: 128 random bits.
#[must_use]
pub fn new_id() -> Id {
    #[expect(clippy::expect_used, reason = "hexadecimal digits make an id")]
    format!("{:032x}", rand::rng().random::<u128>())
        .parse()
        .expect("a stream id")
}

#[expect(clippy::expect_used, reason = "strings and numbers always encode")]
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a frame's data encodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_ends_before_the_deadline_and_a_past_one_counts_as_none() {
        let minute = Duration::from_mins(1);
        let now = SystemTime::now();
        let ends = |deadline| {
            let expires_at = now + 100 * minute;
            let lifetime = Lifetime {
                expires_at,
                deadline,
            };
            Ends::new(10 * minute, &lifetime).rotate_at - Instant::now()
        };
        assert!(ends(Some(now + minute)) <= Duration::from_secs(54));
        assert!(ends(Some(SystemTime::UNIX_EPOCH)) >= 8 * minute);
        assert!(ends(None) >= 8 * minute);
    }
}
