//! What a batch of updates does to the executions it names, without any I/O: the log locks the
//! rows, this decides, the log writes.

mod execution;
mod fields;
mod life;
mod shards;
mod sweep;

use std::collections::{BTreeMap, HashSet};

use thiserror::Error;

pub use self::{
    execution::{Execution, Private},
    sweep::{Swept, sweep},
};
use crate::{
    execution::{
        Counted, Event, Id, JobState, Key, Kind, State, Status, TestState, Timestamp, TraceParent,
        common,
    },
    update::Update,
};

/// What became of one update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It counts, and is in the log now where it says anything new.
    Accepted,
    /// Its `eventId` was in the log already.
    Duplicate,
    /// It can never succeed.
    Rejected(Rejection),
}

/// Why a valid update can never succeed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The execution is in another project.
    #[error("the execution belongs to another project of the organization")]
    NotTheirs,
    /// The job run that the test names is in another project.
    #[error("the job run that it names belongs to another project of the organization")]
    RunNotTheirs,
    /// The test belongs to another run.
    #[error(
        "the test belongs to the run {first}, which it named first, not to {now}; give each run's \
         test an id of its own, such as {now}_{test}"
    )]
    OtherRun {
        /// The test.
        test: Id,
        /// Its run.
        first: Id,
        /// What the update names.
        now: Id,
    },
    /// The first terminal status of an attempt is final.
    #[error(
        "it has already ended as {}; the first terminal status of an attempt is final, a higher \
         attempt opens it again", .0.as_str()
    )]
    AlreadyEnded(Status),
    /// The same of a shard of a run that goes on.
    #[error("its shard {index} has already ended as {}; its first terminal status is final", .status.as_str())]
    ShardEnded {
        /// Which one.
        index: u32,
        /// How it ended.
        status: Status,
    },
    /// The end is told again, and nothing with it.
    #[error("it has already ended as {}, and this adds nothing", .0.as_str())]
    NothingNew(Status),
    /// The sweep ended it.
    #[error(
        "it was given up, as nothing was heard of it for {0} s; a higher attempt opens it again"
    )]
    GivenUp(u32),
    /// It is of an attempt that is over.
    #[error("attempt {named} is over: the execution is in attempt {current}")]
    EarlierAttempt {
        /// What the update names.
        named: u32,
        /// The present one.
        current: u32,
    },
    /// A sign of life of something unknown.
    #[error("nobody has reported it yet: a sign of life counts after a status")]
    NeverReported,
    /// A sign of life of an attempt that no status has opened.
    #[error("attempt {0} has not begun: a sign of life counts after a status of it")]
    NotOpened(u32),
}

/// What updates are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The present.
    pub now: Timestamp,
    /// For how many seconds a running execution may be silent whose producer says nothing of it.
    pub stalled_after: Option<u32>,
}

/// Executions by name.
pub type Executions = BTreeMap<Key, Execution>;

/// Which events the log has.
pub type KnownEvents = HashSet<(Key, String)>;

/// An event to be written, with the id that makes it one.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What makes the same event sent twice one.
    pub event_id: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The event; its `project_seq` is given by the log.
    pub event: Event,
}

/// Applies `updates` in order to `executions`, which holds every one that they name, the job runs of
/// their tests, and the open tests of runs that they may end. Returns the new events, in order, and
/// an outcome for each update.
pub fn apply(
    updates: &[Update],
    executions: &mut Executions,
    known: &mut KnownEvents,
    rules: &Rules,
) -> (Vec<NewEvent>, Vec<Outcome>) {
    let mut record = Record {
        executions,
        rules,
        events: Vec::with_capacity(updates.len()),
        untold: BTreeMap::new(),
        traceparent: None,
    };
    let mut apply = |update| record.apply(update, known);
    let outcomes = updates
        .iter()
        .map(|update| apply(update).unwrap_or_else(Outcome::Rejected))
        .collect();
    record.end_stragglers();
    record.tell_runs();
    (record.events, outcomes)
}

/// A batch at work.
struct Record<'a> {
    executions: &'a mut Executions,
    rules: &'a Rules,
    events: Vec<NewEvent>,
    /// Runs of whose tests something is new: which change was the last, when, and of which trace.
    untold: BTreeMap<Key, (String, Timestamp, Option<TraceParent>)>,
    /// Of which trace that is which is being told.
    traceparent: Option<TraceParent>,
}

