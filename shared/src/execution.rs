//! Executions and their events: the words and shapes that producers, Redis, Postgres and clients
//! all see.

mod id;
pub mod json;
mod state;
mod status;
mod time;
mod traceparent;

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use self::state::common;
pub use self::{
    id::Id,
    state::{
        Attempt, Counted, JobState, Labels, Progress, ShardCounts, State, TestCounts, TestState,
    },
    status::Status,
    time::{Timestamp, duration_in_words},
    traceparent::TraceParent,
};

/// What kind of execution: one run of a test, or one run of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A job run; its id is the `runId`.
    Job,
    /// A test execution; its id is the `testId`.
    Test,
}

impl Kind {
    /// The word for this kind in JSON, SQL and Redis channels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Job => "job",
            Kind::Test => "test",
        }
    }

    /// The name of such an execution's id, in JSON and in queries.
    #[must_use]
    pub fn id_name(self) -> &'static str {
        match self {
            Kind::Job => "runId",
            Kind::Test => "testId",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = InvalidWord;

    fn from_str(word: &str) -> Result<Self, InvalidWord> {
        match word {
            "job" => Ok(Kind::Job),
            "test" => Ok(Kind::Test),
            _ => Err(InvalidWord("kind is \"test\" or \"job\"".to_owned())),
        }
    }
}

/// The number of an event in its sequence (an execution's, a run's or a project's): 1, 2, 3 … without
/// holes. 0 stands before the first event.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Seq = Seq(0);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What names an execution: two organizations may use one id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Test or job.
    pub kind: Kind,
    /// The execution's id.
    pub id: Id,
    /// Whose it is.
    pub organization_id: Id,
}

/// One status update of one execution, as it is in the log and on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Test or job.
    pub kind: Kind,
    /// The execution's id.
    pub id: Id,
    /// Whose it is.
    pub organization_id: Id,
    /// Where in the organization it is.
    pub project_id: Id,
    /// Its number in its execution.
    pub seq: Seq,
    /// Its number among all events of this kind in its project.
    pub project_seq: Seq,
    /// Of a test: the run that it is part of.
    pub run_id: Option<Id>,
    /// Its number among all events of that run's tests; 0 where there is no run.
    pub run_seq: Seq,
    /// Which life of the log its numbers are of, where that is not the first, and it is said.
    pub epoch: u64,
    /// How the execution stands after it.
    pub status: Status,
    /// Of a run: how many of its tests have not ended.
    pub open_tests: u32,
    /// The execution's whole [`State`] after it, as JSON.
    pub data: Arc<str>,
    /// Of which trace the update was, where somebody keeps that.
    pub traceparent: Option<TraceParent>,
    /// When the worker told Redis; `None` where the log told of it.
    pub published_at: Option<Timestamp>,
}

impl Event {
    /// The name of its execution.
    #[must_use]
    pub fn key(&self) -> Key {
        Key {
            kind: self.kind,
            id: self.id.clone(),
            organization_id: self.organization_id.clone(),
        }
    }
}

/// A word that is not what the contract allows in its place; displays what is allowed.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidWord(pub String);
