//! Whatever is published on a channel, it is that channel's event or nothing; and its frame says
//! to a client what the event says, no more.
//!
//! An input is a channel's name, a line feed, and the message.

#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use axum::body::Body;
use eventsource_stream::Eventsource;
use futures_util::{StreamExt, TryStreamExt};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shared::{
    access::{
        grant::Grant,
        limits::{Beginning, Limits},
    },
    bus::{Bus, Hangup},
    config::{self, Env, Streams},
    cursor::Cursor,
    drain::Drain,
    execution::{Event, Seq, State},
    message,
    stream::{self, Frame, Next, Session, Source, Stats},
    watch::{Channel, Lifecycle},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

static EDGE: LazyLock<Edge> = LazyLock::new(Edge::start);

struct Edge {
    runtime: Runtime,
    limits: Limits,
    hangup: Hangup,
    streams: Streams,
}

/// One event, then the end.
struct Once(Option<Frame>);

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (Some(name), Some(message)) = (lines.next(), lines.next()) else {
        return;
    };
    let Some(channel) = std::str::from_utf8(name).ok().and_then(channel) else {
        return;
    };
    assert_eq!(channel.name().as_bytes(), name);
    if let Some(event) = message::read(&channel, message) {
        check_event(&event, &channel);
        EDGE.check_frame(&event);
    }
});

fn channel(name: &str) -> Option<Channel> {
    let parts: Vec<_> = name.split(':').collect();
    let execution = |kind: &str, id: &str, lifecycle| {
        Some(Channel::Execution {
            kind: kind.parse().ok()?,
            id: id.parse().ok()?,
            lifecycle,
        })
    };
    match parts[..] {
        ["project", organization_id, project_id, kind] => Some(Channel::Project {
            organization_id: organization_id.parse().ok()?,
            project_id: project_id.parse().ok()?,
            kind: kind.parse().ok()?,
        }),
        ["stream", id, "close"] => Some(Channel::Close(id.parse().ok()?)),
        [kind, id, "status"] => execution(kind, id, Lifecycle::Status),
        [kind, id, "complete"] => execution(kind, id, Lifecycle::Complete),
        _ => None,
    }
}

fn check_event(event: &Event, channel: &Channel) {
    assert!(Channel::of_event(event).contains(channel));
    let state: State = serde_json::from_str(&event.data).expect("what goes on can be read");
    assert_eq!(state.to_json(), event.data);
    let said = (state.kind(), state.id(), state.seq(), state.status());
    assert_eq!(said, (event.kind, &event.id, event.seq, event.status));
}

impl Edge {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        // Nobody listens on port 1.
        let redis = ("REDIS_URL".to_owned(), "redis://127.0.0.1:1".to_owned());
        let env: Env = [redis].into_iter().collect();
        let streams = Streams::from_env(&env).unwrap();
        let (limits, hangup) = runtime.block_on(async {
            let bus = Bus::new(&config::Redis::from_env(&env).unwrap(), streams.poll);
            let hangup = bus.subscribe(None, Vec::new(), None).await.hangup();
            let limits = config::Limits::from_env(&env).unwrap();
            (Limits::new(bus, limits, &streams), hangup)
        });
        Edge {
            runtime,
            limits,
            hangup,
            streams,
        }
    }

    /// Streams the event and reads the stream as a client does.
    fn check_frame(&self, event: &Event) {
        let id = Cursor::new([event.seq, Seq(7)]).to_string();
        let frame = Frame::State {
            id: Some(id.clone()),
            data: event.data.clone(),
            published_at: event.published_at,
            traceparent: event.traceparent.clone(),
        };
        let body = self.runtime.block_on(self.stream(frame));
        let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
        let frames: Vec<_> = self
            .runtime
            .block_on(chunks.eventsource().try_collect())
            .expect("a stream that a client can read");
        let [opening, state, end] = &frames[..] else {
            panic!("three frames: {frames:?}");
        };
        assert_eq!(opening.event, "stream");
        assert_eq!((&*state.event, &*state.id), ("message", &*id));
        assert_eq!(*state.data, *event.data);
        assert_eq!(
            (&*end.event, &*end.data),
            ("end", r#"{"reason":"complete"}"#)
        );
        let _: Value = serde_json::from_str(&state.data).expect("JSON");
    }

    async fn stream(&self, frame: Frame) -> Vec<u8> {
        let stream_id = stream::new_id();
        let expires_at = SystemTime::now() + Duration::from_mins(5);
        let grant = Grant {
            subject: "f".to_owned(),
            organization_id: stream_id.clone(),
            projects: None,
            queues: None,
            expires_at,
        };
        let session = Session {
            place: self.limits.place(&grant, &stream_id, &[], Beginning::New),
            stream_id,
            hangup: self.hangup.clone(),
            drain: Drain::default(),
            asked_at: Instant::now(),
            expires_at,
            deadline: None,
            viewer: None,
        };
        let response = stream::serve(Once(Some(frame)), session, &self.streams);
        let body: Body = response.into_body();
        let mut chunks = body.into_data_stream();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        bytes
    }
}

impl Source for Once {
    async fn next(&mut self) -> Next {
        self.0.take().map_or(Next::Complete, Next::Frame)
    }

    async fn close(&mut self) -> Stats {
        Stats::default()
    }
}
