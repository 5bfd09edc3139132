//! Which path is whose.

use std::sync::Arc;

use axum::{Router, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use shared::{
    config::{ConfigError, Env},
    execution::Kind,
    http::{self, Edge, queues, status, updates},
    ingest::Ingest,
    log::Log,
};

/// What is served, by the first part of a path below `/api`.
#[derive(Clone)]
pub(crate) struct Routes {
    tests: Router,
    jobs: Router,
    queues: Router,
    updates: Router,
    own: Router,
}

impl Routes {
    pub(crate) fn new(
        env: &Env,
        edge: &Arc<Edge>,
        log: &Log,
        ingest: &Arc<Ingest>,
        counted: PrometheusHandle,
    ) -> Result<Self, ConfigError> {
        let own = http::probes(edge, log);
        let own = own.route("/metrics", get(async move || counted.render()));
        let no_such_path = "There is no such path. Here are /api/test-status, /api/job-status, \
                            /api/queue-stats, /api/runs, /api/updates, /health, /ready and /metrics.";
        Ok(Routes {
            tests: status::router(Kind::Test, edge, log),
            jobs: status::router(Kind::Job, edge, log),
            queues: queues::router(env, edge)?,
            updates: updates::router(edge, ingest),
            own: http::answering(own, no_such_path.to_owned(), "these paths take GET"),
        })
    }

    /// Who serves a path.
    pub(crate) fn of(&self, path: &str) -> &Router {
        let below = path.strip_prefix("/api/").unwrap_or_default();
        match below.split('/').next() {
            Some("test-status") => &self.tests,
            Some("job-status" | "runs") => &self.jobs,
            Some("queue-stats") => &self.queues,
            Some("updates") => &self.updates,
            _ => &self.own,
        }
    }
}
