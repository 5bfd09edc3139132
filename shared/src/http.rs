//! The HTTP face of the functions: what they all have, from headers to health. What each streams, is in
//! [`status`] and [`queues`]; what is sent, in [`updates`].

mod app;
mod artifacts;
mod body;
mod incoming;
pub mod queues;
mod runs;
pub mod status;
pub mod updates;

use std::{future::ready, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    handler::Handler,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tower::Layer;
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    normalize_path::NormalizePathLayer,
    set_header::SetResponseHeaderLayer,
};

pub use self::incoming::Context;
use self::incoming::{Incoming, PathId};
use crate::{
    access::{
        grant::Grant,
        limits::{Beginning, Limited, Limits},
        token::{TokenError, Verifier},
    },
    bus::{Bus, Subscription},
    config::{self, Access, ConfigError, Env, Redis, Streams},
    drain::Drain,
    error::Problem,
    log::Log,
    stream::{self, Session},
    telemetry::{self, traces},
    watch::{Channel, EVICTED},
};

/// How long Postgres may take to answer whether it is there.
const READY_PATIENCE: Duration = Duration::from_secs(2);

/// What every function has that serves requests.
#[derive(Debug)]
pub struct Edge {
    verifier: Verifier,
    streams: Streams,
    bus: Bus,
    limits: Limits,
    readiness: Readiness,
    drain: Drain,
    artifacts: Option<config::Artifacts>,
    cors_allowed_origins: Vec<HeaderValue>,
}

impl Edge {
    /// Reads the configuration. Nothing is connected to before the first valid token, or whatever
    /// else needs it.
    ///
    /// # Errors
    /// Where a variable has a value that it does not take.
    pub fn from_env(env: &Env) -> Result<Arc<Self>, ConfigError> {
        let (redis, access) = (Redis::from_env(env)?, Access::from_env(env)?);
        let streams = Streams::from_env(env)?;
        let limits = config::Limits::from_env(env)?;
        let verifier = Verifier::new(&access)?;
        // A dead connection is found before the poll would find what it lost.
        let bus = Bus::new(&redis, streams.poll.mul_f64(0.6));
        Ok(Arc::new(Edge {
            verifier,
            limits: Limits::new(bus.clone(), limits, &streams),
            bus,
            readiness: Readiness::default(),
            drain: Drain::default(),
            artifacts: config::Artifacts::from_env(env)?,
            streams,
            cors_allowed_origins: access.cors_allowed_origins,
        }))
    }

    /// The end of this process.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Finds and checks the token of who wants to watch.
    async fn authenticate(&self, incoming: &Incoming) -> Result<Grant, Problem> {
        let token = incoming.parameter("token");
        let checked = self.verifier.authenticate(&incoming.headers, token).await;
        self.let_in(checked, incoming).await
    }

    /// Finds and checks the token of who wants to send.
    async fn authenticate_sender(&self, incoming: &Incoming) -> Result<Grant, Problem> {
        let checked = self.verifier.authenticate_sender(&incoming.headers).await;
        self.let_in(checked, incoming).await
    }

    /// Counts who comes without a valid token.
    async fn let_in(
        &self,
        checked: Result<Grant, TokenError>,
        incoming: &Incoming,
    ) -> Result<Grant, Problem> {
        match checked {
            Ok(grant) => Ok(grant),
            Err(error @ TokenError::NoKeys) => Err(error.into()),
            Err(error) => {
                if let Some(source) = incoming.source {
                    self.limits.count_failed_try(source).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Begins a stream: subscribes to its channels, as often as the caller may. `None` where the
    /// client's stream was evicted, and its page did not listen: it is to stop coming back.
    async fn begin(
        &self,
        incoming: &Incoming,
        grant: &Grant,
        channels: Vec<(Channel, usize)>,
    ) -> Result<Option<(Session, Subscription)>, Problem> {
        let beginning = match incoming.last_event_id().as_deref() {
            Some(EVICTED) => {
                self.limits.admit(grant, Beginning::Resumed).await?;
                return Ok(None);
            }
            Some(_) => Beginning::Resumed,
            None => Beginning::New,
        };
        let stream_id = stream::new_id();
        let place = self.limits.place(grant, &stream_id, &channels, beginning);
        let close = Channel::Close(stream_id.clone());
        let (mut subscription, admitted) = tokio::join!(
            self.bus
                .subscribe(Some(&grant.organization_id), channels, Some(close)),
            self.limits.admit(grant, beginning)
        );
        if let Err(limited) = admitted {
            subscription.close().await;
            return Err(limited.into());
        }
        let session = Session {
            stream_id,
            place,
            hangup: subscription.hangup(),
            drain: self.drain.clone(),
            asked_at: incoming.at,
            expires_at: grant.expires_at,
            deadline: incoming.deadline,
            viewer: traces::of_headers(&incoming.headers),
        };
        Ok(Some((session, subscription)))
    }
}

/// What a function serves beside its streams.
#[derive(Default)]
struct Beside {
    routes: Router,
    /// What it is, for whoever asks for a path that is none.
    said: &'static str,
}

/// A function's own routes, and those that every streaming function has, below `/api/{name}`; and
/// what it serves beside them. What the own ones stream, `streams` says, for whoever asks for a path
/// that is none.
fn router(name: &str, edge: Arc<Edge>, own: Router, beside: Beside, streams: &str) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(edge.cors_allowed_origins.clone()))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("x-auth-token"),
        ])
        .allow_credentials(true)
        .expose_headers([header::ETAG, header::RETRY_AFTER])
        .max_age(Duration::from_hours(1));
    let common = Router::new()
        .route("/streams/{id}/close", post(close))
        .route("/health", get(health))
        .with_state(edge);
    let no_such_path = format!(
        "There is no such path. Below /api/{name} are {streams}, GET /health, GET /ready and \
         POST /streams/{{streamId}}/close.{}",
        beside.said
    );
    let routes = Router::new()
        .nest(&format!("/api/{name}"), own.merge(common))
        .merge(beside.routes);
    let methods = "streams take GET, close takes POST";
    dressed(answering(routes, no_such_path, methods).layer(cors))
}

