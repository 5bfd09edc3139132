//! The state of an execution: what clients are sent, whole, with each event.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

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
    pub name: Option<String>,
    pub url: Option<String>,
    pub labels: Option<Labels>,
    pub rerun_of: Option<Id>,
    pub status: Status,
    pub seq: Seq,
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    #[serde(default)]
    pub flaky: bool,
    #[serde(default)]
    pub stale: bool,
    pub deadline_at: Option<Timestamp>,
    pub progress: Option<Progress>,
    pub tests: Option<TestCounts>,
    pub shards: Option<ShardCounts>,
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
    pub run_id: Option<Id>,
    pub name: Option<String>,
    pub suite: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub url: Option<String>,
    pub labels: Option<Labels>,
    pub status: Status,
    pub seq: Seq,
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    #[serde(default)]
    pub flaky: bool,
    #[serde(default)]
    pub stale: bool,
    pub deadline_at: Option<Timestamp>,
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

/// What one likes to find an execution by: `branch`, `commit`, `pr`, `ci`.
pub type Labels = BTreeMap<String, String>;

/// An attempt that ended before the present one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// 1, 2, 3 …
    pub attempt: u32,
    /// How it ended; one that never did was `cancelled`.
    pub status: Status,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// The first line of its error.
    pub error: Option<String>,
}

/// How far the shards of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardCounts {
    /// How many there are.
    pub total: u32,
    /// How many of them have ended.
    pub ended: u32,
}

fn first_attempt() -> u32 {
    1
}

/// Picks a field that both kinds have.
macro_rules! common {
    ($state:expr, $field:ident) => {
        match $state {
            State::Job(JobState { $field, .. }) | State::Test(TestState { $field, .. }) => $field,
        }
    };
}
pub(crate) use common;

