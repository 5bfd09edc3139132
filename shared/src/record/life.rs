//! The life of an execution: what one update does to it. ARCHITECTURE.md has it as a table.

use super::{
    Rejection, Rules,
    execution::Execution,
    fields::{amend, clear, fill, lay, say_duration},
};
use crate::{
    execution::{Attempt, JobState, State, Status, TestState, Timestamp, common},
    update::{MAX_ATTEMPT, Patch, Report, Update},
};

/// How many earlier attempts a state tells of.
const MAX_EARLIER: usize = 20;

/// How much of an earlier attempt's error it tells, in bytes.
const MAX_EARLIER_ERROR_BYTES: usize = 500;

impl Execution {
    /// Lays an update over the execution. Returns whether that is an event; its number is given by
    /// [`Execution::advance`].
    pub(super) fn take(&mut self, update: &Update, rules: &Rules) -> Result<bool, Rejection> {
        let current = *common!(&self.state, attempt);
        let named = update.attempt.unwrap_or(current);
        if self.is_reported() && named < current {
            return Err(Rejection::EarlierAttempt { named, current });
        }
        let is_event = match update.report {
            Report::Alive if !self.is_reported() => return Err(Rejection::NeverReported),
            Report::Alive if named > current => return Err(Rejection::NotOpened(named)),
            Report::Alive if !self.is_open() => return Err(self.ended()),
            Report::Alive => {
                self.set_timeout(update);
                self.hear(rules.now)
            }
            Report::Status(status) => {
                if !self.is_reported() {
                    *common!(&mut self.state, attempt) = named;
                } else if named > current {
                    self.open(named);
                }
                self.report(update, status, rules)?
            }
        };
        if self.is_open() {
            self.schedule(rules.stalled_after);
        }
        Ok(is_event)
    }

    /// A status of the present attempt.
    fn report(
        &mut self,
        update: &Update,
        status: Status,
        rules: &Rules,
    ) -> Result<bool, Rejection> {
        let reporter = self.reporter(update);
        if !self.is_open() || reporter.status.is_terminal() {
            return self.repeat(update, status, reporter.status, rules);
        }
        self.set_timeout(update);
        let was_stale = self.hear(rules.now);
        let said_before = update.occurred_at.zip(reporter.said_at);
        let is_older = said_before.is_some_and(|(now, before)| now < before);
        if is_older && !status.is_terminal() {
            // Of several machines, one was late: what it adds counts, what it says anew does not.
            return Ok(self.fill(update, status) || was_stale);
        }
        let occurred_at = update.occurred_at.unwrap_or(rules.now);
        self.occurred(occurred_at);
        let standing = self.stand(update, status, occurred_at);
        lay(&mut self.state, update);
        self.settle(update, status, standing, occurred_at);
        if standing.is_terminal() {
            self.conclude(update, rules.now);
        }
        Ok(true)
    }

    /// Who reports: the execution itself, or one of its shards.
    fn reporter(&self, update: &Update) -> Reporter {
        let shard = update.shard.filter(|_| matches!(self.state, State::Job(_)));
        match shard {
            Some(shard) => {
                let known = self.private.shards.of(shard.index);
                Reporter {
                    status: known.map_or(Status::Waiting, |shard| shard.status),
                    said_at: known.and_then(|shard| shard.said_at),
                }
            }
            None => Reporter {
                status: self.state.status(),
                said_at: self.private.said_at,
            },
        }
    }

    /// A report after the end: the same status may add what is absent.
    fn repeat(
        &mut self,
        update: &Update,
        status: Status,
        ended_as: Status,
        rules: &Rules,
    ) -> Result<bool, Rejection> {
        let is_given_up = self.private.given_up_after.is_some();
        let is_repeat = status == ended_as || status == self.state.status();
        if is_given_up || !is_repeat || !status.is_terminal() {
            return Err(self.ended_for(update, ended_as));
        }
        if !amend(&mut self.state, update) {
            return Err(Rejection::NothingNew(status));
        }
        if self.is_open() {
            self.hear(rules.now);
        }
        self.occurred(update.occurred_at.unwrap_or(rules.now));
        Ok(true)
    }

    /// Notes how the reporter stands. Returns how the execution stands by that.
    fn stand(&mut self, update: &Update, status: Status, occurred_at: Timestamp) -> Status {
        let running = self.state.status() == Status::Running;
        let (State::Job(job), Some(shard)) = (&mut self.state, update.shard) else {
            self.private.said_at = update.occurred_at.or(self.private.said_at);
            return status;
        };
        let shards = &mut self.private.shards;
        shards.note(shard, update, status, occurred_at);
        job.shards = Some(shards.counts());
        if let Some(progress) = shards.progress() {
            job.progress = Some(progress);
        }
        shards.status(running)
    }

