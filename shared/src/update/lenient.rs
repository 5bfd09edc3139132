//! Reading members that may be wrong: each is taken, or left out with a warning.

use serde_json::Value;

use super::{Patch, Report, Shard, members::Members, time, value, warnings::Warnings};
use crate::execution::{Id, Kind, Timestamp};

/// What is said of JSON that cannot be held.
const HELD: &str = "a number is at most 1.8e308, and lists and objects nest at most 127 deep";

/// The members of an update, and what is told of those that could not be read.
pub(super) struct Lenient<'a> {
    members: &'a Members<'a>,
    now: Timestamp,
    pub(super) warnings: Warnings,
}

impl<'a> Lenient<'a> {
    pub(super) fn new(members: &'a Members<'a>, now: Timestamp) -> Self {
        Lenient {
            members,
            now,
            warnings: Warnings::default(),
        }
    }

    /// A member of which `null` says no more than its absence.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value) -> value::Read<T>,
    ) -> Option<T> {
        self.patch(name, read).set()
    }

    /// A member that `null` clears.
    pub(super) fn patch<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value) -> value::Read<T>,
    ) -> Patch<T> {
        self.patch_with(name, |value, warnings| match read(value) {
            Ok(value) => Some(value),
            Err(taken) => {
                warnings.left_out(name, value, taken);
                None
            }
        })
    }

    /// The same where the value may be taken in part: whoever reads it, warns.
    pub(super) fn patch_with<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value, &mut Warnings) -> Option<T>,
    ) -> Patch<T> {
        let value = match self.members.value(name) {
            None => return Patch::Keep,
            Some(Ok(value)) => value,
            Some(Err(text)) => {
                self.warnings.left_out(name, text, HELD);
                return Patch::Keep;
            }
        };
        match value {
            Value::Null => Patch::Clear,
            Value::String(text) if text.trim().is_empty() => Patch::Keep,
            value => read(&value, &mut self.warnings).map_or(Patch::Keep, Patch::Set),
        }
    }

    pub(super) fn time(&mut self, name: &'static str) -> Patch<Timestamp> {
        let now = self.now;
        self.patch_with(name, |value, warnings| {
            time::time(name, value, now, warnings)
        })
    }

    /// Any JSON, as its text: an error's form must not cost its words.
    pub(super) fn error(&mut self, name: &'static str) -> Patch<String> {
        match self.members.value(name) {
            Some(Err(text)) => Patch::Set(super::text::error(text.to_owned())),
            _ => self.patch(name, |value| Ok(super::text::error_of(value))),
        }
    }

    /// Warns of a member that executions of this kind do not have.
    pub(super) fn foreign(&mut self, name: &'static str, taken: &str) {
        self.patch_with(name, |value, warnings| {
            warnings.left_out(name, value, taken);
            None::<()>
        });
    }

    pub(super) fn will_retry(&mut self, report: Report) -> bool {
        let ends = matches!(report, Report::Status(status) if status.is_terminal());
        let will_retry = self.optional("willRetry", value::truth) == Some(true);
        if will_retry && !ends {
            let taken = "an attempt that has not ended cannot be followed by another: send it beside \
                         completed, passed, failed, error, cancelled or skipped";
            self.warnings.left_out("willRetry", true, taken);
        }
        will_retry && ends
    }

    pub(super) fn shard(&mut self, kind: Kind) -> Option<Shard> {
        match kind {
            Kind::Job => self.optional("shard", value::shard),
            Kind::Test => {
                self.foreign("shard", "a test has no shards, only a job has");
                None
            }
        }
    }

    pub(super) fn run_id(&mut self, kind: Kind, id: &Id) -> Option<Id> {
        match kind {
            Kind::Test => self.optional("runId", value::id),
            Kind::Job => {
                // Its own id by another name is no mistake.
                if self.members.string("runId").as_deref() != Some(id.as_str()) {
                    let taken = "a job's runId is its id, and only a test names another";
                    self.foreign("runId", taken);
                }
                None
            }
        }
    }

    pub(super) fn occurred_at(&mut self) -> Option<Timestamp> {
        self.time("occurredAt").set()
    }

    pub(super) fn id(&mut self, name: &'static str) -> Patch<Id> {
        self.patch(name, value::id)
    }
}
