//! Cold start: from exec to the first `/next`, and to the first frame; and what has to be loaded.

use std::{path::Path, process::Command};

use integration::{
    binary,
    stack::{SHARED_JWKS, Stack},
};

use crate::{
    figure::{Bar, Figure},
    load::milliseconds,
    runtime::{Process, Said, request, variables},
};

const GROUP: &str = "cold start";
const STARTS: usize = 40;

pub(crate) async fn run() -> Vec<Figure> {
    eprintln!("  cold start: {STARTS} processes and as many that only say hello");
    let stack = Stack::with(&[], &[("AUTH_JWKS", SHARED_JWKS)]).await;
    let variables = variables(&stack);
    let payload = request("sample-run");
    let (mut nexts, mut frames, mut floor_nexts, mut floor_frames) =
        (vec![], vec![], vec![], vec![]);
    for start in 0..=STARTS {
        let floor = start_once("hello", &variables, &payload).await;
        let ours = start_once("job-status", &variables, &payload).await;
        // The first of each reads its binary from disk.
        if start > 0 {
            floor_nexts.push(floor.0);
            floor_frames.push(floor.1);
            nexts.push(ours.0);
            frames.push(ours.1);
        }
    }
    let mut figures = vec![
        Figure::new(GROUP, "exec to the first /next", "ms", &nexts)
            .over(&nexts, &floor_nexts)
            .with(Bar::Ratio(2.0))
            .with(Bar::Most(12.0)),
        Figure::new(GROUP, "exec to the first frame", "ms", &frames).over(&frames, &floor_frames),
    ];
    let hello = sizes("hello");
    for function in [
        "job-status",
        "test-status",
        "queue-stats",
        "worker",
        "ingest",
        "notify",
        "migrate",
    ] {
        let (size, zip) = sizes(function);
        if function == "job-status" {
            figures.push(
                Figure::new(GROUP, "binary, job-status", "MB", &[size]).over(&[size], &[hello.0]),
            );
        }
        let name = format!("zip, {function}");
        figures.push(
            Figure::new(GROUP, name, "MB", &[zip])
                .over(&[zip], &[hello.1])
                .with(Bar::Most(2.5)),
        );
    }
    let (server, _) = sizes("runcast-server");
    figures
        .push(Figure::new(GROUP, "binary, runcast-server", "MB", &[server]).with(Bar::Most(10.0)));
    figures
}

/// Milliseconds to the first `/next` and to the first frame.
async fn start_once(binary: &str, variables: &[(String, String)], payload: &str) -> (f64, f64) {
    let mut process = Process::start(binary, variables).await;
    let Said::Next(next) = process.said().await else {
        panic!("{binary} answered before it was asked");
    };
    process.invoke(payload.to_owned());
    let frame = process.first_state().await;
    let since = |at: std::time::Instant| milliseconds(at - process.started);
    let times = (since(next), since(frame));
    process.stop().await;
    times
}

/// The megabytes of a binary, and of its zip as Lambda gets it.
fn sizes(function: &str) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = folder.path().join("bootstrap");
    std::fs::copy(binary(function), &bootstrap).unwrap();
    let zip = folder.path().join("function.zip");
    let zipped = Command::new("python3")
        .args(["-m", "zipfile", "-c"])
        .arg(&zip)
        .arg(&bootstrap)
        .status();
    assert!(zipped.unwrap().success());
    (megabytes(&bootstrap), megabytes(&zip))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn megabytes(file: &Path) -> f64 {
    std::fs::metadata(file).unwrap().len() as f64 / 1_000_000.0
}
