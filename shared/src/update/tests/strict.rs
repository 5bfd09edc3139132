//! What must be said, and right.

use super::*;

fn refused(json: &str) -> String {
    Update::parse(json, now()).unwrap_err().to_string()
}

#[test]
fn a_minimal_update_is_enough() {
    let (update, warnings) = read(JOB);
    assert_eq!(update.report, Report::Status(Status::Passed));
    assert_eq!(update.fields, Fields::default());
    assert!(!update.will_retry && !update.says_flaky);
    assert_eq!((update.attempt, update.shard), (None, None));
    assert_eq!(update.timeout_seconds, Patch::Keep);
    assert_eq!(warnings, []);
}

#[test]
fn what_is_wrong_is_said_with_what_is_taken() {
    let (an_id, a_status) = (
        "an id is a string of 1 to 128 of the characters A-Z, a-z, 0-9, _ and -",
        "send waiting, running, completed, passed, failed, error, cancelled or skipped",
    );
    let an_event_id = "an eventId is a string of 1 to 128 visible ASCII characters";
    let a_kind = "a kind is \"test\" or \"job\"";
    let long = format!("\"{}\"", "x".repeat(129));
    let cut = format!("id: \"{}… is not an id; {an_id}", "x".repeat(39));
    for (name, came, reason) in [
        (
            "status",
            "\"flying\"",
            format!("status: \"flying\" is not a status; {a_status}"),
        ),
        (
            "status",
            "7",
            format!("status: 7 is not a status; {a_status}"),
        ),
        (
            "id",
            "\"r:1\"",
            format!("id: \"r:1\" is not an id; {an_id}"),
        ),
        ("id", "[1]", format!("id: [1] is not an id; {an_id}")),
        ("id", &long, cut),
        (
            "organizationId",
            "\"\"",
            format!("organizationId: \"\" is not an id; {an_id}"),
        ),
        (
            "projectId",
            "null",
            format!("projectId: null is not an id; {an_id}"),
        ),
        (
            "kind",
            "\"cron\"",
            format!("kind: \"cron\" is not a kind; {a_kind}"),
        ),
        (
            "eventId",
            "\"\"",
            format!("eventId: \"\" is not an eventId; {an_event_id}"),
        ),
        (
            "eventId",
            "\"a b\"",
            format!("eventId: \"a b\" is not an eventId; {an_event_id}"),
        ),
        (
            "eventId",
            r#""\ud83d""#,
            format!(r#"eventId: "\ufffd" is not an eventId; {an_event_id}"#),
        ),
        ("id", "1e400", format!("id: 1e400 is not an id; {an_id}")),
    ] {
        // Of a member that comes twice, the last one counts.
        assert_eq!(refused(&with("job", name, came)), reason);
    }
    for (member, missing) in [
        (
            "\"eventId\":\"e1\",",
            format!("eventId is missing; {an_event_id}"),
        ),
        ("\"kind\":\"job\",", format!("kind is missing; {a_kind}")),
        (
            "\"projectId\":\"p\",",
            format!("projectId is missing; {an_id}"),
        ),
        (
            ",\"status\":\"passed\"",
            format!(
                "status is missing; {a_status}, or \"alive\": true and no status for a sign of life"
            ),
        ),
    ] {
        assert_eq!(refused(&JOB.replace(member, "")), missing);
    }
}

#[test]
fn what_is_no_object_is_refused_with_what_an_update_is() {
    let deep = "[".repeat(100_000);
    for (json, says) in [
        ("", "an empty text"),
        (" \n", "an empty text"),
        ("[\"e1\"]", "[\"e1\"] is no object"),
        (
            r#""{\"eventId\":\"e1\"}""#,
            r#""{\"eventId\":\"e1\"}" is no object"#,
        ),
        (
            "{\n\"eventId\": \"e1\",\n\"kind\": job}",
            "not JSON, at the end of { \"eventId\": \"e1\", \"kind\": j",
        ),
        (
            r#"{"eventId":"e1","kind":"jo"#,
            r#"breaks off after {"eventId":"e1","kind":"jo"#,
        ),
        ("{\"ä\u{1f600}", "breaks off after {\"ä\u{1f600}"),
        (&deep, "is no object"),
        (
            &format!("{{\"eventId\":{deep}"),
            "not JSON, it breaks off after [[[",
        ),
    ] {
        let reason = refused(json);
        assert!(reason.contains(says), "{reason}");
        assert!(
            reason.contains("an update is a JSON object: {\"eventId\""),
            "{reason}"
        );
        assert!(!reason.contains("column"), "{reason}");
        assert!(reason.len() < 300, "{reason}");
    }
}

#[test]
fn a_sign_of_life_has_no_status() {
    let alive = |alive: &str, status: &str| {
        let json = JOB.replace("\"passed\"", status);
        Update::parse(&json.replace('}', &format!(",\"alive\":{alive}}}")), now())
    };
    for word in ["true", "\"true\"", "\" True \""] {
        let (update, warnings) = alive(word, "null").unwrap();
        assert_eq!((update.report, warnings), (Report::Alive, vec![]), "{word}");
        let (update, _) = alive(word, "\"failed\"").unwrap();
        assert_eq!(update.report, Report::Status(Status::Failed), "{word}");
    }
    for word in ["false", "null", "\"\"", "1", "[]"] {
        let error = alive(word, "null").unwrap_err().to_string();
        assert!(error.starts_with("status is missing; send"), "{error}");
        assert!(alive(word, "\"failed\"").is_ok(), "{word}");
    }
    let (_, warnings) = alive("\"yes\"", "\"failed\"").unwrap();
    assert_eq!(warnings[0].field, "alive");
}

#[test]
fn a_word_for_flaky_is_told() {
    for (word, says_flaky) in [
        ("flaky", true),
        ("FLAKY", true),
        ("fla-ky ", true),
        ("passed", false),
    ] {
        let (update, _) = read(&JOB.replace("passed", word));
        assert_eq!(update.report, Report::Status(Status::Passed));
        assert_eq!(update.says_flaky, says_flaky, "{word}");
    }
}

#[test]
fn what_is_unknown_or_twice_costs_nothing() {
    let json = JOB.replace('}', r#","colour":1e400,"name":"a","name":"b","name":"c"}"#);
    let (update, warnings) = read(&json);
    assert_eq!(update.fields.name, Patch::Set("c".to_owned()));
    assert_eq!(warnings, []);
}

#[test]
fn an_oversized_update_is_refused_unread() {
    let json = " ".repeat(MAX_UPDATE_BYTES + 1);
    let refused = Update::parse(&json, now()).unwrap_err();
    assert_eq!(refused, Invalid::TooLarge(MAX_UPDATE_BYTES + 1));
}

#[test]
fn an_invalid_update_is_named_by_its_event_id() {
    for (json, event_id) in [
        (r#"{"eventId":"e1","name":"\ud83d"}"#, Some("e1")),
        (r#"{"eventId":"a b"}"#, None),
        (r#"{"eventId":1}"#, None),
        (r#"["e1"]"#, None),
        (r#"{"eventId":"e1""#, None),
    ] {
        assert_eq!(event_id_of(json).as_deref(), event_id, "{json}");
    }
}