    /// What follows from the status, once the update's fields are laid over the state. `reported` is
    /// the update's own, which differs where it is a shard's.
    fn settle(&mut self, update: &Update, reported: Status, status: Status, at: Timestamp) {
        *common!(&mut self.state, status) = status;
        if reported == Status::Running {
            let started_at = common!(&mut self.state, started_at).get_or_insert(at);
            if update.shard.is_some() {
                *started_at = at.min(*started_at);
            }
        }
        if !status.is_terminal() {
            return;
        }
        let last_end = self.private.shards.last_end();
        self.complete(last_end.map_or(at, |last_end| last_end.max(at)));
        if let (Patch::Set(duration_ms), None) = (&update.fields.duration_ms, update.shard) {
            *common!(&mut self.state, duration_ms) = Some(*duration_ms);
        }
        say_duration(&mut self.state);
        if status == Status::Passed && !says_error(update) {
            *self.error_mut() = None;
        }
        let failed_before = common!(&self.state, attempts)
            .iter()
            .any(|attempt| matches!(attempt.status, Status::Failed | Status::Error));
        let is_well = matches!(status, Status::Passed | Status::Completed);
        *common!(&mut self.state, flaky) = is_well && (failed_before || update.says_flaky);
    }

    /// What follows from a terminal status: the end, or the next attempt.
    fn conclude(&mut self, update: &Update, now: Timestamp) {
        let attempt = *common!(&self.state, attempt);
        if update.will_retry && update.shard.is_none() && attempt < MAX_ATTEMPT {
            self.open(attempt + 1);
        } else {
            self.close(now);
        }
    }

    /// Ends the present attempt and opens another: what belonged to it begins anew.
    fn open(&mut self, attempt: u32) {
        let status = self.state.status();
        let ended = Attempt {
            attempt: *common!(&self.state, attempt),
            // Nobody will hear of its end any more.
            status: if status.is_terminal() {
                status
            } else {
                Status::Cancelled
            },
            duration_ms: *common!(&self.state, duration_ms),
            error: self.error_mut().as_deref().map(first_line),
        };
        let attempts = common!(&mut self.state, attempts);
        attempts.push(ended);
        let surplus = attempts.len().saturating_sub(MAX_EARLIER);
        attempts.drain(..surplus);
        *common!(&mut self.state, attempt) = attempt;
        *common!(&mut self.state, status) = Status::Waiting;
        *common!(&mut self.state, flaky) = false;
        *common!(&mut self.state, stale) = false;
        clear(&mut self.state);
        self.ended_at = None;
        let private = std::mem::take(&mut self.private);
        self.private.heard_at = private.heard_at;
        self.private.timeout_seconds = private.timeout_seconds;
    }

    /// Adds what a late update knows and the state does not.
    fn fill(&mut self, update: &Update, status: Status) -> bool {
        let mut is_new = fill(&mut self.state, update);
        let started_at = common!(&mut self.state, started_at);
        if status == Status::Running && started_at.is_none() {
            *started_at = update.occurred_at;
            is_new = true;
        }
        is_new
    }

    fn set_timeout(&mut self, update: &Update) {
        match update.timeout_seconds {
            Patch::Keep => return,
            Patch::Clear => self.private.timeout_seconds = None,
            Patch::Set(seconds) => self.private.timeout_seconds = Some(seconds),
        }
        // From now on: what was to be looked at by the former one is looked at by this.
        self.look_at = None;
    }

    fn ended(&self) -> Rejection {
        match self.private.given_up_after {
            Some(seconds) => Rejection::GivenUp(seconds),
            None => Rejection::AlreadyEnded(self.state.status()),
        }
    }

    fn ended_for(&self, update: &Update, ended_as: Status) -> Rejection {
        match update.shard {
            Some(shard) if self.is_open() => Rejection::ShardEnded {
                index: shard.index,
                status: ended_as,
            },
            _ => self.ended(),
        }
    }
}

struct Reporter {
    status: Status,
    said_at: Option<Timestamp>,
}

fn says_error(update: &Update) -> bool {
    let said = [&update.fields.error, &update.fields.error_details];
    said.into_iter().any(|said| matches!(said, Patch::Set(_)))
}

/// The first line of an error, not too much of it.
fn first_line(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let end = line.floor_char_boundary(MAX_EARLIER_ERROR_BYTES);
    line.get(..end).unwrap_or_default().to_owned()
}
