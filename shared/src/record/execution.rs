//! An execution as the log has it.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Rules, fields::say_duration, shards::Shards};
use crate::{
    execution::{
        Counted, Event, Id, JobState, Key, Kind, Seq, State, Status, TestState, Timestamp, common,
    },
    update::Update,
};

/// An execution as the log has it. `seq` 0: nobody has reported it yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// Whose it is.
    pub organization_id: Id,
    /// Where in the organization it is; binding once it was reported.
    pub project_id: Id,
    /// Its last event's number in its project.
    pub project_seq: Seq,
    /// Of a test: its last event's number among those of its run's tests. Of a run: the last such
    /// number that was given.
    pub run_seq: Seq,
    /// Its whole state.
    pub state: State,
    /// When it ended; `None` while it has not.
    pub ended_at: Option<Timestamp>,
    /// When the sweep looks whether it is still heard of. Not later than it becomes stale, and not
    /// moved by each sign of life, which would cost an index's entry every time.
    pub look_at: Option<Timestamp>,
    /// What the worker knows of it, and nobody is told.
    pub private: Private,
}

/// What the worker knows of an execution, and nobody is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Private {
    /// When it was heard of last, by the worker's clock.
    pub heard_at: Option<Timestamp>,
    /// For how long it may be silent, where its producer says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// When its last status occurred, where its producer said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said_at: Option<Timestamp>,
    /// For how many seconds nothing had been heard when it was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up_after: Option<u32>,
    /// How its shards stand.
    #[serde(skip_serializing_if = "Shards::is_empty")]
    pub shards: Shards,
}

/// How long nothing was heard of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Not for too long.
    Short,
    /// For longer than it may be.
    Stale,
    /// For twice as long, in seconds.
    Dead(u32),
}

impl Private {
    /// As the log keeps it.
    #[must_use]
    #[expect(clippy::expect_used, reason = "numbers and times always encode")]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("it encodes")
    }
}

impl Execution {
    /// An execution that nobody has reported yet, in the place that the update names.
    pub(super) fn unreported(update: &Update) -> Self {
        Self::unreported_as(update, update.kind, update.id.clone())
    }

