//! What is too long, or too much.

use super::*;

#[test]
fn a_long_error_is_cut_with_a_mark() {
    let long = format!("\"{}\"", "ä".repeat(MAX_ERROR_BYTES));
    let details = taken("job", "errorDetails", &long).fields.error_details;
    let details = details.set().unwrap();
    assert!(details.len() < MAX_ERROR_BYTES + 64);
    assert!(
        details.ends_with("… [cut: 32768 bytes in all]"),
        "{details}"
    );
}

#[test]
fn a_long_name_is_cut_between_characters() {
    for (name, of) in [
        (
            "name",
            (|fields| fields.name) as fn(Fields) -> Patch<String>,
        ),
        ("suite", |fields| fields.suite),
        ("file", |fields| fields.file),
    ] {
        let whole = format!("\"{}\"", "x".repeat(512));
        assert_eq!(
            of(taken("test", name, &whole).fields).set().unwrap().len(),
            512
        );
        let (update, warning) = warning("test", name, &format!("\"x{}\"", "ä".repeat(300)));
        assert_eq!(warning.field, name);
        let reason = "came; 601 bytes are too many: at most 512 are kept; cut";
        assert!(warning.reason.ends_with(reason), "{}", warning.reason);
        let cut = of(update.fields).set().unwrap();
        assert_eq!(cut, format!("x{}…", "ä".repeat(254)));
        assert!(cut.len() <= 512);
    }
}

#[test]
fn labels_have_bounds() {
    let key = "k".repeat(64);
    let json = format!(r#"{{"{key}":"{}","{key}k":"x","":"y"}}"#, "v".repeat(257));
    let (update, warnings) = read(&with("job", "labels", &json));
    let labels = update.fields.labels.set().unwrap();
    assert_eq!(labels.len(), 1);
    assert_eq!(labels[&key], format!("{}…", "v".repeat(253)));
    assert_eq!(warnings.len(), 3);
    assert!(
        warnings
            .iter()
            .all(|warning| warning.field.starts_with("labels."))
    );

    let many: Vec<_> = (10..30).map(|n| format!("\"l{n}\":{n}")).collect();
    let (update, warnings) = read(&with("job", "labels", &format!("{{{}}}", many.join(","))));
    assert_eq!(update.fields.labels.set().unwrap().len(), 16);
    let told: Vec<_> = warnings
        .iter()
        .map(|warning| warning.field.as_str())
        .collect();
    assert_eq!(
        told,
        ["labels.l26", "labels.l27", "labels.l28", "labels.l29"]
    );
    assert!(warnings[0].reason.contains("at most 16 labels are taken"));
}

#[test]
fn paths_go_from_the_end_where_they_are_too_many() {
    let paths = vec!["x".repeat(1000); 140];
    let json = serde_json::to_string(&paths).unwrap();
    let json = with("job", "artifactPaths", &json).replacen('{', r#"{"progress":"linking","#, 1);
    let (update, warnings) = read(&json);
    assert_eq!(update.fields.artifact_paths.set().unwrap().len(), 131);
    assert_eq!(
        update.fields.progress.set().unwrap().message.unwrap(),
        "linking"
    );
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].field, "artifactPaths");
    let reason = "140 paths came; paths and messages have at most 131072 bytes together, not 140007; \
                  the last 9 of them; left out";
    assert_eq!(warnings[0].reason, reason);
}

#[test]
fn a_text_goes_where_it_is_too_long() {
    let long = format!("\"{}\"", "x".repeat(MAX_KEPT_BYTES + 1));
    let (update, warning) = warning("test", "reportPath", &long);
    assert_eq!(
        (update.fields.report_path, warning.field.as_str()),
        (Patch::Keep, "reportPath")
    );
    let (update, warning) = super::warning("test", "progress", &long);
    assert_eq!(
        (update.fields.progress, warning.field.as_str()),
        (Patch::Keep, "progress.message")
    );
    let (update, _) = super::warning("job", "artifactPaths", &long);
    assert_eq!(update.fields.artifact_paths, Patch::Keep);

    // The message first, then the report, and no more than has to.
    let half = format!("\"{}\"", "x".repeat(MAX_KEPT_BYTES / 2));
    let json = with("test", "s3Url", &half)
        .replacen('{', &format!("{{\"reportPath\":{half},"), 1)
        .replacen(
            '{',
            &format!("{{\"progress\":{{\"completed\":3,\"message\":{half}}},"),
            1,
        );
    let (update, warnings) = read(&json);
    assert_eq!(warnings.len(), 1);
    let progress = update.fields.progress.set().unwrap();
    assert_eq!((progress.completed, progress.message), (3, None));
    assert!(update.fields.report_path.set().is_some() && update.fields.s3_url.set().is_some());
}

#[test]
fn a_flood_of_warnings_is_told_in_few() {
    let paths = vec!["7"; 1000].join(",");
    let (_, warnings) = read(&with("job", "artifactPaths", &format!("[{paths}]")));
    assert_eq!(warnings.len(), 21);
    assert_eq!(warnings[20].field, "artifactPaths[20]");
    assert_eq!(warnings[20].reason, "and 980 more");
}

#[test]
fn what_is_quoted_is_cut_and_on_one_line() {
    let (_, warning) = warning("job", "durationMs", &format!(r#""{}\n""#, "ä".repeat(100)));
    assert!(
        warning
            .reason
            .starts_with(&format!("\"{}… came; ", "ä".repeat(39)))
    );
    let (_, warning) = super::warning("job", "durationMs", "[\n1e400]");
    assert!(
        warning.reason.starts_with("[ 1e400] came; "),
        "{}",
        warning.reason
    );
}
