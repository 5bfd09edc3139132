//! Numbers, times, and what is true.

use super::*;

#[test]
fn a_duration_is_rounded_to_milliseconds() {
    let (field, of) = (("job", "durationMs"), |it: Update| it.fields.duration_ms);
    takes(
        field,
        of,
        [
            ("1500", Set(1500)),
            ("1500.0", Set(1500)),
            ("0.5e3", Set(500)),
            ("12.7", Set(13)),
            ("\"1250\"", Set(1250)),
            ("\" 12 \"", Set(12)),
            ("null", Clear),
            ("\"\"", Keep),
        ],
    );
    let takes = "durationMs is a number of milliseconds, from 0 to 2^53";
    refuses(
        field,
        of,
        Keep,
        takes,
        ["-1", "1e16", "\"5s\"", "\"NaN\"", "\"inf\"", "true", "[1]"],
    );
    refuses(
        field,
        of,
        Keep,
        "a number is at most 1.8e308",
        ["1e400", "[1e400]"],
    );
}

#[test]
fn a_time_is_read_as_clocks_write_it() {
    let time = |text: &str| Set(serde_json::from_value(text.into()).unwrap());
    let of = |it: Update| it.fields.started_at;
    takes(
        ("test", "startedAt"),
        of,
        [
            ("\"2026-11-27T12:00:00Z\"", time("2026-11-27T12:00:00Z")),
            (
                "\"2026-11-27T12:00:00+02:00\"",
                time("2026-11-27T10:00:00Z"),
            ),
            ("\"2026-11-27T12:00:00\"", time("2026-11-27T12:00:00Z")),
            ("\"2026-11-27 12:00:00\"", time("2026-11-27T12:00:00Z")),
            ("\"2026-11-27 12:00:00Z\"", time("2026-11-27T12:00:00Z")),
            (
                "\" 2026-11-27T12:00:00.25 \"",
                time("2026-11-27T12:00:00.250Z"),
            ),
            (
                "\"2016-12-31T23:59:60Z\"",
                time("2016-12-31T23:59:59.999999999Z"),
            ),
            ("1795780800000", time("2026-11-27T12:00:00Z")),
            ("1795780800000.5", time("2026-11-27T12:00:00Z")),
            ("\"1795780800000\"", time("2026-11-27T12:00:00Z")),
            ("\"2026-11-28T11:00:00Z\"", time("2026-11-28T11:00:00Z")),
            ("null", Clear),
            ("\"\"", Keep),
        ],
    );
    let takes =
        "a time is RFC 3339, like 2026-01-31T12:00:00Z, or a number of milliseconds since 1970";
    for field in ["startedAt", "completedAt", "occurredAt"] {
        let of = |it: Update| (it.fields.started_at, it.fields.completed_at, it.occurred_at);
        refuses(
            ("job", field),
            of,
            (Keep, Keep, None),
            takes,
            [
                "\"soon\"",
                "\"2026-11-27\"",
                "\"2026-13-27T12:00:00Z\"",
                // Seconds, and microseconds.
                "1795780800",
                "1795780800000000",
                "1e300",
                "-1",
                "\"1970-01-01T00:00:00Z\"",
                "\"1999-12-31T23:59:59Z\"",
                "true",
            ],
        );
    }
    assert_eq!(taken("job", "occurredAt", "null").occurred_at, None);
}

#[test]
fn a_time_far_ahead_counts_as_now() {
    for came in [
        "\"2026-11-28T12:00:01Z\"",
        "\"9999-12-31T23:59:59Z\"",
        "1900000000000",
    ] {
        let (update, warning) = warning("job", "occurredAt", came);
        assert_eq!(update.occurred_at, Some(now()), "{came}");
        assert!(
            warning.reason.ends_with("it counts as now"),
            "{}",
            warning.reason
        );
        let (update, _) = super::warning("job", "completedAt", came);
        assert_eq!(update.fields.completed_at, Set(now()), "{came}");
    }
}

#[test]
fn numbers_have_bounds() {
    let (field, of) = (("job", "attempt"), |it: Update| it.attempt);
    takes(
        field,
        of,
        [
            ("1", Some(1)),
            ("\"1000\"", Some(1000)),
            ("2.0", Some(2)),
            ("null", None),
        ],
    );
    let takes_attempts = "an attempt is a whole number from 1 to 1000";
    refuses(
        field,
        of,
        None,
        takes_attempts,
        ["0", "1001", "1.5", "-1", "{}", "\"first\""],
    );

    let (field, of) = (("job", "timeoutSeconds"), |it: Update| it.timeout_seconds);
    takes(
        field,
        of,
        [
            ("0.2", Set(1)),
            ("59.1", Set(60)),
            ("\"86400\"", Set(86_400)),
            ("null", Clear),
        ],
    );
    let takes_seconds = "timeoutSeconds is a number from 1 to 86400";
    refuses(
        field,
        of,
        Keep,
        takes_seconds,
        ["0", "86400.5", "-5", "\"1h\"", "1e300"],
    );

    let (field, of) = (("test", "line"), |it: Update| it.fields.line);
    takes(
        field,
        of,
        [("1", Set(1)), ("\"12\"", Set(12)), ("null", Clear)],
    );
    let takes_lines = "a line is a whole number from 1";
    refuses(
        field,
        of,
        Keep,
        takes_lines,
        ["0", "-1", "1.5", "4294967296", "\"12:3\""],
    );
}

#[test]
fn only_an_attempt_that_ended_is_retried() {
    let of = |it: Update| it.will_retry;
    takes(
        ("job", "willRetry"),
        of,
        [
            ("true", true),
            ("\"TRUE\"", true),
            ("false", false),
            ("\"false\"", false),
            ("null", false),
        ],
    );
    refuses(
        ("job", "willRetry"),
        of,
        false,
        "true and false are taken",
        ["1", "\"yes\"", "{}"],
    );
    let running = JOB.replace("passed", "running");
    let with = |word| running.replace('}', &format!(",\"willRetry\":{word}}}"));
    let (update, warnings) = read(&with("true"));
    assert!(!update.will_retry);
    assert_eq!(warnings[0].field, "willRetry");
    assert_eq!(read(&with("false")).1, []);
}
