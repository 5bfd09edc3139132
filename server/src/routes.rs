//! Which path is whose.

use std::sync::Arc;

use axum::{Router, routing::get};
use shared::{
    config::Env,
    execution::Kind,
    http::{self, Edge, queues, status, updates},
    ingest::Ingest,
    log::Log,
};

use crate::{Error, metrics};

/// What is served, by the first part of a path below `/api`.
#[derive(Clone)]
pub(crate) struct Routes {
    tests: Router,
    jobs: Router,
    queues: Router,
    updates: Router,
    own: Router,
    rest: Option<Router>,
}

impl Routes {
    pub(crate) fn new(
        env: &Env,
        edge: &Arc<Edge>,
        log: &Log,
        ingest: &Arc<Ingest>,
        rest: Option<Router>,
    ) -> Result<Self, Error> {
        let counted = metrics::install()?;
        let own = http::probes(edge, log);
        let own = own.route("/metrics", get(async move || counted.render()));
        let no_such_path = "There is no such path. Here are /api/test-status, /api/job-status, \
                            /api/queue-stats, /api/runs, /api/updates, /health, /ready and /metrics.";
        Ok(Routes {
            tests: status::router(Kind::Test, edge, log),
            jobs: status::router(Kind::Job, edge, log),
            queues: queues::router(env, edge)?,
            updates: updates::router(edge, ingest),
            rest,
            own: http::answering(own, no_such_path.to_owned(), "these paths take GET"),
        })
    }

    /// Who serves a path.
    pub(crate) fn of(&self, path: &str) -> &Router {
        let mut parts = path.split('/').skip(1);
        match (parts.next(), parts.next()) {
            (Some("api"), Some("test-status")) => &self.tests,
            (Some("api"), Some("job-status" | "runs")) => &self.jobs,
            (Some("api"), Some("queue-stats")) => &self.queues,
            (Some("api"), Some("updates")) => &self.updates,
            (Some("api" | "health" | "ready" | "metrics"), _) => &self.own,
            _ => self.rest.as_ref().unwrap_or(&self.own),
        }
    }
}
