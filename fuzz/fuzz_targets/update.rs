//! Whatever a producer sends, the worker accepts or refuses it, and the log stays right: numbers
//! without holes, no event twice, counts that are a recount, and every event can be read again.
//!
//! An input is the payload of an invocation.

#![no_main]

use std::collections::{BTreeMap, HashSet};

use libfuzzer_sys::fuzz_target;
use shared::{
    execution::{Counted, Event, Key, Seq, State, TestCounts},
    log::Answer,
    message,
    record::{self, Executions, KnownEvents, NewEvent, Outcome, Rejection, Rules},
    update::{MAX_ERROR_BYTES, Update},
    watch::Channel,
};

use crate::batch::Invocation;

#[path = "../../functions/worker/src/batch.rs"]
mod batch;

fuzz_target!(|data: &[u8]| {
    let Ok(payload) = str::from_utf8(data) else {
        return;
    };
    let batch = match Invocation::read(payload) {
        Ok(Invocation::Updates(batch)) => batch,
        Ok(Invocation::Outbox(outbox)) => {
            let again = serde_json::json!({"outbox": {
                "sink": outbox.sink, "changes": outbox.changes, "told": outbox.told,
            }});
            assert!(Invocation::read(&again.to_string()).is_ok());
            return;
        }
        Ok(Invocation::Sweep) | Err(_) => return,
    };
    let updates: Vec<Update> = batch
        .submissions
        .iter()
        .filter_map(|submission| submission.update.as_ref().ok().cloned())
        .collect();
    let rules = Rules {
        now: serde_json::from_str("\"2026-01-31T12:00:00Z\"").unwrap(),
        stalled_after: Some(3600),
    };
    let (mut executions, mut known) = (Executions::new(), KnownEvents::new());
    let (events, outcomes) = record::apply(&updates, &mut executions, &mut known, &rules);
    assert_eq!(outcomes.len(), updates.len());
    check_sequences(&events);
    for new in &events {
        check_event(&new.event);
    }
    check_counts(&executions, &updates);

    // All of it once more, as SQS would after a crash: what was an event is none again.
    let told: HashSet<_> = events.iter().map(|new| (new.event.key(), &new.event_id)).collect();
    let (_, twice) = record::apply(&updates, &mut executions, &mut known, &rules);
    for (update, second) in updates.iter().zip(&twice) {
        let was_told = told.contains(&(update.key(), &update.event_id));
        let is_of_other_project = matches!(second, Outcome::Rejected(Rejection::NotTheirs));
        assert!(!was_told || *second == Outcome::Duplicate || is_of_other_project);
    }
    check_counts(&executions, &updates);

    for submission in &batch.submissions {
        assert!(submission.warnings.len() <= 21);
    }
    let answers = vec![Some(Answer::Accepted); batch.submissions.len()];
    assert!(batch.answer(&answers).unwrap().is_object());
    let answers = vec![None; batch.submissions.len()];
    if let (Ok(failures), Some(groups)) = (batch.answer(&answers), batch.source.groups()) {
        let failures = failures["batchItemFailures"].as_array().unwrap();
        assert_eq!(failures.len(), groups.len());
    }
});

/// What the log's constraints ask for: one they refuse would come back for ever.
fn check_sequences(events: &[NewEvent]) {
    let mut heads: BTreeMap<Key, Seq> = BTreeMap::new();
    let mut names = HashSet::new();
    for new in events {
        let event = &new.event;
        assert!(
            names.insert((event.key(), &new.event_id)),
            "one id twice: {}",
            new.event_id
        );
        let before = heads.insert(event.key(), event.seq).unwrap_or(Seq::ZERO);
        assert_eq!(event.seq, before.next(), "a hole");
    }
}

/// An event is read again as what it was, from the log and from Redis.
fn check_event(event: &Event) {
    assert!(!event.data.contains(['\r', '\n', '\0']));
    let state: State = serde_json::from_str(&event.data).unwrap();
    assert_eq!(state.to_json(), event.data);
    let said = (state.kind(), state.id(), state.seq(), state.status());
    assert_eq!(said, (event.kind, &event.id, event.seq, event.status));
    let longest = match &state {
        State::Job(job) => job.error_details.as_ref(),
        State::Test(test) => test.error.as_ref(),
    };
    assert!(longest.is_none_or(|text| text.len() < MAX_ERROR_BYTES + 64));
    // As the log numbers it.
    let event = Event {
        project_seq: Seq(7),
        ..event.clone()
    };
    for channel in Channel::of_event(&event) {
        let message = message::write(&event, &channel);
        let read = message::read(&channel, message.as_bytes()).expect("our own message");
        assert_eq!(read.data, event.data);
        assert_eq!(read.project_id, event.project_id);
    }
}

/// A run's counts are those of the tests that name it.
fn check_counts(executions: &Executions, updates: &[Update]) {
    let runs = executions
        .iter()
        .filter_map(|(key, execution)| match &execution.state {
            State::Job(job) => Some((key, job.tests)),
            State::Test(_) => None,
        });
    for (run, counted) in runs {
        let mut expected: Option<TestCounts> = None;
        for execution in executions.values() {
            if execution.run_key().as_ref() == Some(run) {
                let flaky = matches!(&execution.state, State::Test(test) if test.flaky);
                let status = execution.state.status();
                let counted = Counted { status, flaky };
                expected.get_or_insert_default().shift(None, counted);
            }
        }
        assert_eq!(counted, expected, "{run:?}: {updates:?}");
    }
}