impl State {
    /// The state of an execution that nobody has reported yet: waiting, seq 0.
    #[must_use]
    pub fn unreported(kind: Kind, id: Id) -> Self {
        match kind {
            Kind::Job => State::Job(JobState {
                run_id: id,
                job_id: None,
                name: None,
                url: None,
                labels: None,
                rerun_of: None,
                status: Status::Waiting,
                seq: Seq::ZERO,
                attempt: first_attempt(),
                attempts: Vec::new(),
                flaky: false,
                stale: false,
                deadline_at: None,
                progress: None,
                tests: None,
                shards: None,
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
                run_id: None,
                name: None,
                suite: None,
                file: None,
                line: None,
                url: None,
                labels: None,
                status: Status::Waiting,
                seq: Seq::ZERO,
                attempt: first_attempt(),
                attempts: Vec::new(),
                flaky: false,
                stale: false,
                deadline_at: None,
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

    /// Reads a state from JSON.
    ///
    /// # Errors
    /// Where it is none.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        // As it is written, its kind stands first: serde would keep everything until it has seen it.
        if json.starts_with("{\"kind\":\"job\",") {
            return serde_json::from_str(json).map(State::Job);
        }
        if json.starts_with("{\"kind\":\"test\",") {
            return serde_json::from_str(json).map(State::Test);
        }
        serde_json::from_str(json)
    }

    /// Whether this state is written exactly so.
    #[must_use]
    pub fn is_written(&self, json: &str) -> bool {
        /// What is left of a text that is written again.
        struct Rest<'a>(&'a [u8]);

        impl Write for Rest<'_> {
            fn write(&mut self, part: &[u8]) -> io::Result<usize> {
                let rest = self.0.strip_prefix(part);
                self.0 = rest.ok_or(io::ErrorKind::InvalidData)?;
                Ok(part.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        if !json.is_ascii() {
            return *self.to_json() == *json;
        }
        let mut rest = Rest(json.as_bytes());
        serde_json::to_writer(&mut rest, self).is_ok() && rest.0.is_empty()
    }

    /// A state of the log. Versions before 0.2 wrote fewer fields: what they left out is `null`.
    #[must_use]
    pub fn whole(stored: &str) -> Arc<str> {
        if stored.contains("\"attempts\":") {
            return json::in_one_line(stored).into();
        }
        let state = State::from_json(stored);
        state.map_or_else(|_| stored.into(), |state| state.to_json())
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

    /// The job run that a test is part of.
    #[must_use]
    pub fn run_id(&self) -> Option<&Id> {
        match self {
            State::Job(_) => None,
            State::Test(test) => test.run_id.as_ref(),
        }
    }

    /// The number of the event that made this state; 0 where there was none.
    #[must_use]
    pub fn seq(&self) -> Seq {
        *common!(self, seq)
    }

    /// How the execution stands.
    #[must_use]
    pub fn status(&self) -> Status {
        *common!(self, status)
    }

    /// How many of a run's tests have not ended.
    #[must_use]
    pub fn open_tests(&self) -> u32 {
        match self {
            State::Job(JobState {
                tests: Some(tests), ..
            }) => tests.waiting + tests.running,
            _ => 0,
        }
    }

    /// The same of a state as JSON.
    #[must_use]
    pub fn open_tests_in(json: &str) -> u32 {
        #[derive(Deserialize)]
        struct Counted {
            #[serde(default)]
            tests: Option<TestCounts>,
        }
        let counted = serde_json::from_str::<Counted>(json).ok();
        let tests = counted.and_then(|counted| counted.tests);
        tests.map_or(0, |tests| tests.waiting + tests.running)
    }

    /// Which attempt a state as JSON is of.
    #[must_use]
    pub fn attempt_in(json: &str) -> u32 {
        #[derive(Deserialize)]
        struct Numbered {
            #[serde(default)]
            attempt: u32,
        }
        let numbered = serde_json::from_str::<Numbered>(json).ok();
        numbered.map_or(0, |numbered| numbered.attempt)
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
    #[serde(default)]
    pub skipped: u32,
    /// How many of them are flaky.
    #[serde(default)]
    pub flaky: u32,
}

/// What a run counts of one of its tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its status.
    pub status: Status,
    /// Whether it is flaky.
    pub flaky: bool,
}

impl TestCounts {
    /// Moves one test from `before` (`None`: it is new to the run) to `after`.
    pub fn shift(&mut self, before: Option<Counted>, after: Counted) {
        match before {
            Some(before) => {
                let count = self.of(before.status);
                *count = count.saturating_sub(1);
                self.flaky = self.flaky.saturating_sub(before.flaky.into());
            }
            None => self.total += 1,
        }
        *self.of(after.status) += 1;
        self.flaky += u32::from(after.flaky);
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
            Status::Skipped => &mut self.skipped,
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
            r#"{"kind":"job","runId":"r1","jobId":null,"name":null,"url":null,"labels":null,"rerunOf":null,"status":"waiting","seq":0,"attempt":1,"attempts":[],"flaky":false,"stale":false,"deadlineAt":null,"progress":null,"tests":null,"shards":null,"duration":null,"durationMs":null,"startedAt":null,"completedAt":null,"errorDetails":null,"artifactPaths":null,"occurredAt":null}"#
        );
    }

    #[test]
    fn what_an_older_version_wrote_is_made_whole() {
        let old = r#"{"kind":"test","testId":"t","status":"passed","seq":2,"progress":null,"duration":null,"durationMs":null,"startedAt":null,"completedAt":null,"reportPath":"r.html","s3Url":null,"error":null,"occurredAt":null}"#;
        let whole: serde_json::Value = serde_json::from_str(&State::whole(old)).unwrap();
        assert_eq!(whole["attempt"], 1);
        assert_eq!(whole["reportPath"], "r.html");
        assert!(whole["labels"].is_null() && whole["runId"].is_null());
        let new = State::whole(old);
        assert_eq!(State::whole(&new), new);
    }
}
