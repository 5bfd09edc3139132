//! The HTTP face of the status functions: from a request to a stream or a problem.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::{FromRequestParts, Path, Query, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use lambda_http::RequestExt;
use rand::RngExt;
use serde_json::json;
use tower::{Layer, util::MapResponseLayer};
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    set_header::SetResponseHeaderLayer,
};

use crate::{
    access::token::{TokenError, Verifier},
    bus::Bus,
    config::{Access, ConfigError, Database, Env, Redis, Streams},
    error::Problem,
    execution::{Id, Kind},
    feed::{Feed, OpenError, Opened},
    log::Log,
    stream::{self, Lifetime},
    watch::{Channel, Watch},
};

/// The most executions that one stream carries.
const MAX_EXECUTIONS: usize = 50;

/// How many connections to Postgres a process holds at most. One that serves one stream at a time
/// needs one, and another for `ready`.
const CONNECTIONS: usize = 2;

/// The same for one that serves many (Lambda Managed Instances).
const CONNECTIONS_SHARED: usize = 8;

const NO_STORE: &str = "no-cache, no-transform";

/// What a stream's request says, beside its path.
struct Asked {
    query: Vec<(String, String)>,
    headers: HeaderMap,
    /// When Lambda kills the function.
    deadline: Option<SystemTime>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri);
        let Query(query) = query
            .map_err(|_| Problem::bad_request("The query is not valid: percent-encode it."))?;
        let context = parts.extensions.lambda_context_ref();
        Ok(Asked {
            query,
            headers: parts.headers.clone(),
            deadline: context.map(lambda_http::Context::deadline),
        })
    }
}

/// What the requests of one process share.
#[derive(Debug)]
pub struct App {
    kind: Kind,
    verifier: Verifier,
    streams: Streams,
    bus: Bus,
    log: Log,
}

/// Runs a status function: reads the configuration, begins to connect, serves.
///
/// # Errors
/// Where a variable has a value that it does not take, or the Lambda runtime fails.
pub async fn run(kind: Kind, env: Env) -> Result<(), lambda_http::Error> {
    let (app, access) = App::from_env(kind, &env)?;
    let warm = app.clone();
    tokio::spawn(async move {
        // The first request finds an open connection, or opens it itself.
        let _ = warm.log.ping().await;
    });
    // The answer is streamed: a length that axum knows would only be renamed on the way.
    let unmeasured = MapResponseLayer::new(|mut response: Response| {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response
    });
    let service = unmeasured.layer(router(app, &access));
    lambda_http::run_with_streaming_response_concurrent(service).await
}

impl App {
    /// Reads the configuration and begins to connect.
    ///
    /// # Errors
    /// Where a variable has a value that it does not take.
    pub fn from_env(kind: Kind, env: &Env) -> Result<(Arc<Self>, Access), ConfigError> {
        let (redis, database) = (Redis::from_env(env)?, Database::from_env(env)?);
        let (access, streams) = (Access::from_env(env)?, Streams::from_env(env)?);
        let connections = if env.serves_many() {
            CONNECTIONS_SHARED
        } else {
            CONNECTIONS
        };
        let app = App {
            kind,
            verifier: Verifier::new(&access)?,
            // A dead connection is found before the poll would find what it lost.
            bus: Bus::new(&redis, streams.poll.mul_f64(0.6)),
            log: Log::new(&database, connections),
            streams,
        };
        Ok((Arc::new(app), access))
    }
}

/// The routes of a status function.
pub fn router(app: Arc<App>, access: &Access) -> Router {
    let base = format!("/api/{}-status", app.kind);
    let fixed =
        |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(access.cors_allowed_origins.clone()))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("x-auth-token"),
        ])
        .allow_credentials(true)
        .max_age(Duration::from_hours(1));
    Router::new()
        .route(&format!("{base}/events"), get(watch_many))
        .route(&format!("{base}/events/{{id}}"), get(watch_one))
        .route(&format!("{base}/streams/{{id}}/close"), post(close))
        .route(&format!("{base}/health"), get(health))
        .route(&format!("{base}/ready"), get(ready))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(write_problems))
        .layer(cors)
        .layer(fixed(header::CACHE_CONTROL, NO_STORE))
        .layer(fixed(HeaderName::from_static("x-accel-buffering"), "no"))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(fixed(header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
        .layer(fixed(
            header::STRICT_TRANSPORT_SECURITY,
            "max-age=63072000; includeSubDomains",
        ))
        .with_state(app)
}

async fn watch_one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let watch = Watch::Executions {
        kind: app.kind,
        ids: vec![parse_id(&id)?],
    };
    app.open(|_| Ok(watch), &asked).await
}

async fn watch_many(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    let watch = |organization_id: &Id| watch_of(app.kind, organization_id, &asked.query);
    app.open(watch, &asked).await
}

