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

#[cfg(test)]
mod tests {
    use super::*;

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
}
