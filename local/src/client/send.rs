//! Sending updates over HTTP, as a producer does.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use flate2::{Compression, write::GzEncoder};
use reqwest::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::execution::Id;
use tokio::sync::{OnceCell, mpsc};

use super::{CONNECT_TIMEOUT, Target, innermost, refusal};
use crate::{
    Error,
    arguments::Secret,
    signer::{Scope, TokenRequest},
};

/// The most updates of one request.
const MAX_BATCH: usize = 500;

/// How large a request becomes, in bytes, before another is begun; an update has less than 100 KB.
const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// How long an answer may take: the function tries for some seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// From which size on a body is packed, in bytes.
const PACKED_FROM: usize = 4096;

/// Where updates go, and for whom.
#[derive(clap::Args)]
pub(crate) struct Recipient {
    #[command(flatten)]
    pub(crate) target: Target,
    /// A token whose scope holds status:write; without, one of the local stack's
    #[arg(long, env = "RUNCAST_TOKEN", hide_env_values = true, value_parser = Secret::TOKEN)]
    pub(crate) token: Option<String>,
    /// Where in the organization; without, the token's one project
    #[arg(long, env = "RUNCAST_PROJECT")]
    pub(crate) project: Option<Id>,
}

/// Sends updates.
pub(crate) struct Sender {
    http: reqwest::Client,
    recipient: Recipient,
    /// The stack's, where none was given.
    token: OnceCell<String>,
    /// Whether a packed body did not arrive as it was sent: what stands between took it for text.
    is_plain: AtomicBool,
}

/// What became of updates.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) accepted: usize,
    pub(crate) duplicates: usize,
    pub(crate) rejected: Vec<Rejected>,
}

/// Of which trace this process is: <https://opentelemetry.io/docs/specs/otel/context/env-carriers/>.
fn traceparent() -> HeaderMap {
    let value = std::env::var("TRACEPARENT").unwrap_or_default();
    let value = HeaderValue::from_str(&value).ok();
    let value = value.filter(|value| !value.is_empty());
    let name = HeaderName::from_static("traceparent");
    value.map(|value| (name, value)).into_iter().collect()
}

/// An update that can never succeed.
#[derive(Debug, Deserialize)]
pub(crate) struct Rejected {
    pub(crate) reason: String,
}

/// Why updates were not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct NotSent {
    why: String,
    /// Whether the same may succeed later.
    pub(crate) may_pass: bool,
    retry_after: Option<Duration>,
}

impl Sender {
    pub(crate) fn new(recipient: Recipient) -> Result<Self, Error> {
        let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        let http = http.default_headers(traceparent());
        Ok(Sender {
            http: http.timeout(ANSWER_TIMEOUT).build()?,
            recipient,
            token: OnceCell::new(),
            is_plain: AtomicBool::new(false),
        })
    }

    /// Where a person watches a run.
    pub(crate) fn page_of(&self, run_id: &str) -> String {
        self.recipient.target.path(&format!("/#/runs/{run_id}"))
    }

    /// The stack's address.
    pub(crate) fn url(&self) -> &str {
        &self.recipient.target.url
    }

    /// The token that was given.
    pub(crate) fn given_token(&self) -> Option<&str> {
        self.recipient.token.as_deref()
    }

    /// An update without what is null, and with the project where it is known.
    fn update(&self, update: Value) -> Value {
        let mut update = super::publish::said(update);
        if let Some(project) = &self.recipient.project
            && update.get("projectId").is_none()
            && update.is_object()
        {
            update["projectId"] = json!(project);
        }
        update
    }

    /// Sends updates, and again as long as they may succeed, for about so long; for ever
    /// without.
    pub(crate) async fn send(
        &self,
        updates: &[Value],
        patience: Option<Duration>,
    ) -> Result<Receipt, NotSent> {
        let backoff = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(10))
            .with_total_delay(patience)
            .without_max_times();
        let body = json!({"updates": updates}).to_string();
        let send = || self.send_once(&body);
        let again = send.retry(backoff).when(|error: &NotSent| error.may_pass);
        // None too early where the server says when.
        let wait = |error: &NotSent, delay: Option<Duration>| {
            delay.map(|delay| delay.max(error.retry_after.unwrap_or_default()))
        };
        again.adjust(wait).await
    }

    async fn send_once(&self, body: &str) -> Result<Receipt, NotSent> {
        let later = |why: String| NotSent {
            why,
            may_pass: true,
            retry_after: None,
        };
        let token = match self.given_token() {
            Some(token) => token,
            None => self
                .local_token()
                .await
                .map_err(|error| later(error.to_string()))?,
        };
        let address = self.recipient.target.path("/api/updates");
        let request = self.http.post(address).bearer_auth(token);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let packed = packed(body).filter(|_| !self.is_plain.load(Ordering::Relaxed));
        let is_packed = packed.is_some();
        let request = match packed {
            Some(body) => request.header(header::CONTENT_ENCODING, "gzip").body(body),
            None => request.body(body.to_owned()),
        };
        let target = &self.recipient.target;
        let answered = request.send().await;
        let response = answered.map_err(|error| later(target.unreachable(&innermost(&error))))?;
        let status = response.status();
        if status == StatusCode::OK {
            let receipt = response.json().await;
            return receipt.map_err(|error| later(innermost(&error)));
        }
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let is_unreadable = is_packed && status == StatusCode::BAD_REQUEST;
        if is_unreadable {
            self.is_plain.store(true, Ordering::Relaxed);
        }
        // 408 and 5xx are of what stands between, too.
        let may_pass = is_unreadable
            || status.is_server_error()
            || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
        Err(NotSent {
            why: refusal(response).await,
            may_pass,
            retry_after: retry_after.map(Duration::from_secs),
        })
    }

    async fn local_token(&self) -> Result<&str, Error> {
        let project = self.recipient.project.clone();
        let request = TokenRequest {
            org: "demo".parse()?,
            // Of one project, so that updates need not name it.
            projects: Some(vec![match project {
                Some(project) => project,
                None => "demo".parse()?,
            }]),
            queues: None,
            ttl_seconds: 24 * 3600,
            scope: vec![Scope::Write],
        };
        let token = self
            .token
            .get_or_try_init(|| self.recipient.target.token(&request));
        Ok(token.await?)
    }
}

/// The next updates that wait, as many as one request takes; `None` once there are no more.
pub(crate) async fn batch(
    waiting: &mut mpsc::Receiver<Value>,
    sender: &Sender,
) -> Option<Vec<Value>> {
    let first = sender.update(waiting.recv().await?);
    let mut bytes = first.to_string().len();
    let mut updates = vec![first];
    while updates.len() < MAX_BATCH
        && bytes < MAX_BATCH_BYTES
        && let Ok(update) = waiting.try_recv()
    {
        let update = sender.update(update);
        bytes += update.to_string().len();
        updates.push(update);
    }
    Some(updates)
}

/// A large body, by gzip.
fn packed(body: &str) -> Option<Vec<u8>> {
    if body.len() < PACKED_FROM {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body.as_bytes()).ok()?;
    encoder.finish().ok()
}
