//! What a stream's request says.

use std::{net::IpAddr, time::SystemTime};

use axum::extract::{FromRequestParts, Path, Query};
use http::{HeaderMap, HeaderValue, request::Parts};
use lambda_http::{RequestExt, request::RequestContext};
use tokio::time::Instant;

use crate::error::Problem;

/// What a stream's request says, beside its path.
pub(super) struct Incoming {
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// When Lambda kills the function.
    pub(super) deadline: Option<SystemTime>,
    /// From where it came.
    pub(super) source: Option<IpAddr>,
    pub(super) at: Instant,
}

impl Incoming {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(parameter, _)| parameter == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Where the client stands, as it says: the header that `EventSource` sends, or the parameter
    /// of a client that cannot set it. An empty one says nothing.
    pub(super) fn last_event_id(&self) -> Option<String> {
        let header = self.headers.get("last-event-id").map(HeaderValue::as_bytes);
        let header = header.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let parameter = || self.parameter("lastEventId").map(str::to_owned);
        header.or_else(parameter).filter(|id| !id.is_empty())
    }
}

impl<S: Sync> FromRequestParts<S> for Incoming {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri);
        let Query(query) = query
            .map_err(|_| Problem::bad_request("The query is not valid: percent-encode it."))?;
        let context = parts.extensions.lambda_context_ref();
        Ok(Incoming {
            query,
            headers: parts.headers.clone(),
            deadline: context.map(lambda_http::Context::deadline),
            source: source(parts),
            at: Instant::now(),
        })
    }
}

/// The id that stands in a path, as text.
pub(super) struct PathId(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = Path::from_request_parts(parts, state).await;
        let Path(id) = id.map_err(|_| {
            Problem::bad_request("The id in the path is percent-encoded, but not as UTF-8.")
        })?;
        Ok(PathId(id))
    }
}

/// From where a request came. Only a request that `CloudFront` signed (origin access control) is
/// believed what it says of its viewer: anyone can send such a header.
fn source(parts: &Parts) -> Option<IpAddr> {
    let context = parts.extensions.request_context_ref()?;
    let signed = context.authorizer().is_some_and(|by| by.iam.is_some());
    let viewer = || {
        parts
            .headers
            .get("x-viewer-address")?
            .to_str()
            .ok()?
            .parse()
            .ok()
    };
    let direct = match context {
        RequestContext::ApiGatewayV2(context) => &context.http.source_ip,
        RequestContext::ApiGatewayV1(context) => &context.identity.source_ip,
        _ => return None,
    };
    let viewer = signed.then(viewer).flatten();
    viewer.or_else(|| direct.as_ref()?.parse().ok())
}
