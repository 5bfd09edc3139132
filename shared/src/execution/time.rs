//! Moments and time spans, as they are sent.

use std::fmt;

use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, in JSON as RFC 3339 UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub DateTime<Utc>);

impl Timestamp {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        Timestamp(Utc::now())
    }

    /// The moment so much later.
    #[must_use]
    pub fn after(&self, span: TimeDelta) -> Self {
        Timestamp(self.0.checked_add_signed(span).unwrap_or(self.0))
    }

    /// How long ago it was; `None` where it is yet to come.
    #[must_use]
    pub fn elapsed(&self) -> Option<std::time::Duration> {
        (Utc::now() - self.0).to_std().ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).ok();
        // A second 60 is one that no browser can read: it ends the 59th.
        let time = time.and_then(|time| time.with_nanosecond(time.nanosecond().min(999_999_999)));
        time.map(|time| Timestamp(time.to_utc()))
            // An offset may lead out of the four digits that a year has.
            .filter(|Timestamp(time)| (0..=9999).contains(&time.year()))
            .ok_or_else(|| de::Error::custom("a time is RFC 3339, like 2026-01-31T12:00:00.000Z"))
    }
}

/// A time span in a person's words: `850ms`, `5s`, `1m 5s`, `2h 0m 5s`.
#[must_use]
pub fn duration_in_words(duration_ms: u64) -> String {
    let seconds = duration_ms / 1000;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) if (1..1000).contains(&duration_ms) => format!("{duration_ms}ms"),
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m {rest}s"),
        _ => format!("{hours}h {minutes}m {rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_could_not_be_read_again_is_refused() {
        for (text, is_time) in [
            ("9999-12-31T23:59:59Z", true),
            ("9999-12-31T23:59:59-00:01", false),
            ("0000-01-01T00:00:00Z", true),
            ("0000-01-01T00:00:00+00:01", false),
        ] {
            let read: Result<Timestamp, _> = serde_json::from_value(text.into());
            assert_eq!(read.is_ok(), is_time, "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_told_as_one_that_browsers_can_read() {
        let read: Timestamp = serde_json::from_value("2016-12-31T23:59:60Z".into()).unwrap();
        assert_eq!(read.to_string(), "2016-12-31T23:59:59.999Z");
    }

    #[test]
    fn durations_read_as_a_person_says_them() {
        let words: Vec<_> = [0, 850, 5_000, 65_000, 7_205_000]
            .map(duration_in_words)
            .to_vec();
        assert_eq!(words, ["0s", "850ms", "5s", "1m 5s", "2h 0m 5s"]);
    }
}
