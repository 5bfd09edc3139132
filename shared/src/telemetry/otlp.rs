//! How spans are sent: OTLP over HTTP/1.1.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::sync::Mutex;

use crate::{client, tls::Roots};

/// How large an answer may be: it says what was refused.
const MAX_ANSWER: usize = 64 * 1024;

/// For how long a connection is kept unused. After it, whoever is between may have forgotten it, and a
/// process that was frozen would not know.
const KEPT: Duration = Duration::from_secs(10);

/// A client with one connection.
#[derive(Debug)]
pub(super) struct Client {
    /// The roots to trust instead of the public ones.
    roots: Option<Roots>,
    kept: Mutex<Option<(Sender, SystemTime)>>,
}

impl Client {
    pub(super) fn new(roots: Option<Roots>) -> Self {
        Client {
            roots,
            kept: Mutex::default(),
        }
    }
}

type Sender = SendRequest<Full<Bytes>>;

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut kept = self.kept.lock().await;
        let is_fresh = |at: SystemTime| at.elapsed().is_ok_and(|unused| unused < KEPT);
        let sender = kept
            .take()
            .filter(|(sender, at)| !sender.is_closed() && is_fresh(*at));
        let mut sender = match sender {
            Some((sender, _)) => sender,
            None => client::connect(request.uri(), self.roots.as_ref()).await?,
        };
        let answer = sender
            .send_request(client::to_origin(request.map(Full::new))?)
            .await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
        *kept = Some((sender, SystemTime::now()));
        Ok(Response::from_parts(head, body))
    }
}
