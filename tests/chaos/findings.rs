//! What a run of the test found, and what it went through.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    ops::AddAssign,
};

use crate::{producer::Lived, record::Record};

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// An event that the log, or a viewer, does not have.
    Lost,
    Doubled,
    Disordered,
    /// What has not ended: a viewer, or an execution past its deadline.
    Stuck,
    /// A last state that is not the last.
    Stale,
    /// A state of another organization.
    Foreign,
    /// A state that is not the log's.
    Altered,
    /// Counts that differ from a recount.
    Miscounted,
    /// Given up, and yet it was heard of.
    Untimely,
    /// Taken or rejected, and it should not have been.
    Misjudged,
}

const FAULTS: [(Fault, &str); 10] = [
    (Fault::Lost, "lost"),
    (Fault::Doubled, "doubled"),
    (Fault::Disordered, "disordered"),
    (Fault::Stuck, "stuck"),
    (Fault::Stale, "stale"),
    (Fault::Foreign, "foreign"),
    (Fault::Altered, "altered"),
    (Fault::Miscounted, "miscounted"),
    (Fault::Untimely, "untimely"),
    (Fault::Misjudged, "misjudged"),
];

/// How much of what was found is told.
const TOLD: usize = 30;

/// What was found.
#[derive(Clone, Default)]
pub(crate) struct Findings {
    counts: BTreeMap<Fault, u64>,
    told: Vec<String>,
}

impl Findings {
    pub(crate) fn find(&mut self, fault: Fault, what: impl Display) {
        *self.counts.entry(fault).or_default() += 1;
        if self.told.len() < TOLD {
            self.told.push(format!("{fault:?}: {what}"));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// What it was, one a line.
    pub(crate) fn told(&self) -> String {
        self.told.join("\n")
    }
}

/// What happened.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    /// Of them, of executions that had gone silent: stale, given up.
    pub(crate) silences: u64,
    /// Executions that were opened again.
    pub(crate) retried: u64,
    /// Tests that ended with their run.
    pub(crate) taken_along: u64,
    pub(crate) rejected: u64,
    pub(crate) stream_executions: u64,
    pub(crate) connections: u64,
    pub(crate) faults: u64,
    pub(crate) findings: Findings,
}

impl Tally {
    /// Counts what a wave's log has, and what was rejected.
    pub(crate) fn count(&mut self, record: &Record, lived: &[Lived]) {
        for logged in record.executions.values() {
            let attempts = logged.state["attempts"].as_array().map_or(0, Vec::len);
            self.retried += u64::from(attempts > 0);
            for event in &logged.events {
                self.events += 1;
                let is_of = |prefix| u64::from(event.event_id.starts_with(prefix));
                self.silences += is_of("stale ") + is_of("given up ");
                self.taken_along += is_of("with its run ");
            }
        }
        let told = lived.iter().flat_map(|lived| &lived.told);
        let rejected = told.filter(|told| told.rejection.is_some()).count();
        self.rejected += u64::try_from(rejected).unwrap();
    }
}

impl AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Tally) {
        self.events += other.events;
        self.silences += other.silences;
        self.retried += other.retried;
        self.taken_along += other.taken_along;
        self.rejected += other.rejected;
        self.stream_executions += other.stream_executions;
        self.connections += other.connections;
        self.faults += other.faults;
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events ({} of silence, {} retried, {} with their run), {} late updates rejected, \
             {} stream-executions, {} connections, {} faults;",
            self.events,
            self.silences,
            self.retried,
            self.taken_along,
            self.rejected,
            self.stream_executions,
            self.connections,
            self.faults
        )?;
        for (index, (fault, word)) in FAULTS.iter().enumerate() {
            let count = self.findings.counts.get(fault).copied().unwrap_or_default();
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma} {count} {word}")?;
        }
        Ok(())
    }
}
