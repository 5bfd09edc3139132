//! Whatever the optional fields hold, the status counts.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::execution::State;

const OPTIONAL: [&str; 25] = [
    "alive",
    "artifactPaths",
    "attempt",
    "completedAt",
    "durationMs",
    "error",
    "errorDetails",
    "file",
    "jobId",
    "labels",
    "line",
    "name",
    "occurredAt",
    "progress",
    "reportPath",
    "rerunOf",
    "runId",
    "s3Url",
    "shard",
    "startedAt",
    "suite",
    "timeoutSeconds",
    "unknown",
    "url",
    "willRetry",
];

/// JSON as text: also such as `serde_json` cannot hold.
fn any_json() -> impl Strategy<Value = String> {
    let scalar = select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-1",
        "1",
        "42.5",
        "100",
        "1e16",
        "1e300",
        "-1e300",
        "1e400",
        "-1e999",
        "1795780800000",
        "9223372036854775808",
        "18446744073709551616",
        "123456789012345678901234567890",
        r#""""#,
        r#"" ""#,
        r#""\ud83d""#,
        r#""\ude00\ud83d""#,
        r#""\u0000""#,
        r#""\\ud800""#,
        r#""NaN""#,
        r#""1e999""#,
        r#""2026-11-27T12:00:00""#,
        r#""9999-12-31T23:59:59-23:59""#,
        r#""0000-01-01T00:00:00+23:59""#,
        r#""https://ci.example/7""#,
        r#""https://[::1""#,
        r#""true""#,
        r#""12""#,
        r#""\r\n\u2028""#,
    ])
    .prop_map(str::to_owned);
    let text = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    let long = (1_usize..200_000).prop_map(|length| format!("\"{}\"", "ä".repeat(length)));
    let deep =
        (100_usize..400).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    let leaf = prop_oneof![16 => scalar, 8 => text, 1 => long, 2 => deep];
    let keys = select(vec![
        "completed",
        "total",
        "message",
        "index",
        "branch",
        r"\ud83d",
        "",
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\
         kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk",
    ]);
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..30).prop_map(|entries| format!("[{}]", entries.join(", "))),
            vec((keys.clone(), inner), 0..6).prop_map(|entries| {
                let entries = entries
                    .iter()
                    .map(|(key, value)| format!("\"{key}\":{value}"));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

fn check(kind: &str, members: &[(&str, String)]) -> Result<(), TestCaseError> {
    let members = members
        .iter()
        .map(|(name, json)| format!(",\"{name}\":{json}"));
    let json = JOB
        .replace("\"job\"", &format!("\"{kind}\""))
        .replace('}', &format!("{}}}", members.collect::<String>()));
    if json.len() > MAX_UPDATE_BYTES {
        return Ok(());
    }
    let (update, warnings) =
        Update::parse(&json, now()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(update.report, Report::Status(Status::Passed));
    prop_assert!(warnings.len() <= 21);
    for warning in &warnings {
        let name = warning.field.split(['.', '[']).next().unwrap();
        prop_assert!(OPTIONAL.contains(&name), "{warning:?}");
        prop_assert!(warning.reason.len() < 600, "{warning:?}");
        let says_more = ["; left out", "; cut", "; it counts as now", " more"];
        prop_assert!(
            says_more.iter().any(|end| warning.reason.ends_with(end)),
            "{warning:?}"
        );
    }
    let state = state(update);
    let json = state.to_json();
    prop_assert!(!json.contains(['\r', '\n', '\0']));
    prop_assert!(!json.contains("\\u0000"), "Postgres could not hold it");
    prop_assert!(json.len() < 400_000, "{} bytes", json.len());
    prop_assert_eq!(State::from_json(&json).unwrap().to_json(), json);
    Ok(())
}

/// The state that an update alone makes.
fn state(update: Update) -> State {
    let fields = update.fields;
    macro_rules! lay {
        ($state:expr, $($field:ident)+) => {{
            $($state.$field = fields.$field.set();)+
            $state.name = fields.name.set();
            $state.url = fields.url.set();
            $state.labels = fields.labels.set();
            $state.progress = fields.progress.set();
            $state.started_at = fields.started_at.set();
            $state.completed_at = fields.completed_at.set();
            $state.duration_ms = fields.duration_ms.set();
            $state.occurred_at = update.occurred_at;
        }};
    }
    let mut state = State::unreported(update.kind, update.id);
    match &mut state {
        State::Job(job) => lay!(job, job_id rerun_of error_details artifact_paths),
        State::Test(test) => lay!(test, suite file line report_path s3_url error),
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_value_of_an_optional_field_keeps_a_status_from_counting(json in any_json()) {
        for name in OPTIONAL {
            check("job", &[(name, json.clone())])?;
            check("test", &[(name, json.clone())])?;
        }
    }

    #[test]
    fn nor_do_all_of_them_together(values in vec(any_json(), OPTIONAL.len())) {
        let members: Vec<_> = OPTIONAL.into_iter().zip(values).collect();
        check("job", &members)?;
        check("test", &members)?;
    }
}
