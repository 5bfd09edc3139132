//! What producers send: one status update of one execution.

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::execution::{Id, InvalidWord, Kind, Labels, Progress, Status, Timestamp};

/// The largest update that is read, in bytes: what SQS takes as a message.
pub const MAX_UPDATE_BYTES: usize = 1024 * 1024;

/// How much of it is kept at most, in bytes, beside the error: it is sent with every later event.
pub const MAX_KEPT_BYTES: usize = 128 * 1024;

/// The longest `errorDetails` or `error` that is kept, in bytes; the rest is cut off with a mark.
pub const MAX_ERROR_BYTES: usize = 16 * 1024;

/// The highest attempt.
pub const MAX_ATTEMPT: u32 = 1000;

/// The most shards of a run.
pub const MAX_SHARDS: u32 = 1000;

/// The largest number that JavaScript tells from the next: 2^53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

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
    /// Holds more than [`MAX_KEPT_BYTES`].
    #[error("paths and messages have at most {MAX_KEPT_BYTES} bytes together; these have {0}")]
    TooLong(usize),
    /// Not JSON, or not of the right shape; says which field.
    #[error("not a valid update: {0}")]
    Malformed(String),
}

impl Update {
    /// Reads one update from JSON.
    ///
    /// # Errors
    /// [`Invalid`] when it can never succeed, however often it is sent.
    pub fn parse(json: &str) -> Result<Self, Invalid> {
        if json.len() > MAX_UPDATE_BYTES {
            return Err(Invalid::TooLarge(json.len()));
        }
        if json.trim_start().starts_with('[') {
            // serde would take a list of its fields, too.
            return Err(Invalid::Malformed("an update is an object".to_owned()));
        }
        let update: Update =
            serde_json::from_str(json).map_err(|error| Invalid::Malformed(error.to_string()))?;
        match update.kept_bytes() {
            0..=MAX_KEPT_BYTES => Ok(update),
            kept => Err(Invalid::TooLong(kept)),
        }
    }

    /// The length of what may be long, and is not cut.
    fn kept_bytes(&self) -> usize {
        let message = self.progress.as_ref().and_then(|it| it.message.as_ref());
        let texts = [message, self.report_path.as_ref(), self.s3_url.as_ref()];
        let paths = self.artifact_paths.iter().flatten();
        paths
            .chain(texts.into_iter().flatten())
            .map(String::len)
            .sum()
    }
}

/// The `eventId` of a JSON text that is not a valid update, where it has one.
#[must_use]
pub fn event_id_of(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Identified {
        #[serde(deserialize_with = "event_id")]
        event_id: String,
    }
    let identified: Identified = serde_json::from_str(json).ok()?;
    Some(identified.event_id)
}

fn event_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text)
    } else {
        Err(de::Error::custom(
            "eventId is 1 to 128 visible ASCII characters",
        ))
    }
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(|error: InvalidWord| de::Error::custom(error))
}

/// A time span as clocks tell it, with a fraction or without, in whole milliseconds.
fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let milliseconds = whole(number.round()).ok_or_else(|| {
        de::Error::custom("durationMs is a number of milliseconds, from 0 to 2^53")
    })?;
    Ok(Some(milliseconds))
}

/// Progress: what is done in part only, does not count yet.
fn progress<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Progress>, D::Error> {
    #[derive(Deserialize)]
    struct Sent {
        completed: f64,
        total: Option<f64>,
        message: Option<String>,
    }
    // An object: serde would take a list of its fields, too.
    let members = Option::<serde_json::Map<_, _>>::deserialize(deserializer)?;
    let Some(members) = members else {
        return Ok(None);
    };
    let sent: Sent = serde_json::from_value(members.into()).map_err(de::Error::custom)?;
    let count = |number: f64| {
        let error = "progress counts from 0 to 2^53: {\"completed\":3,\"total\":12}";
        whole(number.floor()).ok_or_else(|| de::Error::custom(error))
    };
    Ok(Some(Progress {
        completed: count(sent.completed)?,
        total: sent.total.map(count).transpose()?,
        message: sent.message,
    }))
}

