//! What a stream's request says.

use std::{net::IpAddr, time::SystemTime};

use axum::extract::{FromRequestParts, Path, Query};
use http::{HeaderMap, HeaderValue, request::Parts};
use tokio::time::Instant;

use crate::error::Problem;

/// What is known of a request beside itself: whoever serves it puts this into its extensions.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Its name in logs.
    pub request_id: Option<String>,
    /// When Lambda kills the function.
    pub deadline: Option<SystemTime>,
    /// From where it came.
    pub source: Option<IpAddr>,
}

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
        let context = parts.extensions.get::<Context>();
        Ok(Incoming {
            query,
            headers: parts.headers.clone(),
            deadline: context.and_then(|context| context.deadline),
            source: context.and_then(|context| context.source),
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
