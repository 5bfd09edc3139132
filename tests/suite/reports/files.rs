//! Files of results, by `runcast import`.

use std::{io::Write, time::Duration};

use integration::{PATIENCE, checkout, memory, stack::Stack};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{command, finished, import, pid, run_state, tests, text, told};

/// A test's name, status, attempt, and whether it is flaky.
type Told = (&'static str, &'static str, u64, bool);

/// What tools have written, how its run ends, and its tests.
/// Those that begin with `real` are as Surefire 2.22.3, Gradle 4.4.1 and gotestsum wrote them.
const FILES: [(&str, &str, &[Told]); 16] = [
    (
        "real-surefire.xml",
        "failed",
        &[
            ("assumes", "skipped", 1, false),
            ("errors", "error", 3, false),
            ("errorsWithCause", "error", 3, false),
            ("expectsAnException", "failed", 3, false),
            ("fails", "failed", 3, false),
            ("failsThenErrors", "error", 3, false),
            ("failsWithoutMessage", "failed", 3, false),
            ("flaky", "passed", 2, true),
            ("flakyError", "passed", 3, true),
            ("größe_ünïcode_漢字", "passed", 1, false),
            ("ignored", "skipped", 1, false),
            ("ignoredSilently", "skipped", 1, false),
            ("passes", "passed", 1, false),
            ("saysMuch", "passed", 1, false),
            ("timesOut", "error", 3, false),
        ],
    ),
    (
        "real-gradle.xml",
        "failed",
        &[
            ("assumes", "skipped", 1, false),
            ("errors", "failed", 3, false),
            ("fails", "failed", 3, false),
            ("failsWithoutMessage", "failed", 3, false),
            ("flaky", "passed", 2, true),
            ("flakyTwice", "passed", 3, true),
            ("größe_漢字", "passed", 1, false),
            ("ignored", "skipped", 1, false),
            ("passes", "passed", 1, false),
            ("timesOut", "failed", 3, false),
        ],
    ),
    (
        "real-gradle-parametrised.xml",
        "failed",
        &[
            ("isOdd[5 €]", "passed", 1, false),
            ("isOdd[<x> & \"y\"]", "passed", 1, false),
            ("isOdd[a/b]", "passed", 1, false),
            ("isOdd[same]", "failed", 1, false),
            ("isOdd[same]", "passed", 1, false),
            ("isOdd[same]", "passed", 1, false),
            ("isOdd[漢字]", "passed", 1, false),
        ],
    ),
    (
        "real-surefire-parametrised.xml",
        "passed",
        &[
            ("isOdd[5 €]", "passed", 1, false),
            ("isOdd[<x> & \"y\"]", "passed", 1, false),
            ("isOdd[a/b]", "passed", 1, false),
            // Surefire has those of one name as tries of one.
            ("isOdd[same]", "passed", 4, true),
            ("isOdd[漢字 😀]", "passed", 1, false),
        ],
    ),
    (
        "real-surefire-jupiter.xml",
        "failed",
        &[
            ("assumes", "skipped", 1, false),
            ("disabled", "skipped", 1, false),
            ("errors", "error", 1, false),
            // And those of an inner class, where they fail.
            ("fails", "failed", 2, false),
            ("made[1]", "failed", 1, false),
            ("made[2]", "passed", 1, false),
            ("multiple", "failed", 1, false),
            ("named{String}[1]", "passed", 1, false),
            ("named{String}[2]", "failed", 1, false),
            ("named{String}[3]", "passed", 1, false),
            ("one", "passed", 1, false),
            ("passes", "passed", 1, false),
            ("passes", "passed", 1, false),
            ("prices{String}[1]", "passed", 1, false),
            ("prices{String}[2]", "failed", 1, false),
            ("prices{String}[3]", "passed", 1, false),
            ("prices{String}[4]", "passed", 1, false),
            ("prices{String}[5]", "passed", 1, false),
            ("prices{String}[6]", "passed", 1, false),
            ("repeated[1]", "failed", 1, false),
            ("repeated[2]", "passed", 1, false),
            ("two", "failed", 1, false),
        ],
    ),
    (
        "real-surefire-hooks.xml",
        "failed",
        &[
            // A test that fails, and whose teardown does, fails twice in each of its tries.
            ("fails", "error", 6, false),
            ("one", "error", 3, false),
            ("shop.TeardownTest", "error", 3, false),
        ],
    ),
    (
        "real-gradle-hooks.xml",
        "failed",
        &[
            ("classMethod", "failed", 1, false),
            ("fails", "failed", 1, false),
            ("passes", "failed", 1, false),
        ],
    ),
    (
        "real-gotestsum.xml",
        "failed",
        &[
            ("ExampleHello", "passed", 1, false),
            ("ExampleWrong", "failed", 3, false),
            ("TestEach", "passed", 1, false),
            ("TestEach/#00", "passed", 1, false),
            ("TestEach/<x>_&_\"y\"", "passed", 1, false),
            ("TestEach/a/b", "passed", 1, false),
            ("TestEach/a_b", "passed", 1, false),
            ("TestEach/same", "passed", 1, false),
            ("TestEach/same#01", "passed", 1, false),
            ("TestEach/漢字_ü", "passed", 1, false),
            ("TestErrors", "failed", 3, false),
            ("TestFails", "failed", 3, false),
            ("TestFlaky", "passed", 2, true),
            ("TestFlakyTwice", "passed", 3, true),
            ("TestGröße漢字", "passed", 1, false),
            ("TestParallel", "passed", 1, false),
            ("TestParallel/p", "passed", 1, false),
            ("TestParallel/p#01", "passed", 1, false),
            ("TestParallel/p#02", "passed", 1, false),
            ("TestPasses", "passed", 1, false),
            ("TestSays", "failed", 3, false),
            ("TestSkipped", "skipped", 1, false),
            ("TestSkippedSilently", "skipped", 1, false),
            ("TestTree", "passed", 4, true),
            ("TestTree/fails", "failed", 3, false),
            ("TestTree/flaky", "passed", 2, true),
            ("TestTree/passes", "passed", 1, false),
            ("TestTree/skipped", "skipped", 1, false),
        ],
    ),
    (
        "surefire.xml",
        "failed",
        &[
            ("bad", "failed", 2, false),
            ("flaky", "passed", 3, true),
            ("off", "skipped", 1, false),
            ("ok", "passed", 1, false),
        ],
    ),
    (
        "gradle.xml",
        "passed",
        &[
            ("flaky()", "passed", 2, true),
            ("passes()", "passed", 1, false),
            ("skipped()", "skipped", 1, false),
        ],
    ),
    (
        "gotestsum.xml",
        "passed",
        &[
            ("TestEach/a_b", "passed", 1, false),
            ("TestFlaky", "passed", 2, true),
            ("TestPasses", "passed", 1, false),
            ("TestSkipped", "skipped", 1, false),
        ],
    ),
    (
        "pytest.xml",
        "failed",
        &[
            ("test_each[\\u6f22]", "passed", 1, false),
            ("test_each[\\xe9]", "passed", 1, false),
            ("test_each[a b]", "passed", 1, false),
            ("test_each[a/b]", "passed", 1, false),
            ("test_fails", "failed", 1, false),
            // pytest's XML does not say that it failed first.
            ("test_flaky", "passed", 1, false),
            ("test_never", "failed", 1, false),
            ("test_passes", "passed", 1, false),
            ("test_setup", "error", 1, false),
            ("test_skipped", "skipped", 1, false),
            ("test_teardown", "error", 1, false),
            ("test_xfail", "skipped", 1, false),
        ],
    ),
    (
        "pytest.jsonl",
        "failed",
        &[
            ("TestA::test_fails", "failed", 1, false),
            ("TestA::test_passes", "passed", 1, false),
            ("test_each[\\u6f22]", "passed", 1, false),
            ("test_each[\\xe9]", "passed", 1, false),
            ("test_each[a b]", "passed", 1, false),
            ("test_each[a/b]", "passed", 1, false),
            ("test_flaky", "passed", 2, true),
            ("test_never", "failed", 2, false),
            ("test_setup", "error", 1, false),
            ("test_skipped", "skipped", 1, false),
            ("test_teardown", "error", 1, false),
            ("test_xfail", "skipped", 1, false),
        ],
    ),
    (
        "pytest-ctrf.json",
        "failed",
        &[
            ("test_sample.py::TestA::test_fails", "failed", 1, false),
            ("test_sample.py::TestA::test_passes", "passed", 1, false),
            ("test_sample.py::test_each[\\u6f22]", "passed", 1, false),
            ("test_sample.py::test_each[\\xe9]", "passed", 1, false),
            ("test_sample.py::test_each[a b]", "passed", 1, false),
            ("test_sample.py::test_each[a/b]", "passed", 1, false),
            ("test_sample.py::test_flaky", "passed", 2, true),
            ("test_sample.py::test_never", "failed", 2, false),
            ("test_sample.py::test_setup", "failed", 1, false),
            ("test_sample.py::test_skipped", "skipped", 1, false),
            ("test_sample.py::test_teardown", "failed", 1, false),
            ("test_sample.py::test_xfail", "skipped", 1, false),
        ],
    ),
    (
        "jest-junit.xml",
        "failed",
        &[
            ("a > b each a/b", "passed", 1, false),
            ("a > b each 漢", "passed", 1, false),
            ("a > b fails", "failed", 1, false),
            ("a > b hook in hook", "failed", 1, false),
            ("a > b passes", "passed", 1, false),
            ("a > b skipped", "skipped", 1, false),
            ("a > b slow", "failed", 1, false),
            ("a > b the same", "failed", 1, false),
            ("a > b the same", "passed", 1, false),
            ("a > b todo", "passed", 1, false),
            ("flaky", "passed", 1, false),
        ],
    ),
    (
        "jest-ctrf.json",
        "failed",
        &[
            ("a > b each a/b", "passed", 1, false),
            ("a > b each 漢", "passed", 1, false),
            ("a > b fails", "failed", 3, false),
            ("a > b hook in hook", "failed", 1, false),
            ("a > b passes", "passed", 1, false),
            ("a > b skipped", "skipped", 1, false),
            ("a > b slow", "failed", 3, false),
            ("a > b the same", "failed", 3, false),
            ("a > b the same", "passed", 1, false),
            ("a > b todo", "completed", 1, false),
            ("flaky", "passed", 2, true),
        ],
    ),
];

