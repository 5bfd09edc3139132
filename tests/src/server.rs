//! Servers of a stack that a test kills, freezes and starts again.

use std::{os::unix::process::CommandExt, path::PathBuf, process::Command};

use nix::{
    sys::signal::Signal,
    unistd::{Pid, Uid, User, getpgid},
};

use crate::{
    eventually, free_port,
    stack::{Stack, gone, signal},
};

/// A Valkey or Postgres of a stack, with what is needed to start it again.
pub struct Server {
    pid: Pid,
    command_line: Vec<String>,
    folder: PathBuf,
    /// Who it runs as, where that is not the test's own user.
    user: Option<User>,
    /// Its stack's, which the reaper ends even where this test is killed.
    group: Pid,
    restarted: Option<std::process::Child>,
}

impl Server {
    /// The stack's Valkey.
    pub async fn valkey(stack: &Stack) -> Self {
        let mut server = Self::of(stack.valkey_pid().await, None);
        // Its process renames itself.
        server.command_line = vec![
            stack.valkey_info("executable").await,
            stack.valkey_info("config_file").await,
        ];
        server
    }

    /// A standby of the stack's Postgres, which has all of it by now; returns it, its port, and its URL.
    pub async fn standby(stack: &Stack) -> (Self, u16, String) {
        let primary = Self::postgres(stack).await;
        let folder = format!("{}-standby", stack.data_directory().await);
        let client = stack.postgres().await;
        let begin = "SELECT pg_backup_start('standby', true)";
        client.batch_execute(begin).await.unwrap();
        let data = stack.data_directory().await;
        // What changes meanwhile, or goes, is in Postgres' own log.
        let _ = Command::new("cp").arg("-a").args([&data, &folder]).output();
        let label = client
            .query_one("SELECT labelfile FROM pg_backup_stop(false)", &[])
            .await;
        let label: String = label.unwrap().get(0);
        std::fs::write(format!("{folder}/backup_label"), label).unwrap();
        std::fs::write(format!("{folder}/standby.signal"), "").unwrap();
        let address: tokio_postgres::Config = stack.database_url.parse().unwrap();
        let (user, password) = (address.get_user().unwrap(), address.get_password().unwrap());
        let primary_conninfo = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user={user} password={}'\n",
            address.get_ports()[0],
            String::from_utf8_lossy(password)
        );
        std::fs::write(format!("{folder}/postgresql.auto.conf"), primary_conninfo).unwrap();
        let _ = std::fs::remove_file(format!("{folder}/postmaster.pid"));
        if let Some(user) = &primary.user {
            for file in ["backup_label", "standby.signal", "postgresql.auto.conf"] {
                let file = format!("{folder}/{file}");
                std::os::unix::fs::chown(file, Some(user.uid.as_raw()), None).unwrap();
            }
        }
        let port = free_port();
        let mut standby = Server {
            pid: primary.pid,
            command_line: primary.command_line.clone(),
            folder: folder.clone().into(),
            user: primary.user.clone(),
            group: primary.group,
            restarted: None,
        };
        for word in &mut standby.command_line {
            if *word == data {
                word.clone_from(&folder);
            } else if word.starts_with("port=") {
                *word = format!("port={port}");
            }
        }
        standby.start();
        let written = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint
                       FROM pg_stat_replication";
        eventually("the standby has everything", async || {
            let rows = client.query(written, &[]).await.unwrap();
            let behind: Option<i64> = rows.first()?.get(0);
            (behind? == 0).then_some(())
        })
        .await;
        let primary_port = address.get_ports()[0];
        let url = stack
            .database_url
            .replace(&format!(":{primary_port}/"), &format!(":{port}/"));
        (standby, port, url)
    }

    /// The stack's Postgres.
    pub async fn postgres(stack: &Stack) -> Self {
        let data = stack.data_directory().await;
        let lines = std::fs::read_to_string(format!("{data}/postmaster.pid")).unwrap();
        let pid = lines.lines().next().unwrap().parse().unwrap();
        let root = Uid::effective().is_root();
        let user = root.then(|| User::from_name("nobody").unwrap().unwrap());
        Self::of(Pid::from_raw(pid), user)
    }

    fn of(pid: Pid, user: Option<User>) -> Self {
        let command_line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        let words = command_line.trim_end_matches('\0').split('\0');
        Server {
            pid,
            command_line: words.map(str::to_owned).collect(),
            folder: std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(),
            user,
            group: getpgid(Some(pid)).unwrap(),
            restarted: None,
        }
    }

    /// Stops it at once: `SIGKILL` for Valkey; for Postgres, its own immediate shutdown.
    pub async fn kill(&mut self) {
        let how = if self.is_postgres() {
            Signal::SIGQUIT
        } else {
            Signal::SIGKILL
        };
        signal(self.pid, Signal::SIGCONT);
        signal(self.pid, how);
        gone(self.pid).await;
        if let Some(mut child) = self.restarted.take() {
            let _ = child.wait();
        }
    }

    /// Starts it again, at the same place.
    pub fn start(&mut self) {
        let mut command = Command::new(&self.command_line[0]);
        command
            .args(&self.command_line[1..])
            .current_dir(&self.folder)
            .process_group(self.group.as_raw())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let child = command.spawn().unwrap();
        self.pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        self.restarted = Some(child);
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// Ends a freeze.
    pub fn thaw(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    /// Postgres answers by a process for each connection: its children are meant too.
    fn signal_all(&self, what: Signal) {
        signal(self.pid, what);
        let children = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = std::fs::read_to_string(children).unwrap_or_default();
        for child in children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
        {
            signal(Pid::from_raw(child), what);
        }
    }

    fn is_postgres(&self) -> bool {
        self.command_line[0].ends_with("postgres")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.thaw();
        if let Some(mut child) = self.restarted.take() {
            let how = if self.is_postgres() {
                Signal::SIGQUIT
            } else {
                Signal::SIGKILL
            };
            signal(self.pid, how);
            let _ = child.wait();
        }
    }
}
