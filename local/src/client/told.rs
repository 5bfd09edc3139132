//! What test tools say, as updates.

use serde_json::{Value, json};

use super::identity::{Identity, hash};
use crate::results::{Attempt, Case, Item};

/// How the tests of a run ended, so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) error: usize,
    pub(crate) skipped: usize,
    pub(crate) completed: usize,
    /// What a tool says of the run itself.
    pub(crate) run: Option<&'static str>,
}

impl Tally {
    /// Counts what was read.
    pub(crate) fn count(&mut self, item: &Item) {
        let case = match item {
            Item::Run(status) => {
                self.run = Some(status);
                return;
            }
            Item::Case(case) => case,
        };
        let last = case.attempts.last().filter(|_| case.ended);
        match last.map(|attempt| attempt.status) {
            Some("passed") => self.passed += 1,
            Some("failed") => self.failed += 1,
            Some("error") => self.error += 1,
            Some("skipped") => self.skipped += 1,
            Some(_) => self.completed += 1,
            None => {}
        }
        // Told as failed before: it is another attempt.
        if case.earlier > 0 && last.is_some() {
            self.failed = self.failed.saturating_sub(1);
        }
    }

    /// How the run stands, once all its tests are read.
    pub(crate) fn status(&self) -> &'static str {
        match self {
            Tally {
                run: Some(status), ..
            } => status,
            Tally { error, failed, .. } if error + failed > 0 => "failed",
            Tally {
                passed: 0,
                completed: 0,
                skipped,
                ..
            } if *skipped > 0 => "skipped",
            _ => "passed",
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.passed + self.failed + self.error + self.skipped + self.completed
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [
            (self.passed, "passed"),
            (self.failed, "failed"),
            (self.error, "errored"),
            (self.skipped, "skipped"),
            (self.completed, "of unknown outcome"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        write!(f, "{} tests", self.total())?;
        if !counts.is_empty() {
            write!(f, ": {}", counts.join(", "))?;
        }
        Ok(())
    }
}

/// The updates of a test. What is told of it twice, in whatever file, has the same `eventId`s: it is one.
pub(crate) fn updates_of(case: &Case, run: &Identity) -> Vec<Value> {
    let mut parts = vec![run.run_id.as_str()];
    parts.extend(case.key.iter().map(String::as_str));
    let id = hash(&parts);
    let update = |attempt: u32, status: &str| {
        let number = attempt.to_string();
        let mut update = json!({
            "eventId": hash(&[&id, &number, status]),
            "kind": "test",
            "id": id,
            "runId": run.run_id,
            "status": status,
            "name": case.name,
            "suite": case.suite,
            "file": case.file,
            "line": case.line,
        });
        if !run.labels.is_empty() {
            update["labels"] = json!(run.labels);
        }
        if attempt > 1 {
            update["attempt"] = json!(attempt);
        }
        update
    };
    let number = |index: usize| case.earlier + u32::try_from(index).unwrap_or(u32::MAX) + 1;
    let ended = |(index, attempt): (usize, &Attempt)| {
        let mut update = update(number(index), attempt.status);
        update["durationMs"] = json!(attempt.duration_ms);
        update["error"] = json!(attempt.error);
        if !case.ended || index + 1 < case.attempts.len() {
            update["willRetry"] = json!(true);
        }
        update
    };
    let mut updates: Vec<_> = case.attempts.iter().enumerate().map(ended).collect();
    if !case.ended {
        updates.push(update(number(case.attempts.len()), "running"));
    }
    updates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(outcomes: &[&'static str], ended: bool) -> Case {
        let attempt = |status: &&'static str| Attempt {
            status,
            duration_ms: Some(5),
            error: None,
        };
        Case {
            key: vec!["k".to_owned()],
            name: "n".to_owned(),
            attempts: outcomes.iter().map(attempt).collect(),
            ended,
            ..Case::default()
        }
    }

    fn run() -> Identity {
        Identity {
            run_id: "r".to_owned(),
            ..Identity::default()
        }
    }

    #[test]
    fn each_attempt_but_the_last_will_be_retried() {
        let updates = updates_of(&case(&["failed", "passed"], true), &run());
        let said: Vec<_> = updates
            .iter()
            .map(|it| {
                (
                    it["status"].as_str(),
                    it["attempt"].as_u64(),
                    it["willRetry"].as_bool(),
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                (Some("failed"), None, Some(true)),
                (Some("passed"), Some(2), None)
            ]
        );
        let updates = updates_of(&case(&["failed"], false), &run());
        assert_eq!(updates.len(), 2);
        assert_eq!(updates[0]["willRetry"], true);
        assert_eq!(
            (&updates[1]["status"], &updates[1]["attempt"]),
            (&json!("running"), &json!(2))
        );
    }

    #[test]
    fn the_same_is_told_by_the_same_names() {
        let (one, two) = (case(&["failed", "passed"], true), case(&["failed"], false));
        let (one, two) = (updates_of(&one, &run()), updates_of(&two, &run()));
        assert_eq!(one[0]["eventId"], two[0]["eventId"]);
        assert_eq!(one[0]["id"], two[1]["id"]);
        assert_ne!(one[1]["eventId"], two[1]["eventId"]);
        let other = Identity {
            run_id: "q".to_owned(),
            ..Identity::default()
        };
        assert_ne!(
            updates_of(&case(&["passed"], true), &other)[0]["id"],
            one[0]["id"]
        );
    }

    #[test]
    fn the_worst_of_the_tests_is_the_runs_status() {
        let status = |outcomes: &[&'static str]| {
            let mut tally = Tally::default();
            for outcome in outcomes {
                tally.count(&Item::Case(case(&[outcome], true)));
            }
            tally.status()
        };
        assert_eq!(status(&["passed", "skipped"]), "passed");
        assert_eq!(status(&["passed", "failed"]), "failed");
        assert_eq!(status(&["error"]), "failed");
        assert_eq!(status(&["skipped"]), "skipped");
        assert_eq!(status(&[]), "passed");
    }
}
