//! Progress, in each of the forms in which tools tell it.

use serde_json::{Map, Value};

use super::{
    value::{Read, count, is_absent, number, text},
    warnings::Warnings,
};
use crate::execution::Progress;

const TAKEN: &str = "progress is {\"completed\":3,\"total\":12,\"message\":\"…\"}, a percentage from 0 \
                     to 100, or a message";

/// An object, a percentage, or a message.
pub(super) fn progress(value: &Value, warnings: &mut Warnings) -> Option<Progress> {
    let progress = match (value, number(value)) {
        (Value::Object(members), _) => return of_members(members, warnings),
        (_, Some(percent)) => of_percent(percent, value),
        (Value::String(message), None) => Some(Progress {
            completed: 0,
            total: None,
            message: Some(message.clone()),
        }),
        _ => None,
    };
    if progress.is_none() {
        warnings.left_out("progress", value, TAKEN);
    }
    progress
}

fn of_percent(percent: f64, value: &Value) -> Option<Progress> {
    (0.0..=100.0).contains(&percent).then_some(())?;
    Some(Progress {
        completed: count(value).ok()?,
        total: Some(100),
        message: None,
    })
}

/// What can be read of an object; none where there is something and nothing of it can.
fn of_members(members: &Map<String, Value>, warnings: &mut Warnings) -> Option<Progress> {
    let mut sent = Sent {
        members,
        warnings,
        any_read: false,
        any_wrong: false,
    };
    let completed = sent.read("completed", "progress.completed", count);
    let total = sent.read("total", "progress.total", count);
    let message = sent.read("message", "progress.message", text);
    (sent.any_read || !sent.any_wrong).then(|| Progress {
        completed: completed.unwrap_or(0),
        total,
        message,
    })
}

struct Sent<'a> {
    members: &'a Map<String, Value>,
    warnings: &'a mut Warnings,
    any_read: bool,
    any_wrong: bool,
}

impl Sent<'_> {
    fn read<T>(&mut self, name: &str, path: &str, read: impl Fn(&Value) -> Read<T>) -> Option<T> {
        let value = self.members.get(name).filter(|value| !is_absent(value))?;
        match read(value) {
            Ok(read) => {
                self.any_read = true;
                Some(read)
            }
            Err(taken) => {
                self.any_wrong = true;
                self.warnings.left_out(path, value, taken);
                None
            }
        }
    }
}
