//! The results that test tools write: JUnit XML, CTRF and pytest-reportlog, read as they come, in bounded
//! memory.

// The fuzz target has this file by its path, too.
#[path = "results/clipped.rs"]
pub(crate) mod clipped;
#[path = "results/ctrf.rs"]
pub(crate) mod ctrf;
#[path = "results/junit.rs"]
pub(crate) mod junit;
#[path = "results/reportlog.rs"]
pub(crate) mod reportlog;

use std::io::BufRead;

/// How much of an error is kept, in bytes: as much as Runcast keeps.
pub(crate) const MAX_ERROR_BYTES: usize = 16 * 1024;

/// How much of a name is kept, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// How many things are told that were not understood.
const MAX_TOLD: usize = 20;

/// How far a test has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Case {
    /// What makes it another test than all others of its run.
    pub(crate) key: Vec<String>,
    pub(crate) name: String,
    pub(crate) suite: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u64>,
    /// Those that ended before, in order.
    pub(crate) attempts: Vec<Attempt>,
    /// How many ended before these, and were told of already.
    pub(crate) earlier: u32,
    /// Whether the last one ended; else another is running.
    pub(crate) ended: bool,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) status: &'static str,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) error: Option<String>,
}

/// What is read from a file.
#[derive(Debug, PartialEq)]
pub(crate) enum Item {
    Case(Case),
    /// The run itself: its status.
    Run(&'static str),
}

/// What is wrong with a file, or in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(crate) struct Trouble {
    pub(crate) line: u64,
    pub(crate) what: String,
}

/// What was not understood, and was left out.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) told: Vec<Trouble>,
    pub(crate) more: usize,
}

impl Troubles {
    pub(crate) fn tell(&mut self, line: u64, what: impl Into<String>) {
        if self.told.len() < MAX_TOLD {
            let what = what.into();
            self.told.push(Trouble { line, what });
        } else {
            self.more += 1;
        }
    }
}

/// The forms of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    JUnit,
    Ctrf,
    Reportlog,
    /// One update a line, as producers send them.
    Updates,
}

/// The form of a file, by how it begins.
pub(crate) fn form(beginning: &[u8]) -> Option<Form> {
    let text = String::from_utf8_lossy(beginning);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('<') {
        return Some(Form::JUnit);
    }
    if !text.starts_with('{') {
        return None;
    }
    let line = text.lines().next().unwrap_or_default();
    if line.contains("\"$report_type\"") || line.contains("\"pytest_version\"") {
        Some(Form::Reportlog)
    } else if line.contains("\"eventId\"") {
        Some(Form::Updates)
    } else {
        Some(Form::Ctrf)
    }
}

/// Reads a file to its end.
///
/// # Errors
/// Where it cannot be read any further.
pub(crate) fn read(
    form: Form,
    source: impl BufRead,
    troubles: &mut Troubles,
    sink: &mut dyn FnMut(Item),
) -> Result<(), Trouble> {
    match form {
        Form::JUnit => junit::read(source, troubles, sink),
        Form::Ctrf => ctrf::read(source, troubles, sink),
        Form::Reportlog => reportlog::read(source, troubles, sink),
        Form::Updates => Ok(()),
    }
}

/// Text of which no more is kept than is shown.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most);
    text.get(..end).unwrap_or_default().to_owned()
}

/// A name, cut.
pub(crate) fn named(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| cut(text, MAX_NAME_BYTES))
}

/// Milliseconds of seconds.
pub(crate) fn milliseconds(seconds: f64) -> Option<u64> {
    let span = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    let half = std::time::Duration::from_micros(500);
    u64::try_from(span.saturating_add(half).as_millis())
        .ok()
        .filter(|ms| *ms <= 1 << 53)
}
