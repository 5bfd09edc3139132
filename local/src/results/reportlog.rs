//! pytest-reportlog: one report a line, written while pytest runs
//! (<https://github.com/pytest-dev/pytest-reportlog>).

use std::{
    collections::HashMap,
    io::{BufRead, Read},
};

use serde::Deserialize;
use serde_json::Value;

use super::{Attempt, Case, Item, MAX_ERROR_BYTES, Trouble, Troubles, cut, milliseconds, named};

/// The longest line that is read, in bytes.
const MAX_LINE_BYTES: u64 = 16 * 1024 * 1024;

/// A log as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct Reportlog {
    /// The last line that was read.
    line: u64,
    /// Tests that began and have not ended, and those that will be run again.
    open: HashMap<String, Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// What each phase says that did not pass; the worst counts.
    worst: Option<Attempt>,
    duration_ms: u64,
    attempts: Vec<Attempt>,
    /// Whether it will be run again, but for the teardown that is yet to come.
    is_rerun: bool,
}

/// A line, as far as it is of use. All else that pytest writes is passed over.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "$report_type")]
    report_type: Option<String>,
    nodeid: Option<String>,
    /// Path, line from 0, name.
    location: Option<(String, Option<u64>, String)>,
    when: Option<String>,
    outcome: Option<String>,
    duration: Option<f64>,
    longrepr: Option<Value>,
    exitstatus: Option<u64>,
    wasxfail: Option<Value>,
}

/// Reads a file.
///
/// # Errors
/// Where a line is no JSON, or too long.
pub(crate) fn read(
    mut source: impl BufRead,
    troubles: &mut Troubles,
    sink: &mut dyn FnMut(Item),
) -> Result<(), Trouble> {
    let mut log = Reportlog::default();
    while log.next(&mut source, troubles, sink)?.is_some() {}
    log.end(troubles, sink);
    Ok(())
}

