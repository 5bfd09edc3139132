//! What the integration tests share: a stack of their own, viewers, and patience.
//!
//! A test that waits, waits for a condition. How long it does so at most is no measurement: it only
//! keeps a broken build from hanging.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

pub mod authority;
pub mod aws;
pub mod bull;
pub mod event_source;
pub mod memory;
pub mod node;
pub mod otlp;
pub mod provider;
pub mod proxy;
pub mod redis_server;
pub mod secrets;
pub mod served;
pub mod server;
pub mod stack;
pub mod viewer;

use std::{future::Future, net::TcpListener, path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::time::Instant;

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` yields a value.
///
/// # Panics
/// When it does not within [`PATIENCE`].
pub async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < give_up, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A port on 127.0.0.1 that is free now.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A JSON Web Signature of this payload, in compact form (RFC 7515).
#[must_use]
pub fn jws(header: &Value, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!(
        "{}.{}",
        BASE64.encode(header.to_string()),
        BASE64.encode(payload)
    );
    let signature = BASE64.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A path of the checkout.
#[must_use]
pub fn checkout(path: &str) -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the checkout").join(path)
}

/// One of the workspace's binaries, as `make build` leaves it beside the tests.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's path");
    // Tests are in `target/<profile>/deps`.
    let folder = test.parent().expect("target/<profile>");
    let profile = if folder.ends_with("deps") {
        folder.parent().expect("target/<profile>")
    } else {
        folder
    };
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is missing: run `make build`",
        path.display()
    );
    path
}

/// The children of a process, whichever of its threads started them.
#[must_use]
pub fn children(pid: Pid) -> Vec<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let listed = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let listed: Vec<String> = listed.collect();
    let pids = listed.iter().flat_map(|line| line.split_whitespace());
    pids.map(|pid| Pid::from_raw(pid.parse().unwrap()))
        .collect()
}
