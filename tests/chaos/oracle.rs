//! What must hold when a wave is over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::execution::Kind;

use crate::{
    findings::{Fault, Findings},
    lives::Expected,
    producer::Lived,
    record::{Logged, Record},
    seen::Seen,
    watcher::{Asked, Watched},
    wave::Name,
};

/// Why an update may come too late where others end the execution.
const TOO_LATE: [&str; 3] = ["already ended as", "it was given up", "is over"];

/// How much two clocks of one machine may differ, in milliseconds.
const CLOCKS: i64 = 50;

/// The log against itself: numbers without a hole, the last event is the state, and the counts of
/// runs are a recount.
pub(crate) fn judge_record(record: &Record, findings: &mut Findings) {
    let mut recounts: BTreeMap<(&str, &str), Value> = BTreeMap::new();
    let mut numbers: BTreeMap<(&str, Kind), Vec<u64>> = BTreeMap::new();
    let mut numbers_of_runs: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for (name, logged) in &record.executions {
        let of_project = numbers.entry((name.organization, name.kind)).or_default();
        of_project.extend(logged.events.iter().map(|event| event.project_seq));
        let seqs = logged.events.iter().map(|event| event.seq);
        if !seqs.eq(1..=logged.seq) {
            findings.find(Fault::Lost, format!("{name:?}: the log has a hole"));
        }
        let last = logged.events.last().map(|event| &event.state);
        if last != Some(&logged.state) || logged.state["status"] != logged.status {
            let state = &logged.state;
            findings.find(Fault::Stale, format!("{name:?}: {last:?}, and {state}"));
        }
        is_own(name, &logged.state, findings);
        if let Some(run) = &logged.run_id {
            let of_run = numbers_of_runs.entry((name.organization, run)).or_default();
            of_run.extend(logged.events.iter().filter_map(|event| event.run_seq));
            let recount = recounts
                .entry((name.organization, run))
                .or_insert_with(none);
            add(recount, "total");
            add(recount, &logged.status);
            if logged.state["flaky"] == true {
                add(recount, "flaky");
            }
        }
    }
    for (name, logged) in &record.executions {
        let recount = recounts.get(&(name.organization, name.id.as_str()));
        if name.kind == Kind::Job && recount.unwrap_or(&Value::Null) != &logged.state["tests"] {
            let what = format!("{name:?}: {recount:?} of {}", logged.state);
            findings.find(Fault::Miscounted, what);
        }
        let of_run = numbers_of_runs.get_mut(&(name.organization, name.id.as_str()));
        if let (Kind::Job, Some(of_run)) = (name.kind, of_run) {
            of_run.sort_unstable();
            if !of_run.iter().copied().eq(1..=logged.run_seq) {
                findings.find(Fault::Lost, format!("{name:?}: a hole in the run"));
            }
        }
    }
    for ((organization, kind), mut numbers) in numbers {
        numbers.sort_unstable();
        if !numbers
            .into_iter()
            .eq(1..=record.heads[&(organization, kind)])
        {
            findings.find(
                Fault::Lost,
                format!("{organization} {kind}: a hole in the project"),
            );
        }
    }
}

fn none() -> Value {
    json!({
        "total": 0, "waiting": 0, "running": 0, "completed": 0, "passed": 0, "failed": 0,
        "error": 0, "cancelled": 0, "skipped": 0, "flaky": 0,
    })
}

fn add(recount: &mut Value, name: &str) {
    recount[name] = json!(recount[name].as_u64().unwrap() + 1);
}

