//! Values by their type. What is not one answers with what is taken.

use std::ops::RangeInclusive;

use http::Uri;
use serde_json::Value;

use super::{MAX_ATTEMPT, MAX_SHARDS, MAX_TIMEOUT_SECONDS, Shard, identity::ID_TAKEN};
use crate::execution::{Id, TraceParent};

/// A value, or what would be taken for one.
pub(super) type Read<T> = Result<T, &'static str>;

/// The largest number that JavaScript tells from the next: 2^53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The longest link, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// A number, also one in a string.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|it: &f64| it.is_finite()),
        _ => None,
    }
}

/// Parts done, or in all: what is done in part only, does not count yet.
pub(super) fn count(value: &Value) -> Read<u64> {
    let count = number(value).and_then(|number| exact(number.floor()));
    count.ok_or("a count is a number from 0 to 2^53")
}

/// A time span as clocks tell it, with a fraction or without, in whole milliseconds.
pub(super) fn milliseconds(value: &Value) -> Read<u64> {
    let milliseconds = number(value).and_then(|number| exact(number.round()));
    milliseconds.ok_or("durationMs is a number of milliseconds, from 0 to 2^53")
}

pub(super) fn attempt(value: &Value) -> Read<u32> {
    const { assert!(MAX_ATTEMPT == 1000) };
    whole(value, 1..=MAX_ATTEMPT).ok_or("an attempt is a whole number from 1 to 1000")
}

pub(super) fn line(value: &Value) -> Read<u32> {
    whole(value, 1..=u32::MAX).ok_or("a line is a whole number from 1 to 4294967295")
}

pub(super) fn timeout_seconds(value: &Value) -> Read<u32> {
    const { assert!(MAX_TIMEOUT_SECONDS == 86_400) };
    let seconds = number(value).and_then(|number| within(number.ceil(), 1..=MAX_TIMEOUT_SECONDS));
    seconds.ok_or("timeoutSeconds is a number from 1 to 86400, a day")
}

pub(super) fn shard(value: &Value) -> Read<Shard> {
    const { assert!(MAX_SHARDS == 1000) };
    let shard = value.as_object().and_then(|members| {
        let total = whole(members.get("total")?, 1..=MAX_SHARDS)?;
        let index = whole(members.get("index")?, 1..=total)?;
        Some(Shard { index, total })
    });
    shard.ok_or("a shard is {\"index\":2,\"total\":4}: index from 1 to total, total up to 1000")
}

pub(super) fn truth(value: &Value) -> Read<bool> {
    let truth = match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    };
    truth.ok_or("true and false are taken")
}

pub(super) fn id(value: &Value) -> Read<Id> {
    let id = value.as_str().and_then(|text| text.parse().ok());
    id.ok_or(ID_TAKEN)
}

pub(super) fn traceparent(value: &Value) -> Read<TraceParent> {
    let traceparent = value.as_str().and_then(|text| text.trim().parse().ok());
    traceparent.ok_or("a traceparent is one of W3C Trace Context, 00-<trace>-<span>-<flags>")
}

/// A link that a browser may be given.
pub(super) fn url(value: &Value) -> Read<String> {
    let is_link = |text: &&str| {
        let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control());
        text.len() <= MAX_URL_BYTES && is_plain && text.parse().is_ok_and(|uri| is_web(&uri))
    };
    let link = value.as_str().map(str::trim).filter(is_link);
    let link = link.ok_or("a url is an http:// or https:// link of at most 2048 bytes")?;
    Ok(link.to_owned())
}

fn is_web(uri: &Uri) -> bool {
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    matches!(uri.scheme_str(), Some("http" | "https")) && has_host
}

pub(super) fn text(value: &Value) -> Read<String> {
    value.as_str().map(str::to_owned).ok_or("a string is taken")
}

/// Whether a value says nothing: `null`, or an empty string.
pub(super) fn is_absent(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// A number without a fraction, where JavaScript tells it from the next.
fn exact(number: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in bounds"
    )]
    (0.0..=MAX_EXACT).contains(&number).then_some(number as u64)
}

fn whole(value: &Value, range: RangeInclusive<u32>) -> Option<u32> {
    let number = number(value).filter(|number| number.fract() == 0.0);
    within(number?, range)
}

fn within(number: f64, range: RangeInclusive<u32>) -> Option<u32> {
    let number = u32::try_from(exact(number)?).ok()?;
    range.contains(&number).then_some(number)
}