impl Reportlog {
    /// Reads a line; returns how many bytes it has, or `None` where there is no whole one.
    ///
    /// # Errors
    /// Where it is no JSON, or too long.
    pub(crate) fn next(
        &mut self,
        source: &mut impl BufRead,
        troubles: &mut Troubles,
        sink: &mut dyn FnMut(Item),
    ) -> Result<Option<u64>, Trouble> {
        let mut bytes = Vec::new();
        let trouble = |what: String| Trouble {
            line: self.line + 1,
            what,
        };
        let mut limited = source.by_ref().take(MAX_LINE_BYTES);
        let read = limited.read_until(b'\n', &mut bytes);
        read.map_err(|error| trouble(error.to_string()))?;
        if bytes.last() != Some(&b'\n') {
            if bytes.len() as u64 >= MAX_LINE_BYTES {
                return Err(trouble("more than 16 MB in one line".to_owned()));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            // The last one has no end yet, or none at all.
            if serde_json::from_slice::<Line>(&bytes).is_err() {
                return Ok(None);
            }
        }
        self.line += 1;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(bytes.len() as u64));
        }
        let line = serde_json::from_slice(&bytes);
        let line = line.map_err(|error| Trouble {
            line: self.line,
            what: format!("not a report of pytest's: {error}"),
        })?;
        self.take(line, troubles, sink);
        Ok(Some(bytes.len() as u64))
    }

    /// Tells what is left of tests that never ended: their pytest, or its worker, died.
    pub(crate) fn end(&mut self, troubles: &mut Troubles, sink: &mut dyn FnMut(Item)) {
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (node_id, open) in open {
            troubles.tell(self.line, format!("{} has no end", cut(&node_id, 80)));
            let ended = Attempt {
                status: "error",
                duration_ms: None,
                error: Some("pytest never said how it ended".to_owned()),
            };
            sink(Item::Case(case(&node_id, None, open.attempts, Some(ended))));
        }
    }

    fn take(&mut self, line: Line, troubles: &mut Troubles, sink: &mut dyn FnMut(Item)) {
        match line.report_type.as_deref() {
            Some("TestReport") => self.test(line, troubles, sink),
            Some("CollectReport") if line.outcome.as_deref() == Some("failed") => {
                // A file that cannot be imported has no tests; it is one that failed.
                let node_id = line.nodeid.clone().unwrap_or_default();
                let attempt = Attempt {
                    status: "error",
                    duration_ms: None,
                    error: error_of(line.longrepr.as_ref()),
                };
                let name = if node_id.is_empty() {
                    "collection"
                } else {
                    &node_id
                };
                sink(Item::Case(case(name, None, Vec::new(), Some(attempt))));
            }
            Some("SessionFinish") => {
                // https://docs.pytest.org/en/stable/reference/exit-codes.html
                sink(Item::Run(match line.exitstatus {
                    Some(0) => "passed",
                    Some(1) => "failed",
                    Some(2) => "cancelled",
                    Some(5) => "completed",
                    _ => "error",
                }));
            }
            Some("SessionStart" | "CollectReport" | "WarningMessage") => {}
            Some(other) => {
                let what = format!(
                    "$report_type \"{}\" is not known; passed over",
                    cut(other, 40)
                );
                troubles.tell(self.line, what);
            }
            None => troubles.tell(self.line, "there is no $report_type; passed over"),
        }
    }

    fn test(&mut self, line: Line, troubles: &mut Troubles, sink: &mut dyn FnMut(Item)) {
        let Some(node_id) = line.nodeid.as_deref() else {
            troubles.tell(self.line, "a test has no nodeid; passed over");
            return;
        };
        let is_new = !self.open.contains_key(node_id);
        let open = self.open.entry(node_id.to_owned()).or_default();
        let duration = line.duration.and_then(milliseconds).unwrap_or(0);
        open.duration_ms = open.duration_ms.saturating_add(duration);
        let when = line.when.as_deref().unwrap_or_default();
        let outcome = line.outcome.as_deref().unwrap_or_default();
        let status = match (outcome, when) {
            ("passed", _) => None,
            ("skipped", _) => Some("skipped"),
            ("failed" | "rerun", "call") => Some("failed"),
            ("failed" | "rerun", _) => Some("error"),
            (other, _) => {
                let what = format!(
                    "outcome \"{}\" is not known; taken as error",
                    cut(other, 40)
                );
                troubles.tell(self.line, what);
                Some("error")
            }
        };
        let rank = |status: &str| {
            ["skipped", "failed", "error"]
                .iter()
                .position(|it| *it == status)
        };
        if let Some(status) = status
            && open
                .worst
                .as_ref()
                .is_none_or(|worst| rank(status) > rank(worst.status))
        {
            let expected = line.wasxfail.as_ref().and_then(Value::as_str);
            let expected = expected.map(|reason| format!("xfail: {reason}"));
            open.worst = Some(Attempt {
                status,
                duration_ms: None,
                error: expected.or_else(|| error_of(line.longrepr.as_ref())),
            });
        }
        let location = line.location.as_ref();
        // A crash of xdist's worker is told in one report that is of no phase.
        let is_last = when == "teardown" || !matches!(when, "setup" | "call");
        if outcome == "rerun" {
            let attempt = open.ended();
            open.attempts.push(attempt);
            open.is_rerun = true;
            sink(Item::Case(case(
                node_id,
                location,
                open.attempts.clone(),
                None,
            )));
        } else if is_last && std::mem::take(&mut open.is_rerun) {
            // Of the attempt that has ended.
            open.ended();
        } else if is_last {
            let attempt = open.ended();
            let before = std::mem::take(&mut open.attempts);
            self.open.remove(node_id);
            sink(Item::Case(case(node_id, location, before, Some(attempt))));
        } else if is_new {
            sink(Item::Case(case(node_id, location, Vec::new(), None)));
        }
    }
}