/// Routes that say what is wrong with a request, also with one of another path or method.
pub fn answering(routes: Router, no_such_path: String, methods: &'static str) -> Router {
    let method_not_allowed = move |method| ready(method_not_allowed(method, methods));
    routes
        .fallback(move || ready(Problem::new(StatusCode::NOT_FOUND, no_such_path)))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(write_problems))
}

/// Routes whose answers have the headers that all have.
fn dressed(routes: Router) -> Router {
    let fixed =
        |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    let routes = routes
        .layer(fixed(header::CACHE_CONTROL, "no-cache, no-transform"))
        .layer(fixed(HeaderName::from_static("x-accel-buffering"), "no"))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(fixed(header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
        .layer(fixed(
            header::STRICT_TRANSPORT_SECURITY,
            "max-age=63072000; includeSubDomains",
        ));
    // Around the routes: within them, the path is matched already.
    let forgiving = NormalizePathLayer::trim_trailing_slash().layer(routes);
    Router::new().fallback_service(forgiving)
}

/// A route that streams. axum would serve HEAD by the handler of GET: it would open a stream, whose
/// body is dropped, and Lambda would freeze the process before the stream has given its place back.
fn streaming<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    get(handler).head(async |method| {
        let problem = method_not_allowed(method, "streams take GET");
        ([(header::ALLOW, "GET")], problem)
    })
}

async fn close(
    State(edge): State<Arc<Edge>>,
    PathId(stream_id): PathId,
    incoming: Incoming,
) -> Result<StatusCode, Problem> {
    if let Some(source) = incoming.source {
        edge.limits.count_close(source).await?;
    }
    if let Ok(stream_id) = stream_id.parse() {
        // Where Redis is away, the stream ends with its window.
        let _ = edge.bus.publish(&Channel::Close(stream_id), "").await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Whether what a function needs can be reached, Redis and what is beside it, as it was found within
/// the last second: anyone may ask, as often as they like.
#[derive(Debug, Default)]
struct Readiness(tokio::sync::Mutex<Option<(Instant, (bool, bool))>>);

impl Readiness {
    async fn get(&self, ask: impl AsyncFnOnce() -> (bool, bool)) -> (bool, bool) {
        let mut found = self.0.lock().await;
        match *found {
            Some((at, ready)) if at.elapsed() < Duration::from_secs(1) => ready,
            _ => {
                let ready = ask().await;
                *found = Some((Instant::now(), ready));
                ready
            }
        }
    }
}

async fn health() -> Response {
    axum::Json(json!({"status": "ok"})).into_response()
}

/// `GET /health` and `GET /ready`, of whatever needs Redis and Postgres.
pub fn probes(edge: &Arc<Edge>, log: &Log) -> Router {
    let (edge, log) = (edge.clone(), log.clone());
    let is_ready = async move || readiness(&edge, &log).await;
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(is_ready))
}

/// Whether Redis and Postgres can be reached; which cannot, and no more.
async fn readiness(edge: &Edge, log: &Log) -> Result<Response, Problem> {
    if edge.drain.has_begun() {
        return Err(Problem::unavailable("This server is ending."));
    }
    let ask = async || {
        let postgres = timeout(READY_PATIENCE, log.ping());
        let (redis, postgres) = tokio::join!(edge.bus.ping(), postgres);
        (redis.is_ok(), matches!(postgres, Ok(Ok(()))))
    };
    match edge.readiness.get(ask).await {
        (true, true) => Ok(axum::Json(json!({"status": "ready"})).into_response()),
        (false, true) => Err(Problem::unavailable("Redis cannot be reached.")),
        (true, false) => Err(Problem::unavailable("Postgres cannot be reached.")),
        (false, false) => Err(Problem::unavailable(
            "Redis and Postgres cannot be reached.",
        )),
    }
}

fn method_not_allowed(method: Method, methods: &str) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("This path does not take {method}; {methods}."),
    )
}

impl From<Limited> for Problem {
    fn from(limited: Limited) -> Self {
        Problem::too_many(limited.to_string(), limited.retry_after)
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NoKeys => {
                Problem::unavailable("Tokens cannot be checked now: try again soon.")
            }
            error => Problem::new(StatusCode::UNAUTHORIZED, error.to_string()),
        }
    }
}

/// Writes problems where the request's id is known: it helps to find the cause in the logs.
async fn write_problems(request: Request, next: Next) -> Response {
    let context = request.extensions().get::<Context>();
    let request_id = context.and_then(|context| context.request_id.clone());
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
            // Once it is answered, Lambda freezes the process.
            telemetry::flush().await;
            let mut written = problem.respond(request_id.as_deref().unwrap_or("-"));
            if let Some(allow) = response.headers().get(header::ALLOW) {
                written.headers_mut().insert(header::ALLOW, allow.clone());
            }
            written
        }
        None => response,
    }
}