impl Record<'_> {
    fn apply(&mut self, update: &Update, known: &mut KnownEvents) -> Result<Outcome, Rejection> {
        // What its tests did before, is told before.
        self.tell_run(&update.key());
        let traceparent = update.traceparent.as_ref();
        self.traceparent = traceparent.filter(|it| it.is_sampled()).cloned();
        let mut execution = match self.executions.get(&update.key()) {
            Some(execution) => execution.clone(),
            None => Execution::unreported(update),
        };
        execution.claim(update).ok_or(Rejection::NotTheirs)?;
        let event_key = (execution.key(), update.event_id.clone());
        if known.contains(&event_key) {
            return Ok(Outcome::Duplicate);
        }
        // As its run has counted it: a test may be reported before anyone says of which run it is.
        let is_counted = execution.is_reported() && execution.state.run_id().is_some();
        let counted = is_counted.then(|| execution.counted());
        let has_joined = execution.join(update)?;
        let mut run = match execution.run_key() {
            Some(key) => Some(self.run_of(update, key)?),
            None => None,
        };
        let is_event = match execution.take(update, self.rules) {
            Err(Rejection::NothingNew(_)) if has_joined => true,
            taken => taken? || has_joined,
        };

        let occurred_at = update.occurred_at.unwrap_or(self.rules.now);
        if execution.ends_its_tests() {
            self.end_tests(&mut execution);
        }
        if is_event {
            execution.advance(self.rules.stalled_after);
            if let Some(run) = &mut run {
                execution.follow(run);
            }
            self.tell(&execution, update.event_id.clone(), occurred_at);
            known.insert(event_key);
        }
        if let Some(run) = &mut run {
            let was_stale = run.is_open() && run.hear(self.rules.now);
            if run.is_open() {
                run.schedule(self.rules.stalled_after);
            }
            self.count(run, counted, &execution, was_stale);
        }
        for execution in [Some(execution), run].into_iter().flatten() {
            self.executions.insert(execution.key(), execution);
        }
        Ok(Outcome::Accepted)
    }

    /// The run of a test.
    fn run_of(&self, update: &Update, key: Key) -> Result<Execution, Rejection> {
        let mut run = match self.executions.get(&key) {
            Some(run) => run.clone(),
            None => Execution::unreported_as(update, Kind::Job, key.id),
        };
        run.claim(update).ok_or(Rejection::RunNotTheirs)?;
        Ok(run)
    }

    /// Counts how a test stands; where that, or anything else, is new, it is an event of its run: one for
    /// all of a batch, since each holds the run's whole state.
    fn count(
        &mut self,
        run: &mut Execution,
        counted: Option<Counted>,
        test: &Execution,
        is_event: bool,
    ) {
        let after = test.counted();
        let is_counted = test.is_reported() && counted != Some(after);
        if is_counted {
            run.count(counted, after);
        }
        if !is_counted && !is_event {
            return;
        }
        let occurred_at = common!(&test.state, occurred_at).unwrap_or(self.rules.now);
        run.occurred(occurred_at);
        let cause = format!("of {} {}", test.state.id(), test.state.seq());
        let cause = (cause, occurred_at, self.traceparent.clone());
        self.untold.insert(run.key(), cause);
    }

    /// Tells of the runs whose tests changed, unless something else told of them since.
    fn tell_runs(&mut self) {
        while let Some(key) = self.untold.keys().next().cloned() {
            self.tell_run(&key);
        }
    }

    /// The same of one run.
    fn tell_run(&mut self, key: &Key) {
        let Some((cause, occurred_at, traceparent)) = self.untold.remove(key) else {
            return;
        };
        self.traceparent = traceparent;
        let Some(mut run) = self.executions.get(key).cloned() else {
            return;
        };
        run.advance(self.rules.stalled_after);
        // No producer's own: theirs have no space.
        let event_id = format!("{cause} {}", run.state.seq());
        self.tell(&run, event_id, occurred_at);
        self.executions.insert(key.clone(), run);
    }

    /// Ends the tests of a run that has been cancelled, or broke, and counts them.
    fn end_tests(&mut self, run: &mut Execution) -> bool {
        let run_key = run.key();
        let is_its = |test: &&mut Execution| {
            test.is_reported() && test.is_open() && test.run_key().as_ref() == Some(&run_key)
        };
        let mut ended = Vec::new();
        for test in self.executions.values_mut().filter(is_its) {
            let counted = test.counted();
            test.end(Status::Cancelled, None, self.rules.now);
            test.advance(self.rules.stalled_after);
            test.follow(run);
            run.count(Some(counted), test.counted());
            ended.push(NewEvent::of(
                test,
                format!("with its run {}", test.state.seq()),
                self.rules.now,
                self.traceparent.as_ref(),
            ));
        }
        let any = !ended.is_empty();
        self.events.extend(ended);
        any
    }

    /// Ends tests that came to a run after it had taken its tests along, or that another worker had
    /// locked then.
    fn end_stragglers(&mut self) {
        self.traceparent = None;
        let runs: Vec<Key> = self
            .executions
            .values()
            .filter(|run| run.ends_its_tests())
            .map(Execution::key)
            .collect();
        for key in runs {
            let Some(mut run) = self.executions.get(&key).cloned() else {
                continue;
            };
            if self.end_tests(&mut run) {
                run.advance(self.rules.stalled_after);
                run.occurred(self.rules.now);
                let event_id = format!("with its tests {}", run.state.seq());
                self.tell(&run, event_id, self.rules.now);
                self.executions.insert(key, run);
            }
        }
    }

    fn tell(&mut self, execution: &Execution, event_id: String, occurred_at: Timestamp) {
        self.untold.remove(&execution.key());
        let traceparent = self.traceparent.as_ref();
        self.events
            .push(NewEvent::of(execution, event_id, occurred_at, traceparent));
    }
}

impl NewEvent {
    fn of(
        execution: &Execution,
        event_id: String,
        occurred_at: Timestamp,
        traceparent: Option<&TraceParent>,
    ) -> Self {
        NewEvent {
            event_id,
            occurred_at,
            event: Event {
                traceparent: traceparent.cloned(),
                ..execution.last_event()
            },
        }
    }
}

impl Execution {
    /// Checks that the execution is in the sender's project; one that nobody has reported becomes its.
    fn claim(&mut self, update: &Update) -> Option<()> {
        if !self.is_reported() {
            self.project_id.clone_from(&update.project_id);
        }
        (self.project_id == update.project_id).then_some(())
    }

    /// Makes a test part of the run that it names. Returns whether it was not before.
    fn join(&mut self, update: &Update) -> Result<bool, Rejection> {
        let (State::Test(test), Some(named)) = (&mut self.state, &update.run_id) else {
            return Ok(false);
        };
        match &test.run_id {
            Some(first) if first == named => Ok(false),
            Some(first) => Err(Rejection::OtherRun {
                test: test.test_id.clone(),
                first: first.clone(),
                now: named.clone(),
            }),
            None => {
                test.run_id = Some(named.clone());
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests;
