//! Every other field: taken in many forms, or left out with a warning.

use std::fmt::Debug;

use super::*;

/// Reads each value as it is expected, without a warning.
fn takes<T: Debug + PartialEq>(
    (kind, name): (&str, &str),
    of: impl Fn(Update) -> T,
    values: impl IntoIterator<Item = (&'static str, T)>,
) {
    for (json, expected) in values {
        assert_eq!(of(taken(kind, name, json)), expected, "{name}: {json}");
    }
}

/// Leaves each value out, with a warning that says what is taken.
fn refuses<T: Debug + PartialEq>(
    (kind, name): (&str, &str),
    of: impl Fn(Update) -> T,
    absent: T,
    takes: &str,
    values: impl IntoIterator<Item = &'static str>,
) {
    for json in values {
        let (update, warning) = warning(kind, name, json);
        assert_eq!(warning.field, name, "{json}");
        assert!(warning.reason.contains(takes), "{json}: {}", warning.reason);
        assert!(warning.reason.ends_with("; left out"), "{}", warning.reason);
        assert_eq!(of(update), absent, "{name}: {json}");
    }
}

use Patch::{Clear, Keep, Set};

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
fn progress_is_read_in_each_of_its_forms() {
    let (field, of) = (("job", "progress"), |it: Update| it.fields.progress);
    let progress = |completed, total, message: Option<&str>| {
        Set(Progress {
            completed,
            total,
            message: message.map(str::to_owned),
        })
    };
    takes(
        field,
        of,
        [
            (
                r#"{"completed":3.0,"total":4.9}"#,
                progress(3, Some(4), None),
            ),
            (
                r#"{"completed":"3","total":null,"message":""}"#,
                progress(3, None, None),
            ),
            (r#"{"message":"half"}"#, progress(0, None, Some("half"))),
            (r#"{"total":7}"#, progress(0, Some(7), None)),
            ("{}", progress(0, None, None)),
            ("0", progress(0, Some(100), None)),
            ("41.9", progress(41, Some(100), None)),
            ("\"100\"", progress(100, Some(100), None)),
            ("\"linking\"", progress(0, None, Some("linking"))),
            ("null", Clear),
            ("\"\"", Keep),
        ],
    );
    let takes = "progress is {\"completed\":3,\"total\":12,\"message\":\"…\"}, a percentage";
    refuses(
        field,
        of,
        Keep,
        takes,
        ["101", "-1", "\"150\"", "[1]", "true"],
    );
}

#[test]
fn a_member_of_progress_that_cannot_be_read_does_not_cost_the_others() {
    for (json, member, completed, message) in [
        (
            r#"{"completed":-1,"message":"m"}"#,
            "completed",
            0,
            Some("m"),
        ),
        (r#"{"completed":2,"total":1e16}"#, "total", 2, None),
        (r#"{"completed":2,"message":["m"]}"#, "message", 2, None),
    ] {
        let (update, warning) = warning("test", "progress", json);
        assert_eq!(warning.field, format!("progress.{member}"));
        let progress = update.fields.progress.set().unwrap();
        assert_eq!(
            (progress.completed, progress.message.as_deref()),
            (completed, message)
        );
    }
    let (update, _) = warning("test", "progress", r#"{"completed":"some"}"#);
    assert_eq!(update.fields.progress, Keep, "it does not go back to 0");
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
fn a_shard_is_one_of_some() {
    let (field, of) = (("job", "shard"), |it: Update| it.shard);
    let shard = |index, total| Some(Shard { index, total });
    takes(
        field,
        of,
        [
            (r#"{"index":1,"total":1}"#, shard(1, 1)),
            (r#"{"index":"2","total":1000}"#, shard(2, 1000)),
            ("null", None),
        ],
    );
    refuses(
        field,
        of,
        None,
        "a shard is {\"index\":2,\"total\":4}",
        [
            r#"{"index":0,"total":4}"#,
            r#"{"index":5,"total":4}"#,
            r#"{"index":1,"total":1001}"#,
            r#"{"index":1.5,"total":4}"#,
            r#"{"index":1}"#,
            "[1,4]",
            "\"1/4\"",
        ],
    );
    refuses(
        ("test", "shard"),
        of,
        None,
        "a test has no shards",
        [r#"{"index":1,"total":4}"#],
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

#[test]
fn only_a_test_names_its_run() {
    let of = |it: Update| it.run_id;
    takes(
        ("test", "runId"),
        of,
        [
            ("\"r7\"", "r7".parse().ok()),
            ("null", None),
            ("\"\"", None),
        ],
    );
    takes(
        ("job", "runId"),
        of,
        [("\"r1\"", None), ("null", None), ("\"\"", None)],
    );
    refuses(
        ("test", "runId"),
        of,
        None,
        "an id is a string of 1 to 128",
        ["\"r:7\"", "7"],
    );
    refuses(
        ("job", "runId"),
        of,
        None,
        "a job's runId is its id",
        ["\"r7\"", "7"],
    );
}

#[test]
fn ids_are_ids() {
    takes(
        ("job", "jobId"),
        |it| it.fields.job_id,
        [
            ("\"nightly\"", Set("nightly".parse().unwrap())),
            ("null", Clear),
            ("\"\"", Keep),
        ],
    );
    refuses(
        ("job", "jobId"),
        |it| it.fields.job_id,
        Keep,
        "an id is",
        ["\"a b\"", "17", "[]"],
    );
    refuses(
        ("job", "rerunOf"),
        |it| it.fields.rerun_of,
        Keep,
        "an id is",
        ["\"a/b\""],
    );
}

#[test]
fn the_other_kinds_fields_are_told() {
    for (kind, names) in [
        (
            "job",
            &["suite", "file", "line", "reportPath", "s3Url", "error"][..],
        ),
        (
            "test",
            &["jobId", "rerunOf", "errorDetails", "artifactPaths"][..],
        ),
    ] {
        for name in names {
            let (update, warning) = warning(kind, name, "\"7\"");
            assert_eq!(&warning.field, name);
            assert!(
                warning.reason.contains("\"7\" came; only a "),
                "{}",
                warning.reason
            );
            assert_eq!(update.fields, Fields::default());
            for absent in ["null", "\"\""] {
                assert_eq!(taken(kind, name, absent).fields, Fields::default());
            }
        }
    }
}

#[test]
fn a_link_is_one_that_a_browser_may_be_given() {
    let (field, of) = (("test", "url"), |it: Update| it.fields.url);
    let link = |text: &str| Set(text.to_owned());
    takes(
        field,
        of,
        [
            (
                "\"https://ci.example/run?id=7#log\"",
                link("https://ci.example/run?id=7#log"),
            ),
            ("\" http://localhost:8080 \"", link("http://localhost:8080")),
            ("\"HTTPS://ci.example/\"", link("HTTPS://ci.example/")),
            ("null", Clear),
            ("\"\"", Keep),
        ],
    );
    refuses(
        field,
        of,
        Keep,
        "a url is an http:// or https:// link of at most 2048 bytes",
        [
            "\"javascript:alert(1)\"",
            "\"ftp://ci.example/\"",
            "\"/runs/7\"",
            "\"ci.example/7\"",
            "\"https://\"",
            "\"https:///7\"",
            "\"https://ci.example/a b\"",
            r#""https://ci.example/\u0007""#,
            "7",
        ],
    );
    let long = format!("\"https://ci.example/{}\"", "x".repeat(2048));
    assert_eq!(warning("test", "url", &long).0.fields.url, Keep);
}

#[test]
fn half_an_emoji_becomes_the_mark_for_it_wherever_it_stands() {
    let name = taken("job", "name", r#""a\ud83d""#).fields.name;
    assert_eq!(name, Set("a\u{fffd}".to_owned()));
    let name = taken("job", "name", r#""a\u0000""#).fields.name;
    assert_eq!(
        name,
        Set("a\u{fffd}".to_owned()),
        "nor a NUL, which Postgres cannot hold"
    );
    let labels = taken("job", "labels", r#"{"\ude00":"\ud83d"}"#)
        .fields
        .labels;
    assert_eq!(labels.set().unwrap()["\u{fffd}"], "\u{fffd}");
    assert_eq!(read(&with("job", r"\ud83d", "1")).1, []);
}

#[test]
fn an_error_is_kept_in_whatever_form_it_comes() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for (json, text) in [
        (r#""boom""#, "boom"),
        (r#"{ "code" : 7 }"#, r#"{"code":7}"#),
        ("false", "false"),
        ("1e400", "1e400"),
        (&deep, &deep),
    ] {
        let error = taken("test", "error", json).fields.error;
        assert_eq!(error, Set(text.to_owned()), "{json}");
        let details = taken("job", "errorDetails", json).fields.error_details;
        assert_eq!(details, Set(text.to_owned()), "{json}");
    }
    assert_eq!(taken("test", "error", "null").fields.error, Clear);
    assert_eq!(taken("test", "error", "\"\"").fields.error, Keep);
}

#[test]
fn suites_within_suites_are_one_name() {
    let (field, of) = (("test", "suite"), |it: Update| it.fields.suite);
    takes(
        field,
        of,
        [
            ("\"login\"", Set("login".to_owned())),
            (r#"["ui","","login"]"#, Set("ui › login".to_owned())),
            ("null", Clear),
        ],
    );
    refuses(
        field,
        of,
        Keep,
        "a string or a list of strings",
        ["7", "{}"],
    );
    let (update, warning) = warning("test", "suite", r#"["ui",7]"#);
    assert_eq!(
        (update.fields.suite, warning.field.as_str()),
        (Set("ui".to_owned()), "suite[1]")
    );
}

#[test]
fn a_path_that_is_none_does_not_cost_the_others() {
    let (field, of) = (("job", "artifactPaths"), |it: Update| {
        it.fields.artifact_paths
    });
    let paths = |paths: &[&str]| Set(paths.iter().map(ToString::to_string).collect());
    takes(
        field,
        of,
        [
            (r#"["a","b"]"#, paths(&["a", "b"])),
            ("\"a\"", paths(&["a"])),
            (r#"["a","",null]"#, paths(&["a"])),
            ("[]", paths(&[])),
            ("null", Clear),
            ("\"\"", Keep),
        ],
    );
    refuses(
        field,
        of,
        Keep,
        "a string or a list of strings is taken",
        ["7", "{}"],
    );
    let (update, warning) = warning("job", "artifactPaths", r#"["a","b","c",{"path":"d"}]"#);
    assert_eq!(update.fields.artifact_paths, paths(&["a", "b", "c"]));
    assert_eq!(warning.field, "artifactPaths[3]");
    let (update, _) = super::warning("job", "artifactPaths", "[7]");
    assert_eq!(
        update.fields.artifact_paths, Keep,
        "those that it has, stay"
    );
}

#[test]
fn labels_are_short_texts() {
    let (field, of) = (("job", "labels"), |it: Update| it.fields.labels);
    let labels = |entries: &[(&str, &str)]| {
        let entries = entries.iter();
        Set(entries
            .map(|(key, text)| (key.to_string(), text.to_string()))
            .collect())
    };
    takes(
        field,
        of,
        [
            (
                r#"{"branch":"main","pr":7,"ci":true,"none":null,"empty":""}"#,
                labels(&[("branch", "main"), ("ci", "true"), ("pr", "7")]),
            ),
            ("{}", labels(&[])),
            ("null", Clear),
        ],
    );
    refuses(
        field,
        of,
        Keep,
        "labels are an object of strings",
        ["7", "[\"main\"]", "\"main\""],
    );
    let (update, warning) = warning("job", "labels", r#"{"branch":"main","tags":["a"]}"#);
    assert_eq!(update.fields.labels, labels(&[("branch", "main")]));
    assert_eq!(warning.field, "labels.tags");
    assert!(
        warning
            .reason
            .contains("a label is a string, a number or a boolean")
    );
    let (update, _) = super::warning("job", "labels", r#"{"tags":["a"]}"#);
    assert_eq!(update.fields.labels, Keep, "those that it has, stay");
}
