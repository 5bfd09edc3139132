//! What a batch of updates does to the executions it names, without any I/O: the log locks the
//! rows, this decides, the log writes.

use std::collections::{BTreeMap, HashSet};

use thiserror::Error;

use crate::{
    execution::{Event, Id, Kind, Seq, State, Status, Timestamp, duration_in_words},
    update::Update,
};

/// An execution as the log has it. `seq` 0: nobody has reported it yet.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Whose it is; binding once it was reported.
    pub organization_id: Id,
    /// Where in the organization it is.
    pub project_id: Id,
    /// The job run that a test is part of.
    pub run_id: Option<Id>,
    /// Its last event's number in its project.
    pub project_seq: Seq,
    /// Its whole state.
    pub state: State,
}

/// What became of one update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log now.
    Accepted,
    /// Its `eventId` was in the log already.
    Duplicate,
    /// It can never succeed.
    Rejected(Rejection),
}

/// Why a valid update can never succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The execution has another owner.
    #[error("the execution belongs to another organization or project")]
    NotTheirs,
    /// The job run that the test names has another owner.
    #[error("the job run that it names belongs to another organization or project")]
    RunNotTheirs,
    /// The first terminal status is final.
    #[error("the execution has already ended; its first terminal status is final")]
    AlreadyEnded,
}

/// Executions by kind and id.
pub type Executions = BTreeMap<(Kind, Id), Execution>;

/// Which events the log has: kind, id and event id.
pub type KnownEvents = HashSet<(Kind, Id, String)>;

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

/// Applies `updates` in order to `executions`, which holds every one that they name and the job
/// runs of their tests. Returns the new events, in order, and an outcome for each update.
pub fn apply(
    updates: &[Update],
    executions: &mut Executions,
    known: &mut KnownEvents,
    now: Timestamp,
) -> (Vec<NewEvent>, Vec<Outcome>) {
    let mut events = Vec::with_capacity(updates.len());
    let mut apply = |update| apply_one(update, executions, known, now, &mut events);
    let outcomes = updates
        .iter()
        .map(|update| apply(update).unwrap_or_else(Outcome::Rejected))
        .collect();
    (events, outcomes)
}

fn apply_one(
    update: &Update,
    executions: &mut Executions,
    known: &mut KnownEvents,
    now: Timestamp,
    events: &mut Vec<NewEvent>,
) -> Result<Outcome, Rejection> {
    let key = (update.kind, update.id.clone());
    let mut execution = executions
        .get(&key)
        .cloned()
        .unwrap_or_else(|| Execution::unreported(update));
    let before = execution.reported_status();
    execution.claim(update).ok_or(Rejection::NotTheirs)?;
    let event_key = (update.kind, update.id.clone(), update.event_id.clone());
    if known.contains(&event_key) {
        return Ok(Outcome::Duplicate);
    }
    if execution.state.status().is_terminal() {
        return Err(Rejection::AlreadyEnded);
    }
    // As its run has counted it: a test may be reported before anyone says of which run it is.
    let counted = before.filter(|_| execution.run_id.is_some());
    if update.kind == Kind::Test && execution.run_id.is_none() {
        execution.run_id.clone_from(&update.run_id);
    }
    let occurred_at = update.occurred_at.unwrap_or(now);
    execution.merge(update, occurred_at);

    let run = execution.run_id.clone().map(|id| (Kind::Job, id));
    let run = run.filter(|_| counted != Some(update.status));
    let mut run = run.map(|key| {
        let run = executions.get(&key).cloned();
        let run = run.unwrap_or_else(|| Execution::unreported_run(update, key.1.clone()));
        (key, run)
    });
    if let Some((_, run)) = &mut run {
        run.claim(update).ok_or(Rejection::RunNotTheirs)?;
    }

    events.push(execution.event(update.event_id.clone(), occurred_at));
    executions.insert(key, execution);
    if let Some((key, mut run)) = run {
        if run.count_test(counted, update.status, occurred_at) {
            // No producer's own: theirs have no space.
            let event_id = format!("test {} {}", update.id, update.event_id);
            events.push(run.event(event_id, occurred_at));
        }
        executions.insert(key, run);
    }
    known.insert(event_key);
    Ok(Outcome::Accepted)
}