/// A life against the log: what was taken is there, and what was rejected is not.
pub(crate) fn judge_life(lived: &Lived, logged: &Logged, findings: &mut Findings) {
    let name = &lived.life.name;
    let ids = logged.events.iter().map(|event| event.event_id.as_str());
    let mut theirs: BTreeSet<_> = ids.filter(|id| !id.contains(' ')).collect();
    for told in &lived.told {
        let is_there = theirs.remove(told.event_id.as_str());
        let what = |why: &str| format!("{name:?} {}: {why}", told.event_id);
        match (&told.rejection, told.expected) {
            (None, Expected::Event) if !is_there => findings.find(Fault::Lost, what("not there")),
            (None, Expected::Rejection) => findings.find(Fault::Misjudged, what("taken")),
            (None, _) => {}
            (Some(reason), expected) => {
                let is_late = TOO_LATE.iter().any(|late| reason.contains(late));
                let may_be = expected == Expected::Rejection || !lived.life.is_undisturbed;
                if is_there || !is_late || !may_be {
                    findings.find(Fault::Misjudged, what(reason));
                }
            }
        }
    }
    for id in theirs {
        findings.find(Fault::Misjudged, format!("{name:?} {id}: nobody sent it"));
    }
    given_up_in_time(lived, logged, findings);
}

/// Only what was silent for twice as long as it may be is given up.
fn given_up_in_time(lived: &Lived, logged: &Logged, findings: &mut Findings) {
    let given_up = |id: &str| id.starts_with("given up");
    for event in logged
        .events
        .iter()
        .filter(|event| given_up(&event.event_id))
    {
        let silence = i64::from(2 * lived.life.timeout.unwrap_or_default()) * 1_000;
        for (sent_at, answered_at) in lived.told.iter().filter_map(|told| told.heard.as_ref()) {
            let since = (event.recorded_at.0 - sent_at.0).num_milliseconds();
            let is_before = answered_at.0 < event.recorded_at.0;
            if is_before && since + CLOCKS < silence {
                let what = format!("{:?}: {since} ms of {silence}", lived.life.name);
                findings.find(Fault::Untimely, what);
            }
        }
    }
}

/// A viewer against the log. Returns how many executions it has seen.
pub(crate) fn judge_viewer(watched: &Watched, record: &Record, findings: &mut Findings) -> u64 {
    let (organization, kind) = (watched.organization, watched.kind);
    let name = |id: &String| Name {
        organization,
        kind,
        id: id.clone(),
    };
    let seen = &watched.seen;
    for (id, states) in seen.before.iter().flat_map(|before| &before.states) {
        let name = name(id);
        match record.executions.get(&name) {
            Some(logged) => judge_states(&name, states, logged, findings),
            None => findings.find(Fault::Foreign, format!("{name:?} is in no log")),
        }
        let (last, next) = (states.last(), seen.states.get(id).map(|states| &states[0]));
        let is_older =
            next.is_some_and(|next| next["seq"].as_u64() < last.unwrap()["seq"].as_u64());
        if is_older {
            findings.find(Fault::Stale, format!("{name:?}: {next:?} after {last:?}"));
        }
    }
    for (id, states) in &seen.states {
        let name = name(id);
        let Some(logged) = record.executions.get(&name) else {
            findings.find(Fault::Foreign, format!("{name:?} is in no log"));
            continue;
        };
        judge_states(&name, states, logged, findings);
        let last = states.last().map(|state| &state["seq"]);
        if watched.is_up_to_date && last != Some(&json!(logged.seq)) {
            let what = format!("{name:?}: {last:?} of {} {:?}", logged.seq, watched.asked);
            findings.find(Fault::Stale, what);
        }
    }
    match &watched.asked {
        Asked::Executions(ids) => judge_end(ids, seen, findings),
        Asked::Run(run) => judge_run(run, watched, record, findings),
        Asked::Project(_) => judge_project(watched, record, findings),
    }
    u64::try_from(seen.states.len()).unwrap()
}

