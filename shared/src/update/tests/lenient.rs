//! Every other field: taken in many forms, or left out with a warning.

mod numbers;
mod parts;

use std::fmt::Debug;

use super::{
    Patch::{Clear, Keep, Set},
    *,
};

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
