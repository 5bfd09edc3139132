//! What an update says of an execution beside its status, and what becomes of the state by it.

use std::borrow::Cow;

use crate::{
    execution::{JobState, State, TestState, common, duration_in_words},
    update::{Fields, Patch, Update},
};

/// Does one thing to each value that an update may say, of either kind.
macro_rules! each {
    ($state:expr, $fields:expr, $do:expr) => {{
        let fields: &Fields = $fields;
        match $state {
            State::Job(job) => [
                $do(&mut job.name, &fields.name),
                $do(&mut job.url, &fields.url),
                $do(&mut job.labels, &fields.labels),
                $do(&mut job.progress, &fields.progress),
                $do(&mut job.started_at, &fields.started_at),
                $do(&mut job.completed_at, &fields.completed_at),
                $do(&mut job.duration_ms, &fields.duration_ms),
                $do(&mut job.job_id, &fields.job_id),
                $do(&mut job.rerun_of, &fields.rerun_of),
                $do(&mut job.error_details, &fields.error_details),
                $do(&mut job.artifact_paths, &fields.artifact_paths),
            ]
            .contains(&true),
            State::Test(test) => [
                $do(&mut test.name, &fields.name),
                $do(&mut test.url, &fields.url),
                $do(&mut test.labels, &fields.labels),
                $do(&mut test.progress, &fields.progress),
                $do(&mut test.started_at, &fields.started_at),
                $do(&mut test.completed_at, &fields.completed_at),
                $do(&mut test.duration_ms, &fields.duration_ms),
                $do(&mut test.suite, &fields.suite),
                $do(&mut test.file, &fields.file),
                $do(&mut test.line, &fields.line),
                $do(&mut test.report_path, &fields.report_path),
                $do(&mut test.s3_url, &fields.s3_url),
                $do(&mut test.error, &fields.error),
            ]
            .contains(&true),
        }
    }};
}

/// Lays what an update says over the state: what it leaves out stays, `null` clears.
pub(super) fn lay(state: &mut State, update: &Update) {
    let (fields, paths) = of_state(update);
    let _ = each!(state, &fields, replace);
    let _ = extend_paths(state, paths);
    say_duration(state);
}

/// Adds what is absent. Returns whether anything was.
pub(super) fn fill(state: &mut State, update: &Update) -> bool {
    let (fields, paths) = of_state(update);
    let is_new = each!(state, &fields, supply);
    let has_more = extend_paths(state, paths);
    say_duration(state);
    is_new || has_more
}

/// Adds what may come after the end. Returns whether anything did.
pub(super) fn amend(state: &mut State, update: &Update) -> bool {
    let (fields, _) = of_state(update);
    let is_new = match state {
        State::Job(job) => [
            supply(&mut job.url, &fields.url),
            supply(&mut job.duration_ms, &fields.duration_ms),
            supply(&mut job.error_details, &fields.error_details),
        ]
        .contains(&true),
        State::Test(test) => [
            supply(&mut test.url, &fields.url),
            supply(&mut test.duration_ms, &fields.duration_ms),
            supply(&mut test.error, &fields.error),
            supply(&mut test.report_path, &fields.report_path),
            supply(&mut test.s3_url, &fields.s3_url),
        ]
        .contains(&true),
    };
    let has_more = extend_paths(state, &update.fields.artifact_paths);
    say_duration(state);
    is_new || has_more
}

/// What an update says of the whole execution, and what it adds to its artifacts: where it is one
/// of several shards, its span and progress are not the run's, its artifacts are some of the run's.
fn of_state(update: &Update) -> (Cow<'_, Fields>, &Patch<Vec<String>>) {
    if update.shard.is_none() {
        return (Cow::Borrowed(&update.fields), &Patch::Keep);
    }
    let fields = Fields {
        progress: Patch::Keep,
        started_at: Patch::Keep,
        completed_at: Patch::Keep,
        duration_ms: Patch::Keep,
        artifact_paths: Patch::Keep,
        ..update.fields.clone()
    };
    (Cow::Owned(fields), &update.fields.artifact_paths)
}

/// Takes away what belonged to an attempt.
pub(super) fn clear(state: &mut State) {
    match state {
        State::Job(job) => {
            job.progress = None;
            job.shards = None;
            job.started_at = None;
            job.completed_at = None;
            job.duration_ms = None;
            job.error_details = None;
            job.artifact_paths = None;
        }
        State::Test(test) => {
            test.progress = None;
            test.started_at = None;
            test.completed_at = None;
            test.duration_ms = None;
            test.error = None;
            test.report_path = None;
            test.s3_url = None;
        }
    }
    say_duration(state);
}

/// Says in words how long it took.
pub(super) fn say_duration(state: &mut State) {
    let duration_ms = *common!(&mut *state, duration_ms);
    *common!(state, duration) = duration_ms.map(duration_in_words);
}

fn replace<T: Clone>(old: &mut Option<T>, new: &Patch<T>) -> bool {
    match new {
        Patch::Keep => return false,
        Patch::Clear => *old = None,
        Patch::Set(new) => *old = Some(new.clone()),
    }
    true
}

fn supply<T: Clone>(old: &mut Option<T>, new: &Patch<T>) -> bool {
    match new {
        Patch::Set(new) if old.is_none() => {
            *old = Some(new.clone());
            true
        }
        _ => false,
    }
}

fn extend_paths(state: &mut State, more: &Patch<Vec<String>>) -> bool {
    let (State::Job(JobState { artifact_paths, .. }), Patch::Set(more)) = (state, more) else {
        return false;
    };
    let paths = artifact_paths.get_or_insert_default();
    let before = paths.len();
    for path in more {
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    paths.len() > before
}
