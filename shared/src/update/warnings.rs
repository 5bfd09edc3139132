//! What is told of values that were left out.

use std::fmt::Display;

use super::Warning;

/// How many are told of one update.
const MAX_WARNINGS: usize = 20;

/// How much of a value is quoted, in characters.
const MAX_QUOTED: usize = 40;

/// The warnings of one update.
#[derive(Default)]
pub(super) struct Warnings {
    told: Vec<Warning>,
    /// How many more there are, and the first one's field.
    more: Option<(String, usize)>,
}

impl Warnings {
    /// A value that is left out, with what is taken instead.
    pub(super) fn left_out(&mut self, field: impl Display, came: impl Display, taken: &str) {
        self.changed(field, came, &format!("{taken}; left out"));
    }

    /// A value that is not kept as it came: why, and what was done.
    pub(super) fn changed(&mut self, field: impl Display, came: impl Display, done: &str) {
        if self.told.len() < MAX_WARNINGS {
            self.told.push(Warning {
                field: field.to_string(),
                reason: format!("{} came; {done}", quoted(came)),
            });
        } else if let Some((_, more)) = &mut self.more {
            *more += 1;
        } else {
            self.more = Some((field.to_string(), 1));
        }
    }

    /// All of them, or the first ones and how many more there are.
    pub(super) fn told(mut self) -> Vec<Warning> {
        self.told.extend(self.more.map(|(field, more)| Warning {
            field,
            reason: format!("and {more} more"),
        }));
        self.told
    }
}

/// A value on one line, cut.
pub(super) fn quoted(came: impl Display) -> String {
    let came = came.to_string();
    let mut characters = came.chars();
    let mut quoted: String = characters
        .by_ref()
        .take(MAX_QUOTED)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if characters.next().is_some() {
        quoted.push('…');
    }
    quoted
}