#[tokio::test]
async fn what_tools_write_is_shown_as_they_meant_it() {
    let stack = Stack::start().await;
    for (file, status, expected) in FILES {
        let run_id = file.replace('.', "-");
        let path = checkout("tests/results").join(file);
        let output = import(&stack, &run_id, &path).await;
        assert_eq!(
            output.status.code(),
            Some(0),
            "{file}: {}",
            text(&output.stderr)
        );
        assert_eq!(text(&output.stderr), "", "{file}");
        let tests = tests(&stack, &run_id).await;
        let mut told: Vec<_> = told(&tests)
            .into_iter()
            .map(|(name, status, attempt, flaky, _)| (name, status, attempt, flaky))
            .collect();
        told.sort();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, status, attempt, flaky)| {
                ((*name).to_owned(), (*status).to_owned(), *attempt, *flaky)
            })
            .collect();
        assert_eq!(told, expected, "{file}");
        let state = run_state(&stack, &run_id).await;
        assert_eq!(state["status"], status, "{file}");
        assert_eq!(state["tests"]["total"], tests.len(), "{file}");
        for test in &tests {
            let status = test["status"].as_str().unwrap();
            let says = !test["error"].is_null();
            assert!(
                says || !["failed", "error"].contains(&status),
                "{file}: {test}"
            );
        }
        // The same once more is the same.
        let again = import(&stack, &run_id, &path).await;
        assert!(
            text(&again.stdout).contains("\n0 updates accepted"),
            "{again:?}"
        );
        assert_eq!(again.status.code(), Some(0));
    }
}

