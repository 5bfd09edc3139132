//! The state of an execution: what clients are sent, whole, with each event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Id, Kind, Seq, Status, Timestamp, json};

/// The whole current state of an execution: the data of an event, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum State {
    /// Of a job run.
    Job(JobState),
    /// Of a test.
    Test(TestState),
}

/// The state of a job run. Absent values are `null` in JSON, never missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the contract's fields, named by themselves")]
pub struct JobState {
    pub run_id: Id,
    pub job_id: Option<Id>,
    pub status: Status,
    pub seq: Seq,
    pub progress: Option<Progress>,
    pub tests: Option<TestCounts>,
    pub duration: Option<String>,
    pub duration_ms: Option<u64>,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub error_details: Option<String>,
    pub artifact_paths: Option<Vec<String>>,
    pub occurred_at: Option<Timestamp>,
}

/// The state of a test. Absent values are `null` in JSON, never missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the contract's fields, named by themselves")]
pub struct TestState {
    pub test_id: Id,
    pub status: Status,
    pub seq: Seq,
    pub progress: Option<Progress>,
    pub duration: Option<String>,
    pub duration_ms: Option<u64>,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub report_path: Option<String>,
    pub s3_url: Option<String>,
    pub error: Option<String>,
    pub occurred_at: Option<Timestamp>,
}

impl State {
    /// The state of an execution that nobody has reported yet: waiting, seq 0.
    #[must_use]
    pub fn unreported(kind: Kind, id: Id) -> Self {
        match kind {
            Kind::Job => State::Job(JobState {
                run_id: id,
                job_id: None,
                status: Status::Waiting,
                seq: Seq::ZERO,
                progress: None,
                tests: None,
                duration: None,
                duration_ms: None,
                started_at: None,
                completed_at: None,
                error_details: None,
                artifact_paths: None,
                occurred_at: None,
            }),
            Kind::Test => State::Test(TestState {
                test_id: id,
                status: Status::Waiting,
                seq: Seq::ZERO,
                progress: None,
                duration: None,
                duration_ms: None,
                started_at: None,
                completed_at: None,
                report_path: None,
                s3_url: None,
                error: None,
                occurred_at: None,
            }),
        }
    }

    /// Test or job.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            State::Job(_) => Kind::Job,
            State::Test(_) => Kind::Test,
        }
    }

    /// The execution's id.
    #[must_use]
    pub fn id(&self) -> &Id {
        match self {
            State::Job(job) => &job.run_id,
            State::Test(test) => &test.test_id,
        }
    }

    /// The number of the event that made this state; 0 where there was none.
    #[must_use]
    pub fn seq(&self) -> Seq {
        match self {
            State::Job(job) => job.seq,
            State::Test(test) => test.seq,
        }
    }

    /// How the execution stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            State::Job(job) => job.status,
            State::Test(test) => test.status,
        }
    }

    /// This state as the JSON that clients get.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a tree of strings and numbers always encodes"
    )]
    pub fn to_json(&self) -> Arc<str> {
        let encoded = serde_json::to_string(self).expect("a state encodes");
        json::in_one_line(&encoded).into()
    }
}

/// How far an execution has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Parts done.
    pub completed: u64,
    /// Parts in all, where known.
    #[serde(default)]
    pub total: Option<u64>,
    /// What is being done, for a person.
    #[serde(default)]
    pub message: Option<String>,
}

/// How the tests of a job run stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "a count for each status, named by it")]
pub struct TestCounts {
    pub total: u32,
    pub waiting: u32,
    pub running: u32,
    pub completed: u32,
    pub passed: u32,
    pub failed: u32,
    pub error: u32,
    pub cancelled: u32,
}

impl TestCounts {
    /// Moves one test from `before` (`None`: it is new to the run) to `after`.
    pub fn shift(&mut self, before: Option<Status>, after: Status) {
        match before {
            Some(before) => {
                let count = self.of(before);
                *count = count.saturating_sub(1);
            }
            None => self.total += 1,
        }
        *self.of(after) += 1;
    }

    fn of(&mut self, status: Status) -> &mut u32 {
        match status {
            Status::Waiting => &mut self.waiting,
            Status::Running => &mut self.running,
            Status::Completed => &mut self.completed,
            Status::Passed => &mut self.passed,
            Status::Failed => &mut self.failed,
            Status::Error => &mut self.error,
            Status::Cancelled => &mut self.cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_values_are_null_and_never_missing() {
        let id: Id = "r1".parse().unwrap();
        let json = State::unreported(Kind::Job, id).to_json();
        assert_eq!(
            &*json,
            r#"{"kind":"job","runId":"r1","jobId":null,"status":"waiting","seq":0,"progress":null,"tests":null,"duration":null,"durationMs":null,"startedAt":null,"completedAt":null,"errorDetails":null,"artifactPaths":null,"occurredAt":null}"#
        );
    }
}
