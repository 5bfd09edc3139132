//! A script of `tests/node`, told what to do: a JSON command on each line, a JSON answer on each.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{PATIENCE, checkout};

/// A Node process that runs one.
pub struct Script {
    name: &'static str,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Script {
    /// Starts one, which needs a package.
    ///
    /// # Panics
    /// Where Node or the package is missing.
    #[must_use]
    pub fn start(name: &'static str, package: &str, arguments: &[&str]) -> Self {
        let installed = checkout("tests/node/node_modules").join(package);
        assert!(
            installed.exists(),
            "{package} is missing: run `make setup-tests`"
        );
        let mut child = Command::new("node")
            .arg(checkout("tests/node").join(name))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("node does not start ({error}): install Node 20.19 or newer")
            });
        Script {
            name,
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
        }
    }

    /// Runs a command; returns its answer.
    ///
    /// # Panics
    /// Where it fails.
    pub async fn order(&mut self, order: &Value) -> Value {
        let line = format!("{order}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.said().await
    }

    /// What it says next.
    ///
    /// # Panics
    /// Where it has ended.
    pub async fn said(&mut self) -> Value {
        let answer = timeout(PATIENCE, self.output.next_line()).await;
        let answer = answer.unwrap().unwrap();
        let answer = answer.unwrap_or_else(|| panic!("{} has failed", self.name));
        serde_json::from_str(&answer).unwrap()
    }
}
