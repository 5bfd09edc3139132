//! What the documentation says is so: links lead somewhere, what is named exists, commands work.

mod commands;
mod page;

use std::{
    path::{Component, Path, PathBuf},
    process::Command,
};

use integration::{checkout, stack::Stack};
use page::{Page, pages, tree};
use serde_json::{Value, json};

/// What looks like a path of the checkout, and is none, or is not there yet.
const NO_PATHS: [(&str, &str); 11] = [
    (
        ".venv/bin/mypy",
        "of its own environment; `make check` runs it",
    ),
    ("runcast-client/testing", "a part of a package"),
    ("runcast-reporter/bullmq", "a part of a package"),
    ("LISTEN/NOTIFY", "two statements of SQL"),
    ("application/json", "a media type"),
    ("application/problem+json", "a media type"),
    ("functions/NAME", "one that you would write"),
    ("shared/proptest-regressions", "made by a failing test"),
    ("NAME/{org}", "in a bucket"),
    ("target/debug", "made by a build"),
    ("web/dist", "made by a build"),
];

/// The kinds of files that are named without their folder.
const ENDINGS: [&str; 11] = [
    "rs", "ts", "tsx", "mjs", "py", "sh", "json", "yaml", "toml", "sql", "md",
];

/// Everything that is wrong, at once.
fn none_is_wrong(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut wrong = Vec::new();
    for page in &pages {
        for link in &page.links {
            if !leads_somewhere(page, link, &pages) {
                wrong.push(format!("{}: {link}", page.path));
            }
        }
        // Those that are no links to Markdown, in tables and in code.
        for rest in page.text.split("http://").skip(1) {
            if !rest.starts_with("127.0.0.1:8787") {
                let host = rest.split('/').next().unwrap();
                wrong.push(format!("{}: not https: {host}", page.path));
            }
        }
    }
    none_is_wrong(wrong);
}

