//! A wave: which executions there are, the same in every organization.

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use shared::execution::{Kind, Timestamp};

use crate::lives::{Life, Script};

/// Job runs of an organization in a wave.
pub(crate) const RUNS: usize = 14;

/// Tests of an organization in a wave.
pub(crate) const TESTS: usize = 36;

/// What names an execution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) organization: &'static str,
    pub(crate) kind: Kind,
    pub(crate) id: String,
}

/// Where and how the lives of a wave are lived.
pub(crate) struct Wave {
    pub(crate) number: u32,
    pub(crate) project: String,
    pub(crate) began_at: Timestamp,
}

impl Wave {
    /// Every fourth has long lives.
    pub(crate) fn is_long(&self) -> bool {
        self.number.is_multiple_of(4)
    }

    /// The ids of a kind: every organization has all of them, and both kinds share some.
    pub(crate) fn ids(&self, kind: Kind) -> Vec<String> {
        let count = match kind {
            Kind::Job => RUNS,
            Kind::Test => TESTS,
        };
        let id = |number| format!("w{}-{number}", self.number);
        (0..count).map(id).collect()
    }

    /// The lives of an organization.
    pub(crate) fn lives(&self, organization: &'static str, random: &mut StdRng) -> Vec<Life> {
        let runs = self.ids(Kind::Job);
        let mut lives = Vec::new();
        for kind in [Kind::Job, Kind::Test] {
            for id in self.ids(kind) {
                let has_run = kind == Kind::Test && random.random_bool(0.85);
                let run = has_run.then(|| runs.choose(random).unwrap().clone());
                let name = Name {
                    organization,
                    kind,
                    id,
                };
                lives.push(Script::new(self, name, run, random).life());
            }
        }
        lives
    }
}
