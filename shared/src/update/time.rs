//! Moments, as clocks and serializers write them.

use chrono::{DateTime, TimeDelta};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error},
};
use serde_json::Value;

use super::{value::number, warnings::Warnings};
use crate::execution::Timestamp;

const TAKEN: &str =
    "a time is RFC 3339, like 2026-01-31T12:00:00Z, or a number of milliseconds since 1970";

/// 2000-01-01: what is earlier, a clock says that was never set (or it counts in seconds).
const EARLIEST_MS: i64 = 946_684_800_000;

/// 2100-01-01: what is later, is no number of milliseconds.
const LATEST_MS: i64 = 4_102_444_800_000;

/// How far clocks may be ahead.
const AHEAD: TimeDelta = TimeDelta::days(1);

/// A moment between 2000 and tomorrow.
pub(super) fn time(
    name: &str,
    value: &Value,
    now: Timestamp,
    warnings: &mut Warnings,
) -> Option<Timestamp> {
    let read = match number(value) {
        Some(number) => of_milliseconds(number),
        None => value.as_str().and_then(|text| of_text(text.trim())),
    };
    let Some(time) = read else {
        warnings.left_out(name, value, TAKEN);
        return None;
    };
    if time.0.timestamp_millis() < EARLIEST_MS {
        let taken = format!("a time before 2000 is that of a clock nobody has set; {TAKEN}");
        warnings.left_out(name, value, &taken);
        return None;
    }
    if time.0 - now.0 > AHEAD {
        let done = "a time more than a day ahead is not taken; it counts as now";
        warnings.changed(name, value, done);
        return Some(now);
    }
    Some(time)
}

fn of_milliseconds(number: f64) -> Option<Timestamp> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "floored; beyond all years it saturates"
    )]
    let milliseconds = number.floor() as i64;
    let time = DateTime::from_timestamp_millis(milliseconds)?;
    (milliseconds < LATEST_MS).then_some(Timestamp(time))
}

/// RFC 3339; what names no zone is UTC, as most servers' clocks are.
fn of_text(text: &str) -> Option<Timestamp> {
    let read = |text: &str| {
        let text: serde::de::value::StrDeserializer<'_, Error> = text.into_deserializer();
        Timestamp::deserialize(text).ok()
    };
    // Between date and time, RFC 3339 allows a space as well.
    let text = match text.split_once(' ') {
        Some((date, time)) => format!("{date}T{time}"),
        None => text.to_owned(),
    };
    read(&text).or_else(|| read(&format!("{text}Z")))
}