impl Execution {
    fn unreported(update: &Update) -> Self {
        Execution {
            organization_id: update.organization_id.clone(),
            project_id: update.project_id.clone(),
            run_id: None,
            project_seq: Seq::ZERO,
            state: State::unreported(update.kind, update.id.clone()),
        }
    }

    fn unreported_run(update: &Update, run_id: Id) -> Self {
        Execution {
            state: State::unreported(Kind::Job, run_id),
            ..Self::unreported(update)
        }
    }

    fn reported_status(&self) -> Option<Status> {
        (self.state.seq() > Seq::ZERO).then(|| self.state.status())
    }

    /// Checks that the execution is the sender's; one that nobody has reported becomes it.
    fn claim(&mut self, update: &Update) -> Option<()> {
        if self.reported_status().is_none() {
            self.organization_id.clone_from(&update.organization_id);
            self.project_id.clone_from(&update.project_id);
        }
        let same =
            self.organization_id == update.organization_id && self.project_id == update.project_id;
        same.then_some(())
    }

    /// Lays an update over the state: what it leaves out stays as it was.
    fn merge(&mut self, update: &Update, occurred_at: Timestamp) {
        /// The fields that both kinds have.
        macro_rules! merge_common {
            ($state:expr) => {{
                $state.status = update.status;
                $state.seq = $state.seq.next();
                $state.occurred_at = Some(occurred_at);
                keep(&mut $state.progress, update.progress.as_ref());
                keep(&mut $state.started_at, update.started_at.as_ref());
                keep(&mut $state.completed_at, update.completed_at.as_ref());
                if update.status == Status::Running {
                    $state.started_at.get_or_insert(occurred_at);
                }
                if update.status.is_terminal() {
                    $state.completed_at.get_or_insert(occurred_at);
                }
                let measured = $state.started_at.zip($state.completed_at);
                let measured = measured.map(|(start, end)| (end.0 - start.0).num_milliseconds());
                let measured = measured.and_then(|span| u64::try_from(span).ok());
                keep(
                    &mut $state.duration_ms,
                    update.duration_ms.or(measured).as_ref(),
                );
                $state.duration = $state.duration_ms.map(duration_in_words);
            }};
        }
        match &mut self.state {
            State::Job(job) => {
                merge_common!(job);
                keep(&mut job.job_id, update.job_id.as_ref());
                keep(&mut job.error_details, update.error_details.as_ref());
                keep(&mut job.artifact_paths, update.artifact_paths.as_ref());
            }
            State::Test(test) => {
                merge_common!(test);
                keep(&mut test.report_path, update.report_path.as_ref());
                keep(&mut test.s3_url, update.s3_url.as_ref());
                keep(&mut test.error, update.error.as_ref());
            }
        }
    }

    /// Counts a test's change of status. Returns whether that is an event of this run: a run that
    /// has ended has none any more, but its counts stay right for who comes later.
    fn count_test(&mut self, before: Option<Status>, after: Status, at: Timestamp) -> bool {
        let State::Job(job) = &mut self.state else {
            return false;
        };
        let mut tests = job.tests.unwrap_or_default();
        tests.shift(before, after);
        job.tests = Some(tests);
        if job.status.is_terminal() {
            return false;
        }
        job.seq = job.seq.next();
        job.occurred_at = Some(at);
        true
    }

    fn event(&self, event_id: String, occurred_at: Timestamp) -> NewEvent {
        NewEvent {
            event_id,
            occurred_at,
            event: self.last_event(),
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
            status: self.state.status(),
            data: self.state.to_json(),
            published_at: None,
        }
    }
}

