//! Statuses, and the producers' words for them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::InvalidWord;

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
    /// Not run, on purpose. Terminal.
    Skipped,
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
            Status::Skipped => "skipped",
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

    /// Reads a producer's word: a status, or what a tool calls it (docs/events.md has the table), in
    /// any case, with or without `_`, `-` and spaces.
    fn from_str(word: &str) -> Result<Self, InvalidWord> {
        let letters = word
            .chars()
            .filter(|c| !matches!(c, '_' | '-') && !c.is_whitespace());
        let letters: String = letters.take(LONGEST_WORD).collect();
        Ok(match letters.to_ascii_lowercase().as_str() {
            "waiting" | "queued" | "pending" | "delayed" | "paused" | "created" | "retrying"
            | "waitingchildren" | "prioritized" => Status::Waiting,
            "running" | "active" | "started" | "inprogress" | "stalled" => Status::Running,
            "completed" | "done" | "neutral" => Status::Completed,
            "passed" | "pass" | "success" | "succeeded" | "ok" | "expected" | "xpassed"
            | "flaky" => Status::Passed,
            "failed" | "fail" | "failure" | "unexpected" => Status::Failed,
            "error" | "errored" | "timeout" | "timedout" | "broken" => Status::Error,
            "cancelled" | "canceled" | "aborted" | "interrupted" => Status::Cancelled,
            "skipped" | "skip" | "ignored" | "disabled" | "todo" | "xfailed" => Status::Skipped,
            _ => {
                return Err(InvalidWord(
                    "unknown status; send waiting, running, completed, passed, failed, error, \
                     cancelled or skipped"
                        .to_owned(),
                ));
            }
        })
    }
}

/// Longer than any word that is taken.
const LONGEST_WORD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_means_its_status() {
        for (word, status) in [
            ("QUEUED", Status::Waiting),
            ("waiting-children", Status::Waiting),
            ("In_Progress", Status::Running),
            ("in progress", Status::Running),
            ("done", Status::Completed),
            ("OK", Status::Passed),
            ("passed\n", Status::Passed),
            ("failure", Status::Failed),
            ("timed_out", Status::Error),
            ("timedOut", Status::Error),
            ("canceled", Status::Cancelled),
            ("Interrupted", Status::Cancelled),
            ("todo", Status::Skipped),
        ] {
            assert_eq!(word.parse(), Ok(status), "{word}");
        }
        for word in ["finished", "", "-", &"passed".repeat(9)] {
            assert!(word.parse::<Status>().is_err(), "{word}");
        }
    }
}