async fn close(State(app): State<Arc<App>>, Path(stream_id): Path<String>) -> Response {
    if let Ok(stream_id) = stream_id.parse() {
        // Where Redis is away, the stream ends with its window.
        let _ = app.bus.publish(&Channel::Close(stream_id), "").await;
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn health() -> Response {
    axum::Json(json!({"status": "ok"})).into_response()
}

async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let (redis, postgres) = tokio::join!(app.bus.ping(), app.log.ping());
    match (redis, postgres) {
        (Ok(()), Ok(())) => Ok(axum::Json(json!({"status": "ready"})).into_response()),
        (Err(_), Ok(())) => Err(Problem::unavailable("Redis cannot be reached.")),
        (Ok(()), Err(_)) => Err(Problem::unavailable("Postgres cannot be reached.")),
        (Err(_), Err(_)) => Err(Problem::unavailable(
            "Redis and Postgres cannot be reached.",
        )),
    }
}

async fn method_not_allowed(method: Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("This path does not take {method}; streams take GET, close takes POST."),
    )
}

impl App {
    /// From a request to a stream: token, feed, frames.
    async fn open(
        &self,
        watch: impl FnOnce(&Id) -> Result<Watch, Problem>,
        asked: &Asked,
    ) -> Result<Response, Problem> {
        let Asked { query, headers, .. } = asked;
        let grant = self.verifier.authenticate(headers, first(query, "token"))?;
        let watch = watch(&grant.organization_id)?;
        if let Watch::Project { project_id, .. } = &watch
            && !grant.covers_project(project_id)
        {
            return Err(Problem::not_found());
        }
        let stream_id = new_stream_id();
        let lifetime = Lifetime {
            expires_at: grant.expires_at,
            deadline: asked.deadline,
        };
        let feed = crate::feed::Request {
            watch,
            grant,
            last_event_id: last_event_id(headers, query),
            close: Channel::Close(stream_id.clone()),
        };
        match Feed::open(&self.log, &self.bus, &self.streams, feed).await {
            Ok(Opened::Feed(feed)) => Ok(stream::serve(*feed, stream_id, &self.streams, &lifetime)),
            Ok(Opened::NothingLeft) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(OpenError::NotTheirs) => Err(Problem::not_found()),
            Err(error @ OpenError::Log(_)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "failed to open a stream"
                );
                Err(Problem::unavailable(
                    "Current state cannot be read now: try again soon.",
                ))
            }
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Problem::new(StatusCode::UNAUTHORIZED, error.to_string())
    }
}

/// What `?runId=…&runId=…`, `?testId=…` or `?projectId=…` asks for.
fn watch_of(
    kind: Kind,
    organization_id: &Id,
    query: &[(String, String)],
) -> Result<Watch, Problem> {
    let name = match kind {
        Kind::Job => "runId",
        Kind::Test => "testId",
    };
    let mut ids: Vec<Id> = Vec::new();
    for (_, value) in query.iter().filter(|(parameter, _)| parameter == name) {
        let id = parse_id(value)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
        if ids.len() > MAX_EXECUTIONS {
            return Err(Problem::bad_request(format!(
                "A stream carries at most {MAX_EXECUTIONS} executions: open another for the rest."
            )));
        }
    }
    match (first(query, "projectId"), ids.is_empty()) {
        (Some(project_id), true) => Ok(Watch::Project {
            kind,
            organization_id: organization_id.clone(),
            project_id: parse_id(project_id)?,
        }),
        (None, false) => Ok(Watch::Executions { kind, ids }),
        (None, true) | (Some(_), false) => Err(Problem::bad_request(format!(
            "Say what to watch: 1 to {MAX_EXECUTIONS} times {name}, or one projectId."
        ))),
    }
}

fn parse_id(text: &str) -> Result<Id, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("Not a valid id: {error}.")))
}

fn first<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = query.iter().find(|(parameter, _)| parameter == name);
    found.map(|(_, value)| value.as_str())
}

/// Where the client stands, as it says: the header that `EventSource` sends, or the parameter of
/// a client that cannot set it. An empty one says nothing.
fn last_event_id(headers: &HeaderMap, query: &[(String, String)]) -> Option<String> {
    let header = headers.get("last-event-id").map(HeaderValue::as_bytes);
    let header = header.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let parameter = || first(query, "lastEventId").map(str::to_owned);
    header.or_else(parameter).filter(|id| !id.is_empty())
}

/// 128 random bits.
fn new_stream_id() -> Id {
    #[expect(clippy::expect_used, reason = "hexadecimal digits make an id")]
    format!("{:032x}", rand::rng().random::<u128>())
        .parse()
        .expect("a stream id")
}

/// Writes problems where the request's id is known: it helps to find the cause in the logs.
async fn write_problems(request: Request, next: Next) -> Response {
    let context = request.extensions().lambda_context_ref();
    let request_id = context.map(|context| context.request_id.clone());
    let response = next.run(request).await;
    let problem = response.extensions().get::<Problem>().cloned();
    let problem = problem.or_else(|| {
        // What axum itself refuses, such as a path that is not UTF-8.
        let status = response.status();
        (status.is_client_error() || status.is_server_error())
            .then(|| Problem::new(status, "The request could not be read."))
    });
    match problem {
        Some(problem) => {
            let mut written = problem.respond(request_id.as_deref().unwrap_or("-"));
            if let Some(allow) = response.headers().get(header::ALLOW) {
                written.headers_mut().insert(header::ALLOW, allow.clone());
            }
            written
        }
        None => response,
    }
}
