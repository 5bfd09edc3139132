//! The Runtime API of one environment: where the function's process fetches invocations and
//! leaves its answers.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::UNIX_EPOCH,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Mutex as AsyncMutex, mpsc, watch},
};

use crate::{
    hold::Hold,
    invocation::{Broken, Invocation},
};

/// What the Runtime API of one environment knows.
pub(crate) struct RuntimeApi {
    arn: String,
    /// Chunks of answers that have fewer bytes are held back.
    hold_chunks: usize,
    sender: mpsc::UnboundedSender<Arc<Invocation>>,
    queue: AsyncMutex<mpsc::UnboundedReceiver<Arc<Invocation>>>,
    /// How many `next` requests wait: at none, the function is at work.
    polls: watch::Sender<usize>,
    current: Mutex<HashMap<String, Arc<Invocation>>>,
}

impl RuntimeApi {
    pub(crate) fn new(arn: String, hold_chunks: usize) -> Arc<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        Arc::new(RuntimeApi {
            arn,
            hold_chunks,
            sender,
            queue: AsyncMutex::new(receiver),
            polls: watch::channel(0).0,
            current: Mutex::default(),
        })
    }

    /// Serves until the task is aborted.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(self);
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        if let Err(error) = axum::serve(listener, router).await {
            eprintln!("runcast: a Runtime API ended: {error}");
        }
    }

    /// Gives the function an invocation.
    pub(crate) fn invoke(&self, invocation: Arc<Invocation>) {
        let id = invocation.request_id.clone();
        self.current().insert(id, invocation.clone());
        // The queue lives as long as this.
        let _ = self.sender.send(invocation);
    }

    /// Forgets an invocation that is over.
    pub(crate) fn forget(&self, invocation: &Invocation) {
        self.current().remove(&invocation.request_id);
    }

    /// Waits until the function asks for an invocation.
    pub(crate) async fn asked(&self) {
        let mut polls = self.polls.subscribe();
        let _ = polls.wait_for(|polls| *polls > 0).await;
    }

    fn current(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Invocation>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Option<Arc<Invocation>> {
        self.current().get(id).cloned()
    }
}

async fn next(State(api): State<Arc<RuntimeApi>>) -> Response {
    /// Counts a waiting request, also when it is dropped.
    struct Poll<'a>(&'a RuntimeApi);
    impl Drop for Poll<'_> {
        fn drop(&mut self) {
            self.0.polls.send_modify(|polls| *polls -= 1);
        }
    }
    api.polls.send_modify(|polls| *polls += 1);
    let poll = Poll(&api);
    let invocation = api.queue.lock().await.recv().await;
    drop(poll);
    let Some(invocation) = invocation else {
        return StatusCode::GONE.into_response();
    };
    let deadline = invocation
        .deadline
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let trace_id = format!(
        "Root=1-{:08x}-{:024x};Sampled=0",
        deadline.as_secs(),
        rand::random::<u64>()
    );
    let headers = [
        (
            "lambda-runtime-aws-request-id",
            invocation.request_id.clone(),
        ),
        (
            "lambda-runtime-deadline-ms",
            deadline.as_millis().to_string(),
        ),
        ("lambda-runtime-invoked-function-arn", api.arn.clone()),
        ("lambda-runtime-trace-id", trace_id),
        ("content-type", "application/json".to_owned()),
    ];
    let headers: HeaderMap = headers
        .into_iter()
        .filter_map(|(name, value)| {
            Some((
                HeaderName::from_static(name),
                HeaderValue::try_from(value).ok()?,
            ))
        })
        .collect();
    (headers, invocation.payload.clone()).into_response()
}

async fn response(
    State(api): State<Arc<RuntimeApi>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    take_answer(&api, &id, headers, false, body).await
}

async fn error(
    State(api): State<Arc<RuntimeApi>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    take_answer(&api, &id, headers, true, body).await
}

async fn init_error(body: Bytes) -> Response {
    eprintln!(
        "INIT_REPORT Status: error\t{}",
        String::from_utf8_lossy(&body)
    );
    StatusCode::ACCEPTED.into_response()
}

/// Passes an answer on, chunk by chunk, the moment they come, or as they are held back. A viewer that left is not told of:
/// the rest is read, and goes nowhere.
async fn take_answer(
    api: &RuntimeApi,
    id: &str,
    headers: HeaderMap,
    is_error: bool,
    mut body: Body,
) -> Response {
    let Some(invocation) = api.find(id) else {
        let body = json!({"errorType": "InvalidRequestID", "errorMessage": "no such request"});
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    };
    let Some(chunks) = invocation.begin_answer(headers, is_error) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut hold = Hold::new(api.hold_chunks);
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = hold.is_over() => {
                send(&chunks, hold.rest()).await;
                continue;
            }
            () = invocation.was_cut() => Some(Err(axum::Error::new(Broken))),
        };
        match frame {
            None => break,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) => send(&chunks, hold.take(chunk)).await,
                // Trailers follow the last chunk where the function failed in mid-stream.
                Err(trailers) => {
                    let trailers = trailers.into_trailers().unwrap_or_default();
                    if trailers.contains_key("lambda-runtime-function-error-type") {
                        let _ = chunks.send(Err(Broken)).await;
                    }
                }
            },
            Some(Err(_)) => {
                let _ = chunks.send(Err(Broken)).await;
                // Killed, or out of time: the environment's supervisor knows.
                return StatusCode::BAD_REQUEST.into_response();
            }
        }
    }
    send(&chunks, hold.rest()).await;
    invocation.end_answer();
    StatusCode::ACCEPTED.into_response()
}

async fn send(to: &mpsc::Sender<Result<Bytes, Broken>>, chunks: impl IntoIterator<Item = Bytes>) {
    for chunk in chunks {
        let _ = to.send(Ok(chunk)).await;
    }
}
