//! How invocations are read and answered.

use shared::update::Invalid;

use super::*;

const UPDATE: &str = r#"{"eventId":"e1","kind":"job","id":"r1","organizationId":"o","projectId":"p","status":"passed"}"#;

fn batch(payload: &str) -> Batch {
    match Invocation::read(payload) {
        Ok(Invocation::Updates(batch)) => batch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_bad_update_costs_no_other() {
    let half = UPDATE.replace('}', r#","error":"\ud83d","name":"\ud83d"}"#);
    let huge = UPDATE.replace("\"r1\"", "1e400");
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let text = serde_json::to_string(UPDATE).unwrap();
    let payload = format!(r#"{{"updates":[{UPDATE},{half},{huge},{deep},{text},7]}}"#);
    let batch = batch(&payload);
    let valid: Vec<_> = batch
        .submissions
        .iter()
        .map(|it| it.update.is_ok())
        .collect();
    assert_eq!(valid, [true, true, false, false, false, false]);
    let is_told = |submission: &Submission<'_>| matches!(&submission.update, Err(Invalid::Malformed(reason)) if reason.contains("update is"));
    assert!(batch.submissions[3..].iter().all(is_told));
}

#[test]
fn half_an_emoji_in_a_message_costs_nothing() {
    let half = UPDATE.replace('}', r#","name":"\ud83d"}"#);
    let escaped = serde_json::to_string(&half).unwrap();
    // As a producer's own serializer writes it that escapes the body once more.
    let within = escaped.replace(r"\\ud83d", r"\ud83d");
    assert_ne!(escaped, within);
    let record = |body| format!(r#"{{"messageId":"m","body":{body},"attributes":{{}}}}"#);
    let records = [escaped, within].map(record).join(",");
    let batch = batch(&format!(r#"{{"Records":[{records}]}}"#));
    for submission in &batch.submissions {
        let name = submission.update.as_ref().unwrap().fields.name.as_set();
        assert_eq!(name.unwrap(), "\u{fffd}");
        assert_eq!(submission.warnings, []);
    }
    assert_eq!(batch.source.groups().unwrap(), ["job:r1", "job:r1"]);
}

#[test]
fn only_what_was_accepted_is_warned_of() {
    let odd = UPDATE.replace('}', r#","line":3,"durationMs":"5s"}"#);
    let batch = batch(&format!(r#"{{"updates":[{UPDATE},{odd},{odd},{odd}]}}"#));
    let answers = [
        Answer::Accepted,
        Answer::Duplicate,
        Answer::Rejected("why".to_owned()),
        Answer::Accepted,
    ]
    .map(Some);
    let answer = batch.answer(&answers).unwrap();
    assert_eq!(answer["accepted"], 2);
    let warnings = answer["warnings"].as_array().unwrap();
    let told: Vec<_> = warnings
        .iter()
        .map(|warning| (warning["index"].as_u64(), warning["field"].as_str()))
        .collect();
    assert_eq!(
        told,
        [(Some(3), Some("durationMs")), (Some(3), Some("line"))]
    );
    let reason = warnings[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("\"5s\" came; durationMs is"), "{reason}");
    let answer = batch.answer(&vec![Some(Answer::Duplicate); 4]).unwrap();
    assert_eq!(answer["warnings"], json!([]));
}

#[test]
fn a_sweep_is_asked_for_in_exactly_one_way() {
    for sweep in [r#"{"sweep":true}"#, "{ \"sweep\" : true }"] {
        assert!(
            matches!(Invocation::read(sweep), Ok(Invocation::Sweep)),
            "{sweep}"
        );
    }
    for other in [
        r#"{"sweep":false}"#,
        r#"{"sweep":"true"}"#,
        r#"{"sweep":true,"force":true}"#,
        "{}",
        r#"{"updates":null}"#,
        r#"{"updates":{}}"#,
        "[]",
        "[[]]",
        "true",
        r#"{"Records":7}"#,
        r#"{"Records":[{"body":"{}"}]}"#,
    ] {
        let error = Invocation::read(other).unwrap_err();
        assert!(
            error.contains("send {\"updates\":[…]}, or an SQS event"),
            "{error}"
        );
    }
}
