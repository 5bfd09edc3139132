//! What producers send: one status update of one execution.
//!
//! What names the execution, its owner and its status is read strictly. Every other field is read
//! leniently: what cannot be read is left out with a [`Warning`], and the status counts.

mod escapes;
mod fields;
mod identity;
mod kept;
mod labels;
mod lenient;
mod members;
mod progress;
mod text;
mod time;
mod value;
mod warnings;

#[cfg(test)]
mod tests;

use thiserror::Error;

pub use self::{escapes::legible, identity::event_id_of};
use self::{
    identity::{Identity, report},
    lenient::Lenient,
    members::Members,
};
use crate::{
    access::grant::Grant,
    execution::{Id, Key, Kind, Labels, Progress, Status, Timestamp, TraceParent},
};

/// The largest update that is read, in bytes: what SQS takes as a message.
pub const MAX_UPDATE_BYTES: usize = 1024 * 1024;

/// How much of its paths and messages is kept at most, in bytes: they are sent with every later event.
pub const MAX_KEPT_BYTES: usize = 128 * 1024;

/// The longest `errorDetails` or `error` that is kept, in bytes; the rest is cut off with a mark.
pub const MAX_ERROR_BYTES: usize = 16 * 1024;

/// The highest attempt.
pub const MAX_ATTEMPT: u32 = 1000;

/// The most shards of a run.
pub const MAX_SHARDS: u32 = 1000;

/// The longest that an execution may be silent, in seconds: a day.
pub const MAX_TIMEOUT_SECONDS: u32 = 86_400;

/// A valid update.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// What makes the same update sent twice one.
    pub event_id: String,
    /// Test or job.
    pub kind: Kind,
    /// The execution's id.
    pub id: Id,
    /// Whose it is.
    pub organization_id: Id,
    /// Where in the organization it is.
    pub project_id: Id,
    /// What it tells.
    pub report: Report,
    /// The status ends the attempt, not the execution.
    pub will_retry: bool,
    /// Which attempt it is of, from 1 to [`MAX_ATTEMPT`]; absent: the current one.
    pub attempt: Option<u32>,
    /// Which part of the run tells it.
    pub shard: Option<Shard>,
    /// A test's: the job run that it is part of.
    pub run_id: Option<Id>,
    /// When it happened, as the producer says.
    pub occurred_at: Option<Timestamp>,
    /// For how long the execution may be silent.
    pub timeout_seconds: Patch<u32>,
    /// The producer's word for its status was `flaky`.
    pub says_flaky: bool,
    /// Of which trace it is.
    pub traceparent: Option<TraceParent>,
    /// What it says of the execution beside its status.
    pub fields: Fields,
}

/// What an update tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// How the execution stands.
    Status(Status),
    /// That it lives, and nothing else.
    Alive,
}

/// A part of a job run that reports for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 1.
    pub index: u32,
    /// Of how many, up to [`MAX_SHARDS`].
    pub total: u32,
}

/// What becomes of one value of a state.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Patch<T> {
    /// The update leaves it out: it stays as it was.
    #[default]
    Keep,
    /// The update says `null`: there is none any more.
    Clear,
    /// It is this now.
    Set(T),
}

/// What an update says of an execution beside its status.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the contract's fields, named by themselves")]
pub struct Fields {
    pub job_id: Patch<Id>,
    pub name: Patch<String>,
    pub suite: Patch<String>,
    pub file: Patch<String>,
    pub line: Patch<u32>,
    pub url: Patch<String>,
    pub labels: Patch<Labels>,
    pub rerun_of: Patch<Id>,
    pub progress: Patch<Progress>,
    pub started_at: Patch<Timestamp>,
    pub completed_at: Patch<Timestamp>,
    pub duration_ms: Patch<u64>,
    pub error_details: Patch<String>,
    pub artifact_paths: Patch<Vec<String>>,
    pub report_path: Patch<String>,
    pub s3_url: Patch<String>,
    pub error: Patch<String>,
}

/// A value of an update that could not be read, or not kept as it was. The status counts all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Its path: `progress.completed`, `labels.branch`, `artifactPaths[3]`.
    pub field: String,
    /// What came (cut), what is taken, and what was done.
    pub reason: String,
}

/// Why an update can never succeed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Invalid {
    /// Larger than [`MAX_UPDATE_BYTES`].
    #[error("an update has at most {MAX_UPDATE_BYTES} bytes; this one has {0}")]
    TooLarge(usize),
    /// Not JSON, or without what it must say; tells which field, what came and what is taken.
    #[error("{0}")]
    Malformed(String),
    /// Of an organization or a project for which its sender has no grant.
    #[error("{0}")]
    NotGranted(String),
}

impl Update {
    /// The name of the execution that it is of.
    #[must_use]
    pub fn key(&self) -> Key {
        Key {
            kind: self.kind,
            id: self.id.clone(),
            organization_id: self.organization_id.clone(),
        }
    }

    /// Reads one update from JSON. What comes after `now`, by more than clocks differ, is `now`.
    ///
    /// # Errors
    /// [`Invalid`] when it can never succeed, however often it is sent.
    pub fn parse(json: &str, now: Timestamp) -> Result<(Self, Vec<Warning>), Invalid> {
        Self::read(json, now, None)
    }

    /// The same of whoever has this grant: it need not say whose it is, nor in which project where the
    /// grant is for one, and must not name another's.
    ///
    /// # Errors
    /// As there.
    pub fn parse_granted(
        json: &str,
        now: Timestamp,
        grant: &Grant,
    ) -> Result<(Self, Vec<Warning>), Invalid> {
        Self::read(json, now, Some(grant))
    }

    fn read(
        json: &str,
        now: Timestamp,
        grant: Option<&Grant>,
    ) -> Result<(Self, Vec<Warning>), Invalid> {
        if json.len() > MAX_UPDATE_BYTES {
            return Err(Invalid::TooLarge(json.len()));
        }
        let json = legible(json);
        let members = Members::read(&json)?;
        let Identity {
            event_id,
            kind,
            id,
            organization_id,
            project_id,
        } = Identity::read(&members, grant)?;
        let mut lenient = Lenient::new(&members, now);
        let alive = lenient.optional("alive", value::truth) == Some(true);
        let (report, says_flaky) = report(&members, alive)?;
        let update = Update {
            will_retry: lenient.will_retry(report),
            attempt: lenient.optional("attempt", value::attempt),
            shard: lenient.shard(kind),
            run_id: lenient.run_id(kind, &id),
            occurred_at: lenient.occurred_at(),
            timeout_seconds: lenient.patch("timeoutSeconds", value::timeout_seconds),
            traceparent: lenient.optional("traceparent", value::traceparent),
            fields: lenient.fields(kind),
            event_id,
            kind,
            id,
            organization_id,
            project_id,
            report,
            says_flaky,
        };
        Ok((update, lenient.warnings.told()))
    }
}

impl<T> Patch<T> {
    /// What it is now, where the update says so.
    #[must_use]
    pub fn set(self) -> Option<T> {
        match self {
            Patch::Set(value) => Some(value),
            Patch::Keep | Patch::Clear => None,
        }
    }

    /// The same, borrowed.
    #[must_use]
    pub fn as_set(&self) -> Option<&T> {
        match self {
            Patch::Set(value) => Some(value),
            Patch::Keep | Patch::Clear => None,
        }
    }
}
