//! Executions and their events: the words and shapes that producers, Redis, Postgres and clients
//! all see.

use std::{fmt, str::FromStr, sync::Arc};

use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

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

/// A word that is not what the contract allows in its place; displays what is allowed.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidWord(pub String);

/// The id of an execution, organization or project: `[A-Za-z0-9_-]{1,128}`.
///
/// Cheap to clone. Anything else is refused here, before it can touch Redis, SQL or a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Id(Arc<str>);

impl Id {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Id {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Id(text.into()))
        } else {
            Err(InvalidWord(
                "an id is 1 to 128 of the characters A-Z, a-z, 0-9, _ and -".to_owned(),
            ))
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The number of an event in its sequence (an execution's, or a project's): 1, 2, 3 … without
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

/// How an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not started.
    Waiting,
    /// Started.
    Running,
    /// Ended, without a verdict. Terminal.
    Completed,
    /// Ended well. Terminal.
    Passed,
    /// Ended with a failed check. Terminal.
    Failed,
    /// Broke. Terminal.
    Error,
    /// Stopped by someone. Terminal.
    Cancelled,
}

impl Status {
    /// The word for this status in JSON and SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Running => "running",
            Status::Completed => "completed",
            Status::Passed => "passed",
            Status::Failed => "failed",
            Status::Error => "error",
            Status::Cancelled => "cancelled",
        }
    }

    /// Whether nothing can follow this status.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Status::Waiting | Status::Running)
    }
}

impl FromStr for Status {
    type Err = InvalidWord;

    /// Reads a producer's word: a status or one of its aliases, in any case.
    fn from_str(word: &str) -> Result<Self, InvalidWord> {
        Ok(match word.to_ascii_lowercase().as_str() {
            "waiting" | "queued" | "pending" | "delayed" | "paused" => Status::Waiting,
            "running" | "active" | "started" | "in_progress" | "stalled" => Status::Running,
            "completed" | "done" => Status::Completed,
            "passed" | "success" | "succeeded" | "ok" => Status::Passed,
            "failed" | "failure" => Status::Failed,
            "error" | "errored" | "timeout" | "timed_out" => Status::Error,
            "cancelled" | "canceled" | "aborted" => Status::Cancelled,
            _ => {
                return Err(InvalidWord(
                    "unknown status; send waiting, running, completed, passed, failed, error or \
                     cancelled"
                        .to_owned(),
                ));
            }
        })
    }
}

/// A moment, in JSON as RFC 3339 UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub DateTime<Utc>);

impl Timestamp {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        Timestamp(Utc::now())
    }

    /// How long ago it was; `None` where it is yet to come.
    #[must_use]
    pub fn elapsed(&self) -> Option<std::time::Duration> {
        (Utc::now() - self.0).to_std().ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).ok();
        // A second 60 is one that no browser can read: it ends the 59th.
        let time = time.and_then(|time| time.with_nanosecond(time.nanosecond().min(999_999_999)));
        time.map(|time| Timestamp(time.to_utc()))
            // An offset may lead out of the four digits that a year has.
            .filter(|Timestamp(time)| (0..=9999).contains(&time.year()))
            .ok_or_else(|| de::Error::custom("a time is RFC 3339, like 2026-01-31T12:00:00.000Z"))
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
        serde_json::to_string(self).expect("a state encodes").into()
    }
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
    /// How the execution stands after it.
    pub status: Status,
    /// The execution's whole [`State`] after it, as JSON.
    pub data: Arc<str>,
    /// When the worker told Redis; `None` where the log told of it.
    pub published_at: Option<Timestamp>,
}

/// A time span in a person's words: `850ms`, `5s`, `1m 5s`, `2h 0m 5s`.
#[must_use]
pub fn duration_in_words(duration_ms: u64) -> String {
    let seconds = duration_ms / 1000;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) if (1..1000).contains(&duration_ms) => format!("{duration_ms}ms"),
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m {rest}s"),
        _ => format!("{hours}h {minutes}m {rest}s"),
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

    #[test]
    fn every_alias_means_its_status() {
        for (word, status) in [
            ("QUEUED", Status::Waiting),
            ("In_Progress", Status::Running),
            ("done", Status::Completed),
            ("OK", Status::Passed),
            ("failure", Status::Failed),
            ("timed_out", Status::Error),
            ("canceled", Status::Cancelled),
        ] {
            assert_eq!(word.parse(), Ok(status), "{word}");
        }
        assert!("finished".parse::<Status>().is_err());
    }

    #[test]
    fn a_time_that_could_not_be_read_again_is_refused() {
        for (text, is_time) in [
            ("9999-12-31T23:59:59Z", true),
            ("9999-12-31T23:59:59-00:01", false),
            ("0000-01-01T00:00:00Z", true),
            ("0000-01-01T00:00:00+00:01", false),
        ] {
            let read: Result<Timestamp, _> = serde_json::from_value(text.into());
            assert_eq!(read.is_ok(), is_time, "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_told_as_one_that_browsers_can_read() {
        let read: Timestamp = serde_json::from_value("2016-12-31T23:59:60Z".into()).unwrap();
        assert_eq!(read.to_string(), "2016-12-31T23:59:59.999Z");
    }

    #[test]
    fn an_id_with_another_character_is_refused() {
        let long = "x".repeat(129);
        for bad in ["", "a:b", "a b", "ä", "a\n", "../a", &long] {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(128).parse::<Id>().is_ok());
    }

    #[test]
    fn durations_read_as_a_person_says_them() {
        let words: Vec<_> = [0, 850, 5_000, 65_000, 7_205_000]
            .map(duration_in_words)
            .to_vec();
        assert_eq!(words, ["0s", "850ms", "5s", "1m 5s", "2h 0m 5s"]);
    }
}
