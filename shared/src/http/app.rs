//! What is served of executions, whether it streams or not: whose the request is, and what they ask for.

use std::sync::Arc;

use super::{Edge, incoming::Incoming};
use crate::{
    access::{grant::Grant, limits::Beginning},
    cause,
    error::Problem,
    execution::{Event, Id, Kind},
    log::{Log, LogError},
    watch::{Scope, Watch},
};

/// What the requests of one process share.
pub(super) struct App {
    pub(super) kind: Kind,
    pub(super) edge: Arc<Edge>,
    pub(super) log: Log,
}

impl App {
    /// Finds whose the request is, and lets it in as often as a stream that resumes.
    pub(super) async fn admit(&self, incoming: &Incoming) -> Result<Grant, Problem> {
        let grant = self.edge.authenticate(incoming).await?;
        self.edge.limits.admit(&grant, Beginning::Resumed).await?;
        Ok(grant)
    }

    /// One execution of an organization.
    pub(super) fn watch(&self, organization_id: &Id, id: Id) -> Watch {
        Watch {
            kind: self.kind,
            organization_id: organization_id.clone(),
            scopes: vec![Scope::Execution(id)],
        }
    }

    /// How an execution stands now, where it is the caller's.
    pub(super) async fn current(&self, grant: &Grant, id: Id) -> Result<Event, Problem> {
        let states = self
            .log
            .states(&self.watch(&grant.organization_id, id))
            .await;
        let mut events = states.map_err(unreadable)?.events.into_iter();
        let event = events.next().map(|(_, event)| event);
        let is_theirs = |event: &Event| grant.covers(&event.organization_id, &event.project_id);
        event.filter(is_theirs).ok_or_else(Problem::not_found)
    }
}

pub(super) fn parse_id(text: &str) -> Result<Id, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("Not a valid id: {error}.")))
}

pub(super) fn unreadable(error: LogError) -> Problem {
    metrics::counter!("PostgresErrors").increment(1);
    tracing::error!(error = cause::chain(&error), "failed to read the log");
    unavailable()
}

pub(super) fn unavailable() -> Problem {
    Problem::unavailable("This cannot be read now: try again soon.")
}