/// States in order, each once, none left out, none that the log does not have.
fn judge_states(name: &Name, states: &[Value], logged: &Logged, findings: &mut Findings) {
    let mut before: Option<u64> = None;
    for state in states {
        is_own(name, state, findings);
        let seq = state["seq"].as_u64().unwrap();
        let fault = match before {
            // That nobody has reported it yet, is said again.
            Some(0) if seq == 0 => None,
            Some(before) if seq == before => Some(Fault::Doubled),
            Some(before) if seq < before => Some(Fault::Disordered),
            Some(before) if seq > before + 1 => Some(Fault::Lost),
            _ => None,
        };
        if let Some(fault) = fault {
            findings.find(fault, format!("{name:?}: {seq} after {before:?}"));
        }
        before = Some(seq);
        let event = logged.events.iter().find(|event| event.seq == seq);
        if seq > 0 && event.map(|event| &event.state) != Some(state) {
            findings.find(Fault::Altered, format!("{name:?}: {state}"));
        }
    }
}

/// A state says itself whose it is.
fn is_own(name: &Name, state: &Value, findings: &mut Findings) {
    let of = &state["labels"]["organization"];
    if !of.is_null() && of != name.organization {
        findings.find(Fault::Foreign, format!("{name:?}: {state}"));
    }
}

/// A stream that said that all is over was right, and had told everything up to its cursor.
fn judge_end(ids: &[String], seen: &Seen, findings: &mut Findings) {
    let positions = seen.positions();
    for (index, id) in ids.iter().enumerate() {
        let last = seen.states.get(id).and_then(|states| states.last());
        let is_over = last.is_some_and(|last| {
            last["status"] != "waiting"
                && last["status"] != "running"
                && last["seq"].as_u64() == positions.get(index).copied()
        });
        if !is_over {
            findings.find(
                Fault::Lost,
                format!("{id}: {last:?} is no end of {positions:?}"),
            );
        }
    }
}

/// A run's stream leaves nothing out from where it began to where it ended.
fn judge_run(run: &String, watched: &Watched, record: &Record, findings: &mut Findings) {
    let numbers = &watched.seen.numbers;
    if !numbers.is_sorted_by(|before, after| before + 1 == *after) {
        findings.find(Fault::Disordered, format!("the run {run}: {numbers:?}"));
    }
    let (began_at, ended_at) = (numbers.first(), numbers.last());
    for (name, logged) in &record.executions {
        if name.organization != watched.organization || logged.run_id.as_ref() != Some(run) {
            continue;
        }
        let states = watched.seen.states.get(&name.id);
        let seq = |state: Option<&Value>| state.and_then(|state| state["seq"].as_u64());
        let first = seq(states.and_then(|states| states.first()));
        let last = seq(states.and_then(|states| states.last()));
        for event in &logged.events {
            let is_told = event.run_seq.is_none()
                || event.run_seq.as_ref() <= began_at
                || event.run_seq.as_ref() > ended_at
                || (first..=last).contains(&Some(event.seq));
            if !is_told {
                let what = format!("{name:?} {}: {first:?} to {last:?}", event.seq);
                findings.find(Fault::Lost, what);
            }
        }
    }
}

/// A project's stream leaves nothing out from where it began.
fn judge_project(watched: &Watched, record: &Record, findings: &mut Findings) {
    let numbers = &watched.seen.numbers;
    if !numbers.is_sorted_by(|before, after| before + 1 == *after) {
        findings.find(Fault::Disordered, format!("a project: {numbers:?}"));
    }
    let began_at = numbers.first().copied().unwrap_or_default();
    for (name, logged) in &record.executions {
        if (name.organization, name.kind) != (watched.organization, watched.kind) {
            continue;
        }
        let states = watched.seen.states.get(&name.id);
        let first = states.map(|states| states[0]["seq"].as_u64().unwrap());
        let mut later = logged
            .events
            .iter()
            .filter(|event| event.project_seq > began_at);
        let is_told = later
            .next()
            .is_none_or(|event| first.is_some_and(|first| first <= event.seq));
        if !is_told {
            findings.find(Fault::Lost, format!("{name:?} after {began_at}: {first:?}"));
        }
    }
}