#[tokio::test]
async fn what_cannot_be_read_to_its_end_is_not_shown_at_all() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(checkout("tests/results/surefire.xml")).unwrap();
    let ctrf = std::fs::read(checkout("tests/results/jest-ctrf.json")).unwrap();
    let laughs = "<?xml version=\"1.0\"?>\n<!DOCTYPE lolz [<!ENTITY lol \"lol\">\n\
                  <!ENTITY lol2 \"&lol;&lol;&lol;&lol;\">]>\n\
                  <testsuite><testcase name=\"&lol2;\"/></testsuite>";
    let mut attributes = String::new();
    for number in 0..1_000_000 {
        attributes.push_str(&format!("a{number}='' "));
    }
    let attributes = format!("<testsuite>\n<testcase {attributes}/></testsuite>");
    let cases: [(&str, &[u8], &str); 9] = [
        (
            "cut.xml",
            &whole[..whole.len() - 20],
            "line 14: the file breaks off here",
        ),
        (
            "cut.json",
            &ctrf[..ctrf.len() / 2],
            "the file breaks off here",
        ),
        ("laughs.xml", laughs.as_bytes(), "line 2: a document type"),
        (
            "attributes.xml",
            attributes.as_bytes(),
            "line 2: a tag of more than 1 MB",
        ),
        (
            "latin1.xml",
            b"<testsuite>\n<testcase name='\xfc'/></testsuite>",
            "line 2: not UTF-8",
        ),
        ("empty.xml", b" \n", "line 1: it is empty"),
        ("other.txt", b"PASS\n", "line 1: neither JUnit XML"),
        ("other.json", b"{\"a\": [1]}\n", "no CTRF"),
        (
            "broken.jsonl",
            b"{\"$report_type\":\"SessionStart\"}\n{]}\n",
            "line 2: not a report",
        ),
    ];
    let mut files = vec![checkout("tests/results/gradle.xml").display().to_string()];
    for (name, content, says) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let output = import(&stack, "r", &path).await;
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        let said = text(&output.stderr);
        assert!(
            said.contains(&format!("{}: ", path.display())) && said.contains(says),
            "{said}"
        );
        assert!(said.ends_with("runcast: nothing was sent\n"), "{said}");
        files.push(path.display().to_string());
    }
    // Nor what is beside it.
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let arguments = [&["import", "--run", "r"], &files[..]].concat();
    assert_eq!(
        finished(command(&stack.url, &arguments))
            .await
            .status
            .code(),
        Some(1)
    );
    assert_eq!(stack.number("SELECT count(*) FROM executions").await, 0);
    let missing = finished(command(&stack.url, &["import", "no-such-*.xml"])).await;
    assert!(text(&missing.stderr).contains("no file is named no-such-*.xml"));
}

