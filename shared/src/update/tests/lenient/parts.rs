//! Values of several parts, each of which may be wrong.

use super::*;

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