fn keep<T: Clone>(old: &mut Option<T>, new: Option<&T>) {
    if let Some(new) = new {
        *old = Some(new.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(json: &str) -> Update {
        let owner = r#""organizationId":"o","projectId":"p","#;
        Update::parse(&format!("{{{owner}{}", &json[1..])).unwrap()
    }

    fn record(executions: &mut Executions, updates: &[Update]) -> (Vec<NewEvent>, Vec<Outcome>) {
        let now = serde_json::from_str("\"2026-01-31T12:00:00Z\"").unwrap();
        apply(updates, executions, &mut KnownEvents::new(), now)
    }

    #[test]
    fn the_first_terminal_status_is_final() {
        let updates = [
            update(r#"{"eventId":"1","kind":"test","id":"t","status":"passed"}"#),
            update(r#"{"eventId":"2","kind":"test","id":"t","status":"running"}"#),
            update(r#"{"eventId":"3","kind":"test","id":"t","status":"failed"}"#),
        ];
        let (events, outcomes) = record(&mut Executions::new(), &updates);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].event.status, Status::Passed);
        let ended = Outcome::Rejected(Rejection::AlreadyEnded);
        assert_eq!(outcomes, [Outcome::Accepted, ended.clone(), ended]);
    }

    #[test]
    fn the_same_event_twice_in_a_batch_is_one() {
        let once = update(r#"{"eventId":"1","kind":"test","id":"t","status":"running"}"#);
        let (events, outcomes) = record(&mut Executions::new(), &[once.clone(), once]);
        assert_eq!(events.len(), 1);
        assert_eq!(outcomes, [Outcome::Accepted, Outcome::Duplicate]);
    }

    #[test]
    fn what_an_update_leaves_out_stays_as_it_was() {
        let updates = [
            update(
                r#"{"eventId":"1","kind":"job","id":"r","status":"running","jobId":"j","occurredAt":"2026-01-31T11:00:00Z","progress":{"completed":1}}"#,
            ),
            update(
                r#"{"eventId":"2","kind":"job","id":"r","status":"passed","occurredAt":"2026-01-31T11:01:05Z"}"#,
            ),
        ];
        let (events, _) = record(&mut Executions::new(), &updates);
        let state: serde_json::Value = serde_json::from_str(&events[1].event.data).unwrap();
        assert_eq!(state["jobId"], "j");
        assert_eq!(state["progress"]["completed"], 1);
        assert_eq!(state["startedAt"], "2026-01-31T11:00:00.000Z");
        assert_eq!(state["duration"], "1m 5s");
    }

    #[test]
    fn nobody_guesses_when_an_execution_began_that_was_not_seen_running() {
        let ended = r#"{"eventId":"1","kind":"job","id":"r","status":"passed"}"#;
        let (events, _) = record(&mut Executions::new(), &[update(ended)]);
        let state: serde_json::Value = serde_json::from_str(&events[0].event.data).unwrap();
        assert!(state["startedAt"].is_null() && state["durationMs"].is_null());
        assert_eq!(state["completedAt"], "2026-01-31T12:00:00.000Z");
    }

    #[test]
    fn a_tests_change_of_status_is_an_event_of_its_run() {
        let updates = [
            update(r#"{"eventId":"1","kind":"test","id":"a","status":"running","runId":"r"}"#),
            update(r#"{"eventId":"2","kind":"test","id":"a","status":"running"}"#),
            update(r#"{"eventId":"3","kind":"test","id":"b","status":"waiting","runId":"r"}"#),
            update(r#"{"eventId":"4","kind":"test","id":"a","status":"passed"}"#),
            update(r#"{"eventId":"5","kind":"job","id":"r","status":"completed"}"#),
            update(r#"{"eventId":"6","kind":"test","id":"b","status":"failed"}"#),
        ];
        let mut executions = Executions::new();
        let (events, outcomes) = record(&mut executions, &updates);
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted));
        let runs: Vec<_> = events
            .iter()
            .filter(|new| new.event.kind == Kind::Job)
            .map(|new| (new.event.seq.0, new.event.status))
            .collect();
        let (waiting, completed) = (Status::Waiting, Status::Completed);
        assert_eq!(
            runs,
            [(1, waiting), (2, waiting), (3, waiting), (4, completed)]
        );
        let State::Job(run) = &executions[&(Kind::Job, "r".parse().unwrap())].state else {
            panic!("a job run");
        };
        let tests = run.tests.unwrap();
        assert_eq!((tests.total, tests.passed, tests.failed), (2, 1, 1));
    }

    #[test]
    fn a_test_that_joins_its_run_late_is_counted_whole() {
        let updates = [
            update(r#"{"eventId":"1","kind":"test","id":"a","status":"running"}"#),
            update(r#"{"eventId":"2","kind":"test","id":"a","status":"running","runId":"r"}"#),
            update(r#"{"eventId":"3","kind":"test","id":"a","status":"passed"}"#),
        ];
        let mut executions = Executions::new();
        let (events, _) = record(&mut executions, &updates);
        assert_eq!(events.len(), 5, "both later ones are events of the run");
        let State::Job(run) = &executions[&(Kind::Job, "r".parse().unwrap())].state else {
            panic!("a job run");
        };
        let tests = run.tests.unwrap();
        assert_eq!((tests.total, tests.running, tests.passed), (1, 0, 1));
    }

    #[test]
    fn a_test_cannot_join_anothers_run_with_a_status_that_it_has() {
        let mut executions = Executions::new();
        let mut run = update(r#"{"eventId":"1","kind":"job","id":"r","status":"running"}"#);
        run.organization_id = "x".parse().unwrap();
        let updates = [
            run,
            update(r#"{"eventId":"2","kind":"test","id":"a","status":"running"}"#),
            update(r#"{"eventId":"3","kind":"test","id":"a","status":"running","runId":"r"}"#),
            update(r#"{"eventId":"4","kind":"test","id":"a","status":"passed"}"#),
        ];
        let (_, outcomes) = record(&mut executions, &updates);
        let not_theirs = Outcome::Rejected(Rejection::RunNotTheirs);
        assert_eq!(outcomes[2..], [not_theirs, Outcome::Accepted]);
    }

    #[test]
    fn no_producers_event_id_is_that_of_a_tests_event_of_its_run() {
        let updates = [
            update(r#"{"eventId":"test:a:1","kind":"job","id":"r","status":"running"}"#),
            update(r#"{"eventId":"1","kind":"test","id":"a","status":"passed","runId":"r"}"#),
        ];
        let (events, _) = record(&mut Executions::new(), &updates);
        assert_eq!(events.len(), 3);
        let names: HashSet<_> = events
            .iter()
            .map(|new| (new.event.kind, &new.event_id))
            .collect();
        assert_eq!(names.len(), 3, "the log would refuse one name twice");
    }

    #[test]
    fn another_projects_execution_is_refused() {
        let mut executions = Executions::new();
        let first = update(r#"{"eventId":"1","kind":"job","id":"r","status":"running"}"#);
        let mut theirs = first.clone();
        theirs.event_id = "2".to_owned();
        theirs.project_id = "q".parse().unwrap();
        let mut test = theirs.clone();
        (test.kind, test.run_id) = (Kind::Test, Some(test.id.clone()));
        // Nor is anything told of its events.
        let mut guessed = theirs.clone();
        guessed.event_id = "1".to_owned();
        let (_, outcomes) = record(&mut executions, &[first, theirs, test, guessed]);
        let not_theirs = Outcome::Rejected(Rejection::NotTheirs);
        assert_eq!(outcomes[1], not_theirs);
        assert_eq!(outcomes[2], Outcome::Rejected(Rejection::RunNotTheirs));
        assert_eq!(outcomes[3], not_theirs);
        assert_eq!(executions.len(), 1);
    }
}
