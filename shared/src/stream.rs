//! Server-Sent Events (WHATWG HTML, section 9.2): frames, heartbeat, window and end.

mod driven;
mod flush;
mod source;
mod window;

use std::{
    convert::Infallible,
    pin::pin,
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::header;
use rand::RngExt;
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{Instrument, Span};

pub use self::source::{Frame, Next, Source, Stats};
use self::{driven::driven, flush::flushed, window::Ends};
use crate::{
    access::limits::Place,
    bus::Hangup,
    config::Streams,
    drain::Drain,
    execution::{Id, Timestamp, TraceParent},
    telemetry::{self, traces},
    watch::EVICTED,
};

/// How many frames wait for a slow reader; the rest waits in the log.
const BUFFERED_FRAMES: usize = 16;

/// How long the last frame waits for a reader that does not read.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// What is sent after a silence: a comment.
const PING: &[u8] = b": ping\n\n";

/// What a stream is beside its source.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub stream_id: Id,
    /// Its place among its subject's streams.
    pub place: Place,
    /// Tells when its viewer has left, or it is evicted.
    pub hangup: Hangup,
    /// Tells when this process ends.
    pub drain: Drain,
    /// When it was asked for.
    pub asked_at: Instant,
    /// When the caller's token runs out.
    pub expires_at: SystemTime,
    /// When Lambda kills the function; `None` where it says nothing sensible.
    pub deadline: Option<SystemTime>,
    /// Of which trace its viewer is.
    pub viewer: Option<TraceParent>,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Complete,
    Rotate,
    Expired,
    Closed,
    /// Another stream of its subject has its place.
    Evicted,
    /// The connection broke: there is nobody to tell.
    Gone,
}

impl Reason {
    /// As in the log and the metrics.
    fn name(self) -> &'static str {
        match self {
            Reason::Complete => "complete",
            Reason::Rotate => "rotate",
            Reason::Expired => "expired",
            Reason::Closed => "closed",
            Reason::Evicted => EVICTED,
            Reason::Gone => "gone",
        }
    }

    /// As in the last frame.
    fn told(self) -> &'static str {
        match self {
            // Clients know it as the end after which they don't come back.
            Reason::Evicted => Reason::Closed.name(),
            other => other.name(),
        }
    }
}

