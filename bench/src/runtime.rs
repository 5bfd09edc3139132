//! The Runtime API, as little of it as a function's process needs to be timed.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use http_body_util::BodyExt;
use integration::{
    checkout,
    stack::{SHARED_TOKEN, Stack},
};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{Mutex, mpsc},
};

/// A function's process, and what it said to its Runtime API.
pub(crate) struct Process {
    child: Child,
    pub(crate) started: Instant,
    invocations: mpsc::UnboundedSender<String>,
    said: mpsc::UnboundedReceiver<Said>,
}

/// What a function says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It asked for an invocation.
    Next(Instant),
    /// A part of an answer.
    Chunk(Instant, String),
    /// The end of an answer.
    End(Instant),
}

struct Api {
    queue: Mutex<mpsc::UnboundedReceiver<String>>,
    said: mpsc::UnboundedSender<Said>,
    last_id: AtomicU64,
}

impl Process {
    pub(crate) async fn start(binary: &str, variables: &[(String, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (invocations, queue) = mpsc::unbounded_channel();
        let (say, said) = mpsc::unbounded_channel();
        let api = Arc::new(Api {
            queue: Mutex::new(queue),
            said: say,
            last_id: AtomicU64::new(0),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .with_state(api);
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut command = Command::new(integration::binary(binary));
        command
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", binary)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let started = Instant::now();
        let child = command.spawn().unwrap();
        Process {
            child,
            started,
            invocations,
            said,
        }
    }

    pub(crate) fn invoke(&self, payload: String) {
        self.invocations.send(payload).unwrap();
    }

    pub(crate) async fn said(&mut self) -> Said {
        self.said.recv().await.expect("it runs")
    }

    /// Waits for the first state of an answer.
    pub(crate) async fn first_state(&mut self) -> Instant {
        let mut text = String::new();
        loop {
            match self.said().await {
                Said::Chunk(at, chunk) => {
                    text.push_str(&chunk);
                    // A state has its number.
                    if text.contains("\"seq\":") {
                        return at;
                    }
                }
                Said::Next(_) => {}
                Said::End(_) => panic!("no state in {text}"),
            }
        }
    }

    /// Waits until it asks for another invocation.
    pub(crate) async fn next(&mut self) {
        while !matches!(self.said().await, Said::Next(_)) {}
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// What the functions of a stack are told, for a process outside of it.
pub(crate) fn variables(stack: &Stack) -> Vec<(String, String)> {
    let more = [
        ("STREAMS_PER_SUBJECT", "1000000"),
        ("CONNECTS_PER_MINUTE", "1000000"),
        ("RUST_LOG", "warn"),
    ];
    let more = more.map(|(name, value)| (name, value.to_owned()));
    let all = stack.variables().into_iter().chain(more);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A viewer's request for the events of a job run, as a function URL sends it.
pub(crate) fn request(id: &str) -> String {
    let sample = std::fs::read_to_string(checkout("infra/events/job-status.json")).unwrap();
    sample
        .replace("TOKEN", SHARED_TOKEN)
        .replace("sample-run", id)
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    let _ = api.said.send(Said::Next(Instant::now()));
    let Some(payload) = api.queue.lock().await.recv().await else {
        return ().into_response();
    };
    let id = api.last_id.fetch_add(1, Ordering::Relaxed).to_string();
    let headers = [
        ("lambda-runtime-aws-request-id", id.as_str()),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:local:000000000000:function:bench",
        ),
        ("content-type", "application/json"),
    ];
    (headers, payload).into_response()
}

async fn response(State(api): State<Arc<Api>>, mut body: Body) -> Response {
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            let text = String::from_utf8_lossy(&data).into_owned();
            let _ = api.said.send(Said::Chunk(Instant::now(), text));
        }
    }
    let _ = api.said.send(Said::End(Instant::now()));
    http::StatusCode::ACCEPTED.into_response()
}
