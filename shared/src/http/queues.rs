//! The statistics of the queues: one stream for whoever may read a status.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use serde_json::json;

use super::{Beside, Edge, incoming::Incoming, streaming};
use crate::{
    config::{self, ConfigError, Env},
    error::Problem,
    queue::Queues,
    stream,
};

struct App {
    edge: Arc<Edge>,
    queues: Queues,
}

/// What is served of the queues.
///
/// # Errors
/// Where a variable has a value that it does not take.
pub fn router(env: &Env, edge: &Arc<Edge>) -> Result<Router, ConfigError> {
    let queues = config::Queues::from_env(env)?;
    let edge = edge.clone();
    let app = Arc::new(App {
        edge: edge.clone(),
        queues: Queues::new(queues, edge.bus.clone()),
    });
    let own = Router::new()
        .route("/events", streaming(watch))
        .route("/ready", get(ready))
        .with_state(app);
    let beside = Beside::default();
    Ok(super::router(
        "queue-stats",
        edge,
        own,
        beside,
        "GET /events",
    ))
}

async fn watch(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, Problem> {
    let grant = app.edge.authenticate(&incoming).await?;
    let Some((session, subscription)) = app.edge.begin(&incoming, &grant, Vec::new()).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    match app.queues.watch(grant, subscription).await {
        Some(view) => Ok(stream::serve(view, session, &app.edge.streams)),
        None => Err(Problem::unavailable(
            "The queues cannot be read now: try again soon.",
        )),
    }
}

async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let asked = async || {
        let (bus, queues) = tokio::join!(app.edge.bus.ping(), app.queues.ping());
        (bus.is_ok(), queues.is_ok())
    };
    match app.edge.readiness.get(asked).await {
        (true, true) => Ok(axum::Json(json!({"status": "ready"})).into_response()),
        (false, _) => Err(Problem::unavailable("Redis cannot be reached.")),
        (true, false) => Err(Problem::unavailable(
            "The Redis of the queues cannot be reached.",
        )),
    }
}
