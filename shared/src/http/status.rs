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
    Beside, Edge,
    app::{App, parse_id},
    artifacts::artifact,
    incoming::{Incoming, PathId},
    runs, streaming,
};
use crate::{
    cause,
    config::{ConfigError, Database, Env},
    error::Problem,
    execution::{Id, Kind},
    feed::{Feed, OpenError, Opened},
    log::Log,
    stream,
    watch::{Scope, Watch},
};

/// The most executions, runs and projects that one stream carries.
const MAX_SCOPES: usize = 50;

/// The log as streams read it, by the configuration, with so many connections at most. It is connected
/// to when the first valid token has come.
///
/// # Errors
/// Where a variable has a value that it does not take.
pub fn log(env: &Env, connections: usize) -> Result<Log, ConfigError> {
    Ok(Log::new(&Database::from_env(env)?, connections))
}

/// What is served of the status of tests, or of jobs.
pub fn router(kind: Kind, edge: &Arc<Edge>, log: &Log) -> Router {
    let (edge, log) = (edge.clone(), log.clone());
    let app = Arc::new(App {
        kind,
        edge: edge.clone(),
        log,
    });
    let own = Router::new()
        .route("/events", streaming(watch_many))
        .route("/events/{id}", streaming(watch_one))
        .route("/ready", get(ready));
    let own = match kind {
        Kind::Test => own.route("/artifacts/{id}", get(artifact)),
        Kind::Job => own,
    };
    let own = own.with_state(app.clone());
    let beside = match kind {
        Kind::Test => Beside::default(),
        Kind::Job => Beside {
            routes: runs::router(app),
            said: " Beside it are GET /api/runs?projectId=… and GET /api/runs/{runId}.",
        },
    };
    let id = kind.id_name();
    let of_run = match kind {
        Kind::Test => ", GET /events?runId=…, GET /artifacts/{testId}",
        Kind::Job => "",
    };
    let streams =
        format!("GET /events/{{{id}}}, GET /events?{id}=…&{id}=…{of_run}, GET /events?projectId=…");
    let name = format!("{kind}-status");
    super::router(&name, edge, own, beside, &streams)
}

async fn watch_one(
    State(app): State<Arc<App>>,
    PathId(id): PathId,
    incoming: Incoming,
) -> Result<Response, Problem> {
    let id = parse_id(&id)?;
    let watch = |organization_id: &Id| Ok(app.watch(organization_id, id));
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
        let is_theirs = |scope: &Scope| match scope {
            Scope::Project(project_id) => grant.covers_project(project_id),
            // What the log has of it, says whose it is.
            Scope::Execution(_) | Scope::Run(_) => true,
        };
        if !watch.scopes.iter().all(is_theirs) {
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

/// What `?runId=…`, `?testId=…`, `?projectId=…` ask for, in their order: of `/api/test-status`, `runId`
/// is every test of that run.
fn watch_of(kind: Kind, organization_id: &Id, incoming: &Incoming) -> Result<Watch, Problem> {
    let mut scopes: Vec<Scope> = Vec::new();
    for (name, value) in &incoming.query {
        let scope = match (kind, name.as_str()) {
            (Kind::Test, "testId") | (Kind::Job, "runId") => Scope::Execution,
            (Kind::Test, "runId") => Scope::Run,
            (_, "projectId") => Scope::Project,
            _ => continue,
        };
        let scope = scope(parse_id(value)?);
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
        if scopes.len() > MAX_SCOPES {
            return Err(Problem::bad_request(format!(
                "A stream carries at most {MAX_SCOPES} executions, runs and projects: open another \
                 for the rest."
            )));
        }
    }
    if scopes.is_empty() {
        let names = match kind {
            Kind::Test => "testId, runId or projectId",
            Kind::Job => "runId or projectId",
        };
        return Err(Problem::bad_request(format!(
            "Say what to watch: 1 to {MAX_SCOPES} times {names}."
        )));
    }
    Ok(Watch {
        kind,
        organization_id: organization_id.clone(),
        scopes,
    })
}
