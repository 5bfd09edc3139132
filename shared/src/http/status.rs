//! The status of tests and job runs: from a request to a stream or a problem.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;

use super::{
    Edge,
    incoming::{Incoming, PathId},
    streaming,
};
use crate::{
    cause,
    config::{ConfigError, Database, Env},
    error::Problem,
    execution::{Id, Kind},
    feed::{Feed, OpenError, Opened},
    log::Log,
    stream,
    watch::Watch,
};

/// The most executions that one stream carries.
const MAX_EXECUTIONS: usize = 50;

/// How many connections to Postgres a process holds at most. One that serves one request at a time
/// needs one: with two, a first request that comes while the first is being opened opens another.
const CONNECTIONS: usize = 1;

/// The same for one that serves many (Lambda Managed Instances).
const CONNECTIONS_SHARED: usize = 8;

/// What the requests of one process share.
struct App {
    kind: Kind,
    edge: Arc<Edge>,
    log: Log,
}

/// Runs a status function: reads the configuration, serves.
///
/// # Errors
/// Where a variable has a value that it does not take, or the Lambda runtime fails.
pub async fn run(kind: Kind, env: Env) -> Result<(), lambda_http::Error> {
    super::serve(router(kind, &env)?).await
}

/// What a status function serves. It connects when the first valid token has come.
///
/// # Errors
/// Where a variable has a value that it does not take.
///
/// # Panics
/// Outside of a Tokio runtime.
pub fn router(kind: Kind, env: &Env) -> Result<Router, ConfigError> {
    let database = Database::from_env(env)?;
    let edge = Edge::from_env(env)?;
    let connections = if env.serves_many() {
        CONNECTIONS_SHARED
    } else {
        CONNECTIONS
    };
    let log = Log::new(&database, connections);
    let app = Arc::new(App {
        kind,
        edge: edge.clone(),
        log,
    });
    let own = Router::new()
        .route("/events", streaming(watch_many))
        .route("/events/{id}", streaming(watch_one))
        .route("/ready", get(ready))
        .with_state(app);
    let id = kind.id_name();
    let streams =
        format!("GET /events/{{{id}}}, GET /events?{id}=…&{id}=…, GET /events?projectId=…");
    let name = format!("{kind}-status");
    Ok(super::router(&name, edge, own, &streams))
}

async fn watch_one(
    State(app): State<Arc<App>>,
    PathId(id): PathId,
    incoming: Incoming,
) -> Result<Response, Problem> {
    let ids = vec![parse_id(&id)?];
    let watch = |organization_id: &Id| {
        Ok(Watch::Executions {
            kind: app.kind,
            organization_id: organization_id.clone(),
            ids,
        })
    };
    app.open(watch, &incoming).await
}

async fn watch_many(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, Problem> {
    let watch = |organization_id: &Id| watch_of(app.kind, organization_id, &incoming);
    app.open(watch, &incoming).await
}

async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    super::readiness(&app.edge, &app.log).await
}

impl App {
    /// From a request to a stream: token, feed, frames.
    async fn open(
        &self,
        watch: impl FnOnce(&Id) -> Result<Watch, Problem>,
        incoming: &Incoming,
    ) -> Result<Response, Problem> {
        let grant = self.edge.authenticate(incoming).await?;
        let watch = watch(&grant.organization_id)?;
        if let Watch::Project { project_id, .. } = &watch
            && !grant.covers_project(project_id)
        {
            return Err(Problem::not_found());
        }
        let channels = watch.channels();
        // Postgres and Redis are connected to beside each other: the read waits for the same connection.
        let log = self.log.clone();
        tokio::spawn(async move { log.connect().await });
        let begun = self.edge.begin(incoming, &grant, channels).await?;
        let Some((session, subscription)) = begun else {
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        let request = crate::feed::Request {
            watch,
            grant,
            last_event_id: incoming.last_event_id(),
        };
        let streams = &self.edge.streams;
        let opened = Feed::open(&self.log, subscription, streams, request).await;
        match opened {
            Ok(Opened::Feed(feed)) => Ok(stream::serve(*feed, session, streams)),
            Ok(Opened::NothingLeft) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(OpenError::NotTheirs) => Err(Problem::not_found()),
            Err(error @ OpenError::Log(_)) => {
                metrics::counter!("PostgresErrors").increment(1);
                tracing::error!(error = cause::chain(&error), "failed to open a stream");
                Err(Problem::unavailable(
                    "Current state cannot be read now: try again soon.",
                ))
            }
        }
    }
}

/// What `?runId=…&runId=…`, `?testId=…` or `?projectId=…` asks for.
fn watch_of(kind: Kind, organization_id: &Id, incoming: &Incoming) -> Result<Watch, Problem> {
    let name = kind.id_name();
    let mut ids: Vec<Id> = Vec::new();
    for (_, value) in incoming
        .query
        .iter()
        .filter(|(parameter, _)| parameter == name)
    {
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
    let projects = incoming
        .query
        .iter()
        .filter(|(name, _)| name == "projectId");
    let projects: Vec<_> = projects.map(|(_, value)| value).collect();
    match (&projects[..], ids.is_empty()) {
        ([project_id], true) => Ok(Watch::Project {
            kind,
            organization_id: organization_id.clone(),
            project_id: parse_id(project_id)?,
        }),
        ([], false) => Ok(Watch::Executions {
            kind,
            organization_id: organization_id.clone(),
            ids,
        }),
        _ => Err(Problem::bad_request(format!(
            "Say what to watch: 1 to {MAX_EXECUTIONS} times {name}, or one projectId."
        ))),
    }
}

fn parse_id(text: &str) -> Result<Id, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("Not a valid id: {error}.")))
}