    /// The same for the run of a test.
    pub(super) fn unreported_as(update: &Update, kind: Kind, id: Id) -> Self {
        Execution {
            organization_id: update.organization_id.clone(),
            project_id: update.project_id.clone(),
            project_seq: Seq::ZERO,
            run_seq: Seq::ZERO,
            state: State::unreported(kind, id),
            ended_at: None,
            look_at: None,
            private: Private::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn key(&self) -> Key {
        Key {
            kind: self.state.kind(),
            id: self.state.id().clone(),
            organization_id: self.organization_id.clone(),
        }
    }

    /// The name of the run that a test is part of.
    #[must_use]
    pub fn run_key(&self) -> Option<Key> {
        let id = self.state.run_id()?.clone();
        Some(Key {
            kind: Kind::Job,
            id,
            organization_id: self.organization_id.clone(),
        })
    }

    pub(super) fn is_reported(&self) -> bool {
        self.state.seq() > Seq::ZERO
    }

    pub(super) fn is_open(&self) -> bool {
        !self.state.status().is_terminal()
    }

    /// Whether it is a run that takes its tests along: it was cancelled, or broke.
    pub(super) fn ends_its_tests(&self) -> bool {
        matches!(self.state, State::Job(_))
            && matches!(self.state.status(), Status::Cancelled | Status::Error)
    }

    /// What its run counts of it.
    pub(super) fn counted(&self) -> Counted {
        Counted {
            status: self.state.status(),
            flaky: *common!(&self.state, flaky),
        }
    }

    /// Counts a change of one of its tests.
    pub(super) fn count(&mut self, before: Option<Counted>, after: Counted) {
        if let State::Job(job) = &mut self.state {
            job.tests.get_or_insert_default().shift(before, after);
        }
    }

    /// The next event begins: whatever changed is in it, and when it would count as dead.
    pub(super) fn advance(&mut self, stalled_after: Option<u32>) {
        let deadline_at = self.due(2, stalled_after);
        *common!(&mut self.state, deadline_at) = deadline_at;
        let seq = common!(&mut self.state, seq);
        *seq = seq.next();
    }

    /// Its new event is the next one of its run's tests.
    pub(super) fn follow(&mut self, run: &mut Execution) {
        run.run_seq = run.run_seq.next();
        self.run_seq = run.run_seq;
    }

    pub(super) fn occurred(&mut self, at: Timestamp) {
        *common!(&mut self.state, occurred_at) = Some(at);
    }

    /// Notes a sign of life. Returns whether it was thought to be stale.
    pub(super) fn hear(&mut self, now: Timestamp) -> bool {
        self.private.heard_at = Some(now);
        std::mem::take(common!(&mut self.state, stale))
    }

    /// For how long it may be silent, in seconds; `None` where it has no deadline. A queue may hold
    /// what waits for days, and nothing is wrong.
    fn timeout(&self, stalled_after: Option<u32>) -> Option<u32> {
        let running = self.state.status() == Status::Running;
        let by_default = stalled_after.filter(|_| running);
        let timeout = self.private.timeout_seconds.or(by_default);
        timeout.filter(|_| self.is_open())
    }

    /// When it will have been silent for so many times as long as it may be.
    pub(super) fn due(&self, times: u32, stalled_after: Option<u32>) -> Option<Timestamp> {
        let timeout = self.timeout(stalled_after)?;
        let span = TimeDelta::seconds(i64::from(timeout) * i64::from(times));
        Some(self.private.heard_at?.after(span))
    }

    /// Sees to it that the sweep looks at it in time.
    pub(super) fn schedule(&mut self, stalled_after: Option<u32>) {
        let times = if *common!(&self.state, stale) { 2 } else { 1 };
        let due = self.due(times, stalled_after);
        self.look_at = match (self.look_at, due) {
            (Some(look_at), Some(due)) => Some(look_at.min(due)),
            (_, due) => due,
        };
    }

    /// Whether it was silent for so long that the sweep ends it.
    #[must_use]
    pub fn is_dead(&self, rules: &Rules) -> bool {
        matches!(
            self.silence(rules.now, rules.stalled_after),
            Silence::Dead(_)
        )
    }

    pub(super) fn silence(&self, now: Timestamp, stalled_after: Option<u32>) -> Silence {
        let is_past = |times| self.due(times, stalled_after).is_some_and(|due| due <= now);
        if is_past(2) {
            let timeout = self.timeout(stalled_after).unwrap_or_default();
            Silence::Dead(timeout.saturating_mul(2))
        } else if is_past(1) {
            Silence::Stale
        } else {
            Silence::Short
        }
    }

    /// Ends it from without: its run was cancelled, or nothing was heard of it.
    pub(super) fn end(&mut self, status: Status, why: Option<String>, now: Timestamp) {
        *common!(&mut self.state, status) = status;
        if let Some(why) = why {
            *self.error_mut() = Some(why);
        }
        self.complete(now);
        self.close(now);
        self.occurred(now);
    }

    /// What follows from a status that is terminal now.
    pub(super) fn close(&mut self, now: Timestamp) {
        *common!(&mut self.state, stale) = false;
        self.look_at = None;
        self.ended_at = Some(now);
    }

    /// Completes it, not before it started.
    pub(super) fn complete(&mut self, at: Timestamp) {
        let started_at = *common!(&self.state, started_at);
        let at = started_at.map_or(at, |started_at| at.max(started_at));
        common!(&mut self.state, completed_at).get_or_insert(at);
        self.measure();
    }

    /// How long it took, where that is known: never less than nothing.
    pub(super) fn measure(&mut self) {
        let started_at = *common!(&self.state, started_at);
        let span = started_at.zip(*common!(&self.state, completed_at));
        let span = span.map(|(start, end)| (end.0 - start.0).num_milliseconds());
        let duration_ms = common!(&mut self.state, duration_ms);
        if let Some(span) = span {
            *duration_ms = Some(u64::try_from(span).unwrap_or(0));
        }
        say_duration(&mut self.state);
    }

    pub(super) fn error_mut(&mut self) -> &mut Option<String> {
        match &mut self.state {
            State::Job(job) => &mut job.error_details,
            State::Test(test) => &mut test.error,
        }
    }

    /// The event that made the present state.
    #[must_use]
    pub fn last_event(&self) -> Event {
        Event {
            kind: self.state.kind(),
            id: self.state.id().clone(),
            organization_id: self.organization_id.clone(),
            project_id: self.project_id.clone(),
            seq: self.state.seq(),
            project_seq: self.project_seq,
            run_id: self.state.run_id().cloned(),
            run_seq: self.run_seq,
            epoch: 0,
            status: self.state.status(),
            open_tests: self.state.open_tests(),
            data: self.state.to_json(),
            traceparent: None,
            published_at: None,
        }
    }
}
