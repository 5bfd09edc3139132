//! What producers send, read.

mod lenient;
mod limits;
mod property;
mod strict;

use super::*;

const JOB: &str = r#"{"eventId":"e1","kind":"job","id":"r1","organizationId":"o","projectId":"p","status":"passed"}"#;

fn now() -> Timestamp {
    serde_json::from_str("\"2026-11-27T12:00:00Z\"").unwrap()
}

/// A valid update of this kind with one more member, or another one in place of what it had.
fn with(kind: &str, name: &str, json: &str) -> String {
    JOB.replace("\"job\"", &format!("\"{kind}\""))
        .replace('}', &format!(",\"{name}\":{json}}}"))
}

fn read(json: &str) -> (Update, Vec<Warning>) {
    let read = Update::parse(json, now());
    read.unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// The one warning of an update.
fn warning(kind: &str, name: &str, json: &str) -> (Update, Warning) {
    let (update, mut warnings) = read(&with(kind, name, json));
    assert_eq!(warnings.len(), 1, "{name}: {json}: {warnings:?}");
    (update, warnings.remove(0))
}

/// Reads a member of which nothing is warned.
fn taken(kind: &str, name: &str, json: &str) -> Update {
    let (update, warnings) = read(&with(kind, name, json));
    assert_eq!(warnings, [], "{name}: {json}");
    update
}
