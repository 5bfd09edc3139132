//! What the numbers come from: the machine, the versions, and what `/proc` tells of a process.

use std::{fs, process::Command};

use integration::memory;
use nix::unistd::Pid;
use serde::Serialize;

/// Where and with what was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    date: String,
    commit: String,
    processor: String,
    cores: usize,
    memory_gb: u64,
    kernel: String,
    rust: String,
    valkey: String,
    postgres: String,
}

impl Machine {
    pub(crate) async fn of(stack: &integration::stack::Stack) -> Self {
        let version = stack
            .postgres()
            .await
            .query_one("SHOW server_version", &[])
            .await
            .unwrap();
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
        Machine {
            date: chrono::Utc::now().format("%Y-%m-%d").to_string(),
            commit: said("git", &["rev-parse", "--short", "HEAD"]),
            processor: model
                .unwrap_or_default()
                .trim_start_matches([' ', '\t', ':'])
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gb: memory::of_machine() / 1024 / 1024,
            kernel: said("uname", &["-sr"]),
            rust: said("rustc", &["--version"]),
            valkey: stack.valkey_info("valkey_version").await,
            postgres: version.get(0),
        }
    }

    pub(crate) fn line(&self) -> String {
        format!(
            "{} · {} cores of {} · {} GB · {} · {} · Valkey {} · PostgreSQL {} · {}",
            self.date,
            self.cores,
            self.processor,
            self.memory_gb,
            self.kernel,
            self.rust,
            self.valkey,
            self.postgres,
            self.commit
        )
    }
}

/// The resident memory of a process, in KB.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 KB")]
pub(crate) fn resident(pid: Pid) -> f64 {
    memory::resident(pid) as f64
}

/// What of it no other process shares, in KB.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 KB")]
pub(crate) fn private(pid: Pid) -> f64 {
    memory::private(pid) as f64
}

/// The processor time of a process so far, in seconds.
pub(crate) fn cpu_seconds(pid: Pid) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let ticks: f64 = [11, 12]
        .iter()
        .filter_map(|at| fields.get(*at)?.parse::<f64>().ok())
        .sum();
    // USER_HZ is 100 on every Linux that Rust supports.
    ticks / 100.0
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.unwrap_or_default()
}
