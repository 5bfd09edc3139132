//! One invocation: what the function gets, and the answer on its way back.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

/// How many chunks of an answer wait for a slow viewer.
const BUFFERED_CHUNKS: usize = 32;

/// An invocation under way.
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    pub(crate) deadline: SystemTime,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// The function has answered to the end.
    Answered,
    /// Its time was over, or its process has ended.
    Cut,
}

/// What a function answers, as it comes.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    /// Whether the function reported an error instead of an answer.
    pub(crate) is_error: bool,
    pub(crate) body: mpsc::Receiver<Result<Bytes, Broken>>,
}

/// The answer broke off: the function was killed, or its time was over.
#[derive(Debug, Error)]
#[error("the function's answer broke off")]
pub(crate) struct Broken;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum NoAnswer {
    /// All environments are busy.
    #[error("Rate Exceeded.")]
    Throttled,
    /// The process did not come up.
    #[error("{0}")]
    Init(String),
    /// The process ended.
    #[error("RequestId: {0} Error: Runtime exited")]
    Crashed(String),
    /// The function did not answer in time.
    #[error("RequestId: {0} Error: Task timed out after {1:.2} seconds")]
    TimedOut(String, f64),
}

impl NoAnswer {
    /// The error's type, as the Invoke API names it.
    pub(crate) fn error_type(&self) -> &'static str {
        match self {
            NoAnswer::Throttled => "TooManyRequestsException",
            NoAnswer::Init(_) | NoAnswer::Crashed(_) => "Runtime.ExitError",
            NoAnswer::TimedOut(..) => "Sandbox.Timedout",
        }
    }

    /// The payload that the Invoke API answers with.
    pub(crate) fn payload(&self) -> serde_json::Value {
        json!({"errorType": self.error_type(), "errorMessage": self.to_string()})
    }
}

impl Invocation {
    pub(crate) fn new(payload: Bytes, deadline: SystemTime) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let invocation = Invocation {
            request_id: new_request_id(),
            payload,
            deadline,
            answer: Mutex::new(Some(answer)),
            state: watch::channel(State::Running).0,
        };
        (invocation, answered)
    }

    /// The function begins to answer. Returns where its chunks go; `None` where it has answered
    /// before.
    pub(crate) fn begin_answer(
        &self,
        headers: HeaderMap,
        is_error: bool,
    ) -> Option<mpsc::Sender<Result<Bytes, Broken>>> {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answer.take()?;
        let (sender, body) = mpsc::channel(BUFFERED_CHUNKS);
        // A caller that is gone already is not told of: the function runs on.
        let _ = answer.send(Answer {
            headers,
            is_error,
            body,
        });
        Some(sender)
    }

    pub(crate) fn end_answer(&self) {
        self.state.send_replace(State::Answered);
    }

    /// Waits until the function has answered to the end.
    pub(crate) async fn answered(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| *state == State::Answered).await;
    }

    /// Cuts the answer off.
    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
        self.answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Waits until the answer is cut off.
    pub(crate) async fn was_cut(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| *state == State::Cut).await;
    }
}

/// A UUID (RFC 9562, version 4).
pub(crate) fn new_request_id() -> String {
    let random: u128 = rand::random();
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}
