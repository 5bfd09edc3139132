//! An OTLP receiver, which keeps the spans that it is sent.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::eventually;

/// One that runs. Dropped, it ends.
pub struct Receiver {
    /// Where it is: `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub url: String,
    kept: Arc<Kept>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    spans: Mutex<Vec<Received>>,
    requests: AtomicUsize,
    hangs: watch::Sender<bool>,
}

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// What it is called.
    pub name: String,
    /// Of which trace it is.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// That of its parent; empty where it has none.
    pub parent: String,
    /// The traces and spans that it links to.
    pub links: Vec<(String, String)>,
    /// What part it has.
    pub kind: SpanKind,
    /// What is said of it, in words.
    pub attributes: BTreeMap<String, String>,
    /// What is said of whoever sent it.
    pub resource: BTreeMap<String, String>,
    /// Whether it failed.
    pub failed: bool,
    /// What its request's `Authorization` was.
    pub authorization: String,
}

impl Receiver {
    /// Starts one.
    pub async fn start() -> Self {
        let kept = Arc::new(Kept::default());
        let routes = Router::new().route("/v1/traces", post(take));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = routes.with_state(kept.clone());
        let server = tokio::spawn(async { axum::serve(listener, service).await.unwrap() });
        Receiver { url, kept, server }
    }

    /// Answers nobody, until it is told to.
    pub fn hang(&self, hangs: bool) {
        self.kept.hangs.send_replace(hangs);
    }

    /// How often it was asked.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.kept.requests.load(Ordering::Relaxed)
    }

    /// All that came so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Received> {
        self.kept.spans.lock().unwrap().clone()
    }

    /// Waits for a span of this name; returns the first.
    pub async fn span(&self, name: &str) -> Received {
        self.count(name, 1).await.remove(0)
    }

    /// Waits for so many spans of this name; returns those that there are.
    pub async fn count(&self, name: &str, count: usize) -> Vec<Received> {
        let what = format!("{count} times {name}");
        eventually(&what, async || {
            let mut spans = self.spans();
            spans.retain(|span| span.name == name);
            (spans.len() >= count).then_some(spans)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(kept): State<Arc<Kept>>, headers: HeaderMap, body: Bytes) -> Vec<u8> {
    kept.requests.fetch_add(1, Ordering::Relaxed);
    let _ = kept.hangs.subscribe().wait_for(|hangs| !hangs).await;
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let authorization = headers.get("authorization");
    let authorization = authorization.map_or("", |value| value.to_str().unwrap());
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = kept.spans.lock().unwrap();
    for group in request.resource_spans {
        let resource = words(&group.resource.unwrap().attributes);
        let of_scopes = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(of_scopes.map(|span| received(span, &resource, authorization)));
    }
    ExportTraceServiceResponse::default().encode_to_vec()
}

fn received(span: Span, resource: &BTreeMap<String, String>, authorization: &str) -> Received {
    let links = span.links.iter();
    Received {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: links
            .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
            .collect(),
        kind: span.kind(),
        attributes: words(&span.attributes),
        resource: resource.clone(),
        failed: span.status.is_some_and(|status| status.code == 2),
        authorization: authorization.to_owned(),
        name: span.name,
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn words(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let word = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        other => format!("{other:?}"),
    };
    let attributes = attributes.iter().map(|of| {
        let value = of.value.as_ref().and_then(|value| value.value.as_ref());
        (of.key.clone(), value.map(word).unwrap_or_default())
    });
    attributes.collect()
}
