//! The statistics of the queues: one stream for whoever may read a status.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use super::{Asked, Edge};
use crate::{
    config::{self, Env},
    error::Problem,
    queue::Queues,
    stream,
    watch::Channel,
};

struct App {
    edge: Arc<Edge>,
    queues: Queues,
}

/// Runs the function: reads the configuration, begins to connect, serves.
///
/// # Errors
/// Where a variable has a value that it does not take, or the Lambda runtime fails.
pub async fn run(env: Env) -> Result<(), lambda_http::Error> {
    let queues = config::Queues::from_env(&env)?;
    let edge = Edge::from_env(&env)?;
    let app = Arc::new(App {
        edge: edge.clone(),
        queues: Queues::new(queues),
    });
    let own = Router::new()
        .route("/events", get(watch))
        .route("/ready", get(ready))
        .with_state(app);
    super::serve("queue-stats", edge, own).await
}

async fn watch(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Problem> {
    let grant = app.edge.authenticate(&asked)?;
    let stream_id = stream::new_id();
    let close = Channel::Close(stream_id.clone());
    let subscription = app.edge.bus.subscribe(Vec::new(), Some(close)).await;
    match app.queues.watch(subscription).await {
        Some(numbers) => {
            let lifetime = asked.lifetime(&grant);
            let streams = &app.edge.streams;
            Ok(stream::serve(numbers, stream_id, streams, &lifetime))
        }
        None => Err(Problem::unavailable(
            "The queues cannot be read now: try again soon.",
        )),
    }
}

async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    match app.edge.bus.ping().await {
        Ok(()) => Ok(axum::Json(json!({"status": "ready"})).into_response()),
        Err(_) => Err(Problem::unavailable("Redis cannot be reached.")),
    }
}
