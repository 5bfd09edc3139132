//! `POST /api/updates`: what producers send, as the worker takes it, from whoever may.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tracing::Span;

use super::{Context, Edge, body, incoming::Incoming};
use crate::{
    access::grant::Grant,
    error::Problem,
    ingest::{self, Ingest, Receipt},
    log::Submission,
    telemetry::{self, traces},
    update::legible,
};

/// The most updates of one request.
const MAX_UPDATES: usize = 1000;

/// What the requests of one process share.
struct App {
    edge: Arc<Edge>,
    ingest: Arc<Ingest>,
}

/// What takes updates. It connects when something valid has come.
pub fn router(edge: &Arc<Edge>, ingest: &Arc<Ingest>) -> Router {
    let app = App {
        ingest: ingest.clone(),
        edge: edge.clone(),
    };
    let routes = Router::new()
        .route("/api/updates", post(take))
        .route("/api/updates/health", get(super::health))
        .route("/api/updates/ready", get(is_ready))
        .with_state(Arc::new(app));
    let no_such_path = "There is no such path. Here are POST /api/updates, GET /api/updates/health \
                        and GET /api/updates/ready.";
    let methods = "updates take POST";
    let routes = super::answering(routes, no_such_path.to_owned(), methods);
    super::dressed(routes)
}

async fn take(State(app): State<Arc<App>>, incoming: Incoming, request: Request) -> Response {
    let context = request.extensions().get::<Context>();
    // Only who is invoked has a deadline.
    let invoked = context.filter(|context| context.deadline.is_some());
    let request_id = invoked.and_then(|context| context.request_id.as_deref());
    let span = traces::request(&request, request_id);
    let answer = app.take(incoming, request, &span).await.into_response();
    traces::answered(&span, answer.status());
    drop(span);
    // Once it is answered, Lambda freezes the process.
    telemetry::flush().await;
    answer
}

impl App {
    async fn take(
        &self,
        incoming: Incoming,
        request: Request,
        span: &Span,
    ) -> Result<Response, Problem> {
        let grant = self.edge.authenticate_sender(&incoming).await?;
        let body = body::read(&incoming.headers, request.into_body()).await?;
        let mut submissions = submissions(&body, &grant)?;
        drop(body);
        let limits = &self.edge.limits;
        limits.admit_updates(&grant, submissions.len()).await?;
        ingest::adopt(&mut submissions, span);
        self.commit(submissions).await
    }

    async fn commit(&self, submissions: Vec<Submission<'static>>) -> Result<Response, Problem> {
        let (submissions, answers) = self.ingest.commit_together(submissions).await;
        let receipt = Receipt::new(&submissions, &answers);
        if answers.contains(&None) {
            return Err(Problem::unavailable(
                "The updates cannot all be committed now: send the same ones again.",
            ));
        }
        Ok(Json(receipt).into_response())
    }
}

/// The updates of a body, in order.
fn submissions(body: &str, grant: &Grant) -> Result<Vec<Submission<'static>>, Problem> {
    let body = legible(body);
    let refused = |error: &str| {
        let form = "send {\"updates\":[…]}";
        Problem::bad_request(format!("The body is {error}; {form}."))
    };
    let members = ingest::members(&body).map_err(|error| refused(&error))?;
    let updates = members.get("updates");
    let updates = updates.ok_or_else(|| refused("not a batch of updates"))?;
    let updates = ingest::list(updates.get()).map_err(refused)?;
    if !(1..=MAX_UPDATES).contains(&updates.len()) {
        let came = updates.len();
        return Err(Problem::bad_request(format!(
            "A request has 1 to {MAX_UPDATES} updates; this one has {came}."
        )));
    }
    let updates = updates.into_iter();
    Ok(updates
        .map(|update| ingest::submission(update.get(), grant))
        .collect())
}

async fn is_ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    super::readiness(&app.edge, &app.ingest.log).await
}