/// A number without a fraction, where JavaScript tells it from the next.
fn whole(number: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in bounds"
    )]
    (0.0..=MAX_EXACT).contains(&number).then_some(number as u64)
}

/// A string, or any other JSON kept as its text: an error's form must not cost its status.
fn error_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(
        match Option::<serde_json::Value>::deserialize(deserializer)? {
            None => None,
            Some(serde_json::Value::String(text)) => Some(cut(text)),
            Some(other) => Some(cut(other.to_string())),
        },
    )
}

fn cut(mut text: String) -> String {
    let length = text.len();
    if length > MAX_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
        text.push_str(&format!("… [cut: {length} bytes in all]"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"{"eventId":"e1","kind":"job","id":"r1","organizationId":"o","projectId":"p","status":"Active"}"#;

    #[test]
    fn a_minimal_update_is_enough() {
        let update = Update::parse(MINIMAL).unwrap();
        assert_eq!(update.status, Status::Running);
        assert_eq!(update.progress, None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (from, to, says) in [
            ("Active", "flying", "unknown status"),
            ("\"r1\"", "\"r:1\"", "an id is"),
            ("\"job\"", "\"cron\"", "unknown variant `cron`"),
            ("\"eventId\":\"e1\",", "", "missing field `eventId`"),
            ("\"e1\"", "\"\"", "eventId is"),
            ("}", ",\"progress\":[1]}", "expected a map"),
            (MINIMAL, "[\"e1\"]", "an update is an object"),
        ] {
            let error = Update::parse(&MINIMAL.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_duration_may_have_a_fraction() {
        for (number, milliseconds) in [
            ("1500", Some(1500)),
            ("1500.0", Some(1500)),
            ("0.5e3", Some(500)),
            ("12.7", Some(13)),
            ("null", None),
        ] {
            let json = MINIMAL.replace('}', &format!(r#","durationMs":{number}}}"#));
            let update = Update::parse(&json).unwrap();
            assert_eq!(update.duration_ms, milliseconds, "{number}");
        }
        for number in ["-1", "1e16", "\"5s\""] {
            let json = MINIMAL.replace('}', &format!(r#","durationMs":{number}}}"#));
            assert!(Update::parse(&json).is_err(), "{number}");
        }
    }

    #[test]
    fn progress_may_have_fractions() {
        let read = |progress: &str| {
            let json = MINIMAL.replace('}', &format!(r#","progress":{progress}}}"#));
            Update::parse(&json).map(|update| update.progress)
        };
        let progress = read(r#"{"completed":3.0,"total":4.9}"#).unwrap().unwrap();
        assert_eq!((progress.completed, progress.total), (3, Some(4)));
        assert_eq!(read("null"), Ok(None));
        for bad in [r#"{"completed":-1}"#, r#"{"completed":1e16}"#, "{}", "7"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_error_is_cut_with_a_mark() {
        let long = "ä".repeat(MAX_ERROR_BYTES);
        let json = MINIMAL.replace('}', &format!(r#","errorDetails":"{long}"}}"#));
        let details = Update::parse(&json).unwrap().error_details.unwrap();
        assert!(details.len() < MAX_ERROR_BYTES + 64);
        assert!(details.ends_with("[cut: 32768 bytes in all]"), "{details}");
    }

    #[test]
    fn a_long_error_costs_nothing_and_long_paths_are_refused() {
        let long = "x".repeat(MAX_KEPT_BYTES + 1);
        let with = |field: &str| MINIMAL.replace('}', &format!(r#","{field}":"{long}"}}"#));
        assert!(Update::parse(&with("errorDetails")).is_ok());
        let refused = Update::parse(&with("reportPath")).unwrap_err();
        assert_eq!(refused, Invalid::TooLong(MAX_KEPT_BYTES + 1));
    }

    #[test]
    fn an_oversized_update_is_refused_unread() {
        let json = " ".repeat(MAX_UPDATE_BYTES + 1);
        assert_eq!(
            Update::parse(&json).unwrap_err(),
            Invalid::TooLarge(MAX_UPDATE_BYTES + 1)
        );
    }
}