fn leads_somewhere(page: &Page, link: &str, pages: &[Page]) -> bool {
    if link.contains("://") {
        return reqwest::Url::parse(link).is_ok_and(|url| url.has_host());
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = Path::new(&page.path).parent().unwrap();
    let target = match path {
        "" => page.path.clone().into(),
        path => plain(&folder.join(path)),
    };
    let has_anchor =
        |other: &Page| Path::new(&other.path) == target && other.anchors.contains(anchor);
    checkout(target.to_str().unwrap()).exists()
        && (anchor.is_empty() || pages.iter().any(has_anchor))
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_path_that_is_named_exists() {
    let tree = tree();
    let mut wrong = Vec::new();
    for page in pages() {
        for path in page.inline.iter().filter(|code| is_path(code)) {
            let exists = |path: &String| {
                let path = path.trim_end_matches(['/', '…']);
                let end = format!("/{path}");
                checkout(path).exists() || tree.iter().any(|known| known.ends_with(&end))
            };
            if !alternatives(path).iter().all(exists) {
                wrong.push(format!("{}: {path}", page.path));
            }
        }
    }
    none_is_wrong(wrong);
}

#[test]
fn the_map_names_every_module() {
    let mut pages = pages().into_iter();
    let map = pages.find(|page| page.path == "ARCHITECTURE.md").unwrap();
    let named: Vec<_> = map
        .inline
        .iter()
        .flat_map(|code| alternatives(code))
        .collect();
    let is_missing = |path: &String| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let has_map = match folder {
            "functions" | "web" => {
                !name.contains('.') && !["LICENSE", "dist-client"].contains(&name)
            }
            "shared/src" => name.contains('.') && name != "lib.rs",
            _ => false,
        };
        let is_it = |code: &String| code == path || (folder == "shared/src" && code == name);
        has_map && !named.iter().any(is_it)
    };
    none_is_wrong(tree().into_iter().filter(is_missing).collect());
}

fn is_path(code: &str) -> bool {
    let characters = |c: char| c.is_ascii_alphanumeric() || "._-/{},…".contains(c);
    let ending = code.rsplit_once('.').map_or("", |(_, ending)| ending);
    code.chars().all(characters)
        && !code.starts_with(['/', '…'])
        && (code.contains('/') || ENDINGS.contains(&ending))
        && NO_PATHS.iter().all(|(other, _)| *other != code)
}

/// `a/{b,c}` names two.
fn alternatives(path: &str) -> Vec<String> {
    match path.split_once('{').zip(path.split_once('}')) {
        Some(((before, _), (inner, after))) => {
            let inner = inner.split_once('{').unwrap().1;
            let inner = inner.split(',');
            inner.map(|one| format!("{before}{one}{after}")).collect()
        }
        None => vec![path.to_owned()],
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let mut named = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        for code in &page.inline {
            // `file.rs: its_name_…`, or without the file.
            let (file, test) = code.split_once(": ").unwrap_or(("faults.rs", code));
            let Some(test) = test.strip_suffix('…').filter(|test| test.ends_with('_')) else {
                continue;
            };
            named += 1;
            let path = checkout(&format!("tests/suite/{file}"));
            let source = std::fs::read_to_string(path).unwrap_or_default();
            if !source.contains(&format!("fn {test}")) {
                wrong.push(format!("{}: {code}", page.path));
            }
        }
        for command in page
            .inline
            .iter()
            .chain(page.blocks.iter().map(|(_, code)| code))
        {
            for rest in command.split("--test suite ").skip(1) {
                let test = rest.split_whitespace().next().unwrap();
                let is_there = |path: &String| {
                    let source = std::fs::read_to_string(checkout(path)).unwrap_or_default();
                    path.starts_with("tests/suite/") && source.contains(&format!("fn {test}"))
                };
                if !tree().iter().any(is_there) {
                    wrong.push(format!("{}: no test is called {test}…", page.path));
                }
            }
        }
    }
    assert!(named > 10, "the table of faults is found");
    none_is_wrong(wrong);
}

#[tokio::test]
async fn every_example_is_what_its_reader_takes() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let postgres = stack.postgres().await;
    for page in pages() {
        for query in page
            .inline
            .iter()
            .filter(|code| code.starts_with("SELECT "))
        {
            postgres.batch_execute(query).await.expect(query);
        }
        for (language, code) in &page.blocks {
            let place = format!("{}: {code}", page.path);
            match language.as_str() {
                "json" => {
                    let example: Value = serde_json::from_str(code).expect(&place);
                    if example.get("eventId").is_some() {
                        let answer = stack.send(json!([example])).await;
                        assert_eq!(answer["accepted"], 1, "{place}{answer}");
                    }
                }
                // As if it had not been: the stack goes on with its own passwords.
                "sql" => {
                    let undone = format!("BEGIN; {code}; ROLLBACK");
                    postgres.batch_execute(&undone).await.expect(&place);
                }
                "js" => {
                    let file = folder.path().join("example.mjs");
                    std::fs::write(&file, code).unwrap();
                    let node = Command::new("node").arg("--check").arg(&file).status();
                    assert!(node.expect("Node.js").success(), "{place}");
                }
                "python" => {
                    let file = folder.path().join("example.py");
                    std::fs::write(&file, code).unwrap();
                    let mut python = Command::new("python3");
                    let python = python.arg("-m").arg("py_compile").arg(&file).status();
                    assert!(python.expect("Python").success(), "{place}");
                }
                // What is there, web/client/test/package.test.ts compiles.
                "ts" | "tsx"
                    if ["docs/client.md", "web/README.md"].contains(&page.path.as_str()) => {}
                "hcl" => {
                    let variables =
                        std::fs::read_to_string(checkout("infra/terraform/variables.tf")).unwrap();
                    let sets = code.lines().filter_map(|line| line.split_once(" ="));
                    for (name, _) in sets.filter(|(name, _)| name.trim() != "source") {
                        let declared = format!("variable \"{}\" {{", name.trim());
                        assert!(variables.contains(&declared), "{place}: {name}");
                    }
                }
                // producers/python/tests run the action that it names.
                "yaml" => assert_eq!(page.path, "producers/github/README.md", "{code}"),
                // Commands have a test of their own; a block without a language is not code.
                "sh" | "" => {}
                other => panic!("{}: who checks {other}?", page.path),
            }
        }
    }
}