#[tokio::test]
async fn what_is_not_understood_is_named_with_its_line() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.xml");
    let odd = "<testsuites>\n<testsuite name='s'>\n<testcase name='a' time='soon'>\n<wat>x</wat></testcase>\n\
               <testcase/>\n</testsuite></testsuites>";
    std::fs::write(&path, odd).unwrap();
    let output = import(&stack, "r", &path).await;
    assert_eq!(output.status.code(), Some(0));
    let path = path.display();
    assert_eq!(
        text(&output.stderr).lines().collect::<Vec<_>>(),
        [
            format!("runcast: {path}: line 3: time=\"soon\" is no number of seconds"),
            format!("runcast: {path}: line 4: <wat> is not known; passed over"),
            format!("runcast: {path}: line 5: a testcase has no name"),
        ]
    );
    assert_eq!(tests(&stack, "r").await.len(), 2);
}

#[tokio::test]
async fn a_package_that_does_not_build_is_an_error_of_the_run() {
    let stack = Stack::start().await;
    let path = checkout("tests/results/real-gotestsum-build.xml");
    let output = import(&stack, "r", &path).await;
    assert_eq!(output.status.code(), Some(0));
    let says = "line 9: errors=\"1\", and the report says none: the run counts as error\n";
    assert!(text(&output.stderr).ends_with(says), "{output:?}");
    let state = run_state(&stack, "r").await;
    assert_eq!(
        (&state["status"], &state["tests"]["passed"]),
        (&json!("error"), &json!(1))
    );
}

#[tokio::test]
async fn a_large_file_takes_little_memory() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.xml");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    file.write_all(b"<testsuites><testsuite name='s'>\n")
        .unwrap();
    let line = "x".repeat(1023) + "\n";
    for number in 0..2000 {
        write!(
            file,
            "<testcase classname='c' name='t{number}'><system-out><![CDATA["
        )
        .unwrap();
        file.write_all(line.repeat(50).as_bytes()).unwrap();
        file.write_all(b"]]></system-out></testcase>\n").unwrap();
    }
    // And one of 100 MB in a single piece.
    file.write_all(b"<system-out>").unwrap();
    for _ in 0..100 {
        file.write_all(line.repeat(1024).as_bytes()).unwrap();
    }
    file.write_all(b"</system-out></testsuite></testsuites>")
        .unwrap();
    file.flush().unwrap();
    assert!(path.metadata().unwrap().len() > 200_000_000);
    let file = path.display().to_string();
    let arguments = ["import", "--run", "r", &file];
    let child = command(&stack.url, &arguments).spawn().unwrap();
    let process = pid(&child);
    let watched = tokio::spawn(async move {
        let mut peak = 0;
        loop {
            let now = memory::peak(process);
            if now == 0 {
                return peak;
            }
            peak = now;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let started = Instant::now();
    let output = timeout(4 * PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let peak = watched.await.unwrap();
    println!("200 MB in {:?}, {peak} KB at most", started.elapsed());
    assert!(peak < 100_000, "{peak}");
    assert_eq!(run_state(&stack, "r").await["tests"]["passed"], 2000);
}