/// What a stream sent, for its line in the log.
#[derive(Debug, Default)]
struct Sent {
    frames: u64,
    /// Of the states.
    bytes: usize,
    /// From the request to the first state.
    first_event: Option<Duration>,
    /// From a publication to its frame, the longest.
    slowest_delivery: Option<Duration>,
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
pub fn serve(source: impl Source, session: Session, settings: &Streams) -> Response {
    let ends = Ends::new(settings.window, session.expires_at, session.deadline);
    let opening = Opening {
        stream_id: &session.stream_id,
        heartbeat_seconds: settings.heartbeat.as_secs(),
        ends_at: Timestamp(ends.first_at().into()),
    };
    let retry: u32 = rand::rng().random_range(1_000..3_000);
    let opening = format!(
        "retry: {retry}\nevent: stream\ndata: {}\n\n",
        json(&opening)
    )
    .into();
    let (sender, frames) = mpsc::channel(BUFFERED_FRAMES);
    let _ = sender.try_send(opening);
    // The span names the request in whatever is logged.
    let (heartbeat, ends_at) = (settings.heartbeat, ends.first());
    let run = run(source, session, sender, ends, heartbeat).in_current_span();
    let frames = driven(run, frames, ends_at);
    let frames = flushed(frames, settings.flush_bytes).map(Ok::<_, Infallible>);
    let content_type = (header::CONTENT_TYPE, "text/event-stream");
    ([content_type], Body::from_stream(frames)).into_response()
}

async fn run(
    mut source: impl Source,
    session: Session,
    sender: mpsc::Sender<Bytes>,
    ends: Ends,
    heartbeat: Duration,
) {
    metrics::counter!("StreamsOpened").increment(1);
    let mut sent = Sent::default();
    let reason = tokio::select! {
        biased;
        () = sender.closed() => Reason::Gone,
        () = sleep_until(ends.expired_at) => Reason::Expired,
        () = sleep_until(ends.rotate_at) => Reason::Rotate,
        () = session.drain.stream_ends() => Reason::Rotate,
        () = session.hangup.wait() => {
            if session.hangup.is_evicted() { Reason::Evicted } else { Reason::Closed }
        }
        // Asked for before the first frame goes out, and not waited for.
        () = session.place.hold() => Reason::Evicted,
        reason = pump(&mut source, &sender, heartbeat, &session, &mut sent) => reason,
    };
    let farewell = async {
        if reason != Reason::Gone {
            let _ = timeout(FAREWELL_TIMEOUT, sender.send(end(reason))).await;
        }
    };
    let ends = async { tokio::join!(farewell, source.close(), session.place.release()) };
    // In a box: it is large, and only a stream's last moment.
    let ((), stats, ()) = Box::pin(ends).await;
    report(
        reason,
        &session.stream_id,
        session.asked_at.elapsed(),
        &sent,
        stats,
    );
    telemetry::flush().await;
    drop(sender);
}

/// The last frame.
fn end(reason: Reason) -> Bytes {
    #[derive(Serialize)]
    struct End {
        reason: &'static str,
    }
    let told = End {
        reason: reason.told(),
    };
    let end = format!("event: end\ndata: {}\n", json(&told));
    match reason {
        // An `EventSource` whose page does not listen comes back, and sends this.
        Reason::Evicted => format!("{end}id: {EVICTED}\n\n").into(),
        _ => format!("{end}\n").into(),
    }
}

/// One line in the log, and the metrics.
fn report(reason: Reason, stream_id: &Id, open: Duration, sent: &Sent, stats: Stats) {
    let reason = reason.name();
    tracing::info!(
        %stream_id,
        reason,
        seconds = open.as_secs_f64(),
        frames = sent.frames,
        bytes = sent.bytes,
        fallback_polls = stats.fallback_polls,
        repaired = stats.repaired,
        first_event_ms = sent.first_event.map(milliseconds),
        slowest_delivery_ms = sent.slowest_delivery.map(milliseconds),
        "stream ended"
    );
    metrics::counter!("StreamsEnded", "Reason" => reason).increment(1);
    metrics::counter!("OpenSeconds").increment(open.as_secs());
    metrics::counter!("FramesSent").increment(sent.frames);
    metrics::counter!("FallbackPolls").increment(stats.fallback_polls);
    metrics::counter!("GapsRepaired").increment(stats.repaired);
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Passes frames on until the source is over or the viewer gone; pings where there are none.
async fn pump(
    source: &mut impl Source,
    sender: &mpsc::Sender<Bytes>,
    heartbeat: Duration,
    session: &Session,
    sent: &mut Sent,
) -> Reason {
    // One timer for the whole stream, which is put off when it comes too early.
    let mut silence = pin!(sleep(heartbeat));
    let mut sent_at = Instant::now();
    loop {
        let mut next = pin!(source.next());
        let next = loop {
            tokio::select! {
                biased;
                next = &mut next => break next,
                () = &mut silence => {
                    if sent_at.elapsed() >= heartbeat {
                        // Where frames wait to be read, there is no silence.
                        let _ = sender.try_send(Bytes::from_static(PING));
                        sent_at = Instant::now();
                    }
                    silence.as_mut().reset(sent_at + heartbeat);
                }
            }
        };
        let frame = match next {
            Next::Frame(frame) => frame,
            Next::Complete => return Reason::Complete,
            Next::Closed => return Reason::Closed,
        };
        let span = session.span(&frame);
        if sender.send(encode(&frame)).instrument(span).await.is_err() {
            return Reason::Gone;
        }
        sent_at = Instant::now();
        sent.count(&frame, session.asked_at);
    }
}

impl Session {
    /// Where the writing of a frame is traced.
    fn span(&self, frame: &Frame) -> Span {
        let Frame::State {
            data,
            published_at,
            traceparent: Some(event),
            ..
        } = frame
        else {
            return Span::none();
        };
        let viewer = self.viewer.as_ref();
        traces::deliver(event, data, published_at.is_some(), &self.stream_id, viewer)
    }
}

/// A frame as it is sent. Its data is one line (see `execution::json`).
fn encode(frame: &Frame) -> Bytes {
    match frame {
        Frame::Reset => Bytes::from_static(b"event: reset\ndata: {}\n\n"),
        Frame::State { id: None, data, .. } => format!("data: {data}\n\n").into(),
        Frame::State {
            id: Some(id), data, ..
        } => format!("id: {id}\ndata: {data}\n\n").into(),
        Frame::Cursor(id) => format!("id: {id}\n\n").into(),
    }
}

impl Sent {
    fn count(&mut self, frame: &Frame, asked_at: Instant) {
        self.frames += 1;
        let Frame::State {
            data, published_at, ..
        } = frame
        else {
            return;
        };
        self.bytes += data.len();
        if self.first_event.is_none() {
            let latency = asked_at.elapsed();
            telemetry::make_room();
            metrics::histogram!("FirstEventLatency").record(milliseconds(latency));
            self.first_event = Some(latency);
        }
        if let Some(published_at) = published_at {
            // The clocks of two machines may differ by more than it took.
            let latency = published_at.elapsed().unwrap_or_default();
            telemetry::make_room();
            metrics::histogram!("DeliveryLatency").record(milliseconds(latency));
            self.slowest_delivery = self.slowest_delivery.max(Some(latency));
        }
    }
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