impl Open {
    /// How the attempt ended; the next begins anew.
    fn ended(&mut self) -> Attempt {
        let duration_ms = Some(std::mem::take(&mut self.duration_ms));
        let worst = self.worst.take();
        Attempt {
            duration_ms,
            ..worst.unwrap_or(Attempt {
                status: "passed",
                duration_ms: None,
                error: None,
            })
        }
    }
}

fn case(
    node_id: &str,
    location: Option<&(String, Option<u64>, String)>,
    before: Vec<Attempt>,
    last: Option<Attempt>,
) -> Case {
    let (file, name) = match node_id.split_once("::") {
        Some((file, name)) => (Some(file), name),
        None => (None, node_id),
    };
    let ended = last.is_some();
    let mut attempts = before;
    attempts.extend(last);
    Case {
        key: vec![node_id.to_owned()],
        name: named(name).unwrap_or_else(|| "(no name)".to_owned()),
        suite: file.and_then(named),
        file: location
            .map(|(file, ..)| file.as_str())
            .or(file)
            .and_then(named),
        line: location.and_then(|(_, line, _)| line.map(|line| line.saturating_add(1))),
        attempts,
        earlier: 0,
        ended,
    }
}

/// What pytest says of a failure: a text, or an object with the message of the crash.
fn error_of(longrepr: Option<&Value>) -> Option<String> {
    let longrepr = longrepr?;
    let text = match longrepr {
        Value::String(text) => text.clone(),
        // Where it was skipped: path, line, reason.
        Value::Array(parts) => parts.last()?.as_str()?.to_owned(),
        _ => {
            let message = longrepr.pointer("/reprcrash/message")?.as_str()?;
            let path = longrepr.pointer("/reprcrash/path").and_then(Value::as_str);
            let line = longrepr
                .pointer("/reprcrash/lineno")
                .and_then(Value::as_u64);
            match (path, line) {
                (Some(path), Some(line)) => format!("{message}\n{path}:{line}"),
                _ => message.to_owned(),
            }
        }
    };
    Some(cut(&text, MAX_ERROR_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(log: &str) -> (Vec<Item>, Troubles) {
        let (mut items, mut troubles) = (Vec::new(), Troubles::default());
        read(log.as_bytes(), &mut troubles, &mut |item| items.push(item)).unwrap();
        (items, troubles)
    }

    fn report(when: &str, outcome: &str) -> String {
        format!(
            r#"{{"$report_type":"TestReport","nodeid":"a.py::t","when":"{when}","outcome":"{outcome}","duration":0.5}}"#
        )
    }

    fn statuses(item: &Item) -> (Vec<&'static str>, bool) {
        let Item::Case(case) = item else {
            panic!("{item:?}")
        };
        let statuses = case.attempts.iter().map(|attempt| attempt.status);
        (statuses.collect(), case.ended)
    }

    #[test]
    fn a_rerun_is_an_attempt_and_its_teardown_no_end() {
        let log = [
            report("setup", "passed"),
            report("call", "rerun"),
            report("teardown", "passed"),
            report("setup", "passed"),
            report("call", "passed"),
            report("teardown", "passed"),
        ];
        let (items, _) = items(&log.join("\n"));
        let seen: Vec<_> = items.iter().map(statuses).collect();
        assert_eq!(
            seen,
            [
                (vec![], false),
                (vec!["failed"], false),
                (vec!["failed", "passed"], true)
            ]
        );
    }

    #[test]
    fn the_worst_phase_counts() {
        for (call, teardown, status) in [
            ("passed", "failed", "error"),
            ("failed", "passed", "failed"),
            ("skipped", "passed", "skipped"),
        ] {
            let log = [
                report("setup", "passed"),
                report("call", call),
                report("teardown", teardown),
            ];
            let (items, _) = items(&log.join("\n"));
            assert_eq!(statuses(&items[1]), (vec![status], true));
        }
    }

    #[test]
    fn a_test_without_an_end_is_told() {
        let (items, troubles) = items(&report("setup", "passed"));
        assert_eq!(statuses(&items[1]), (vec!["error"], true));
        assert_eq!(troubles.told[0].what, "a.py::t has no end");
    }
}
