//! `runcast run`
//!
//! Whatever becomes of what it sends, the command runs as it would without, and this exits as it does.

use std::{
    ffi::OsString,
    io::IsTerminal,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::{Value, json};
use shared::execution::Timestamp;
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal as Arriving, SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, interval, timeout},
};

use super::{
    follow::{Followed, Unread},
    identity::Identity,
    import::Named,
    publish::new_event_id,
    send::{self, Recipient, Sender},
    told::updates_of,
};
use crate::{Error, process, results::Item};

/// How often it says that the command lives.
const ALIVE_EVERY: Duration = Duration::from_secs(30);

/// For how long the run may be silent, in seconds: four signs of life.
const TIMEOUT_SECONDS: u64 = 120;

/// How many updates wait at most while the server is away; what comes then is lost.
const MAX_WAITING: usize = 10_000;

/// How often the files of results are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long the end waits for a server that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it waits for one that takes what there is slowly.
const MAX_PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  runcast run -- make test
  runcast run --job nightly --name \"Nightly tests\" -- ./nightly.sh
  runcast run --junit 'target/surefire-reports/*.xml' -- mvn test
  runcast run --shard 2/8 --junit report.xml -- npx jest --shard=2/8

Exits as the command did: its code, or 128 and the number of the signal that ended it. Where the server
is away, the command runs all the same. RUNCAST_RUN_ID tells the command which run it is.")]
pub(crate) struct Options {
    #[command(flatten)]
    run: Named,
    /// Files of results, or patterns: JUnit XML, CTRF JSON or pytest-reportlog, read as they come
    #[arg(long, value_name = "PATTERN", visible_aliases = ["ctrf", "reportlog"])]
    junit: Vec<String>,
    #[command(flatten)]
    recipient: Recipient,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Error> {
    let sender = Arc::new(Sender::new(options.recipient)?);
    let identity = Arc::new(options.run.identity());
    eprintln!(
        "runcast: watch this run at {}",
        sender.page_of(&identity.run_id)
    );
    let mut signals = Signals::new()?;
    let queue = Queue::new(sender.clone());
    queue.push(of_run(&identity, "running"));
    let files = (!options.junit.is_empty())
        .then(|| Files::follow(options.junit, identity.clone(), queue.updates.clone()));

    let mut was_ended = false;
    let ended = match start(&options.command, &identity, &sender) {
        Ok(mut child) => {
            Ok(accompany(&mut child, &mut signals, &queue, &identity, &mut was_ended).await?)
        }
        Err(error) => Err(error),
    };
    let end = End::of(&ended, was_ended);
    if let Err(error) = &ended {
        let command = options.command.first().cloned().unwrap_or_default();
        eprintln!("runcast: {}: {error}", command.display());
    }
    let mut update = of_run(&identity, end.status);
    update["errorDetails"] = json!(end.details);
    queue.finish(update, files).await;
    Ok(ExitCode::from(end.code))
}

/// How a command ended, in Runcast's words and the shell's.
#[derive(Debug, PartialEq, Eq)]
struct End {
    status: &'static str,
    details: Option<String>,
    code: u8,
}

impl End {
    fn of(ended: &std::io::Result<ExitStatus>, was_ended: bool) -> Self {
        let end = |status, details: String, code| End {
            status,
            details: Some(details),
            code,
        };
        let status = match ended {
            Ok(status) => status,
            Err(error) => {
                // As POSIX shells have it: section 2.8.2 of their language.
                let is_missing = error.kind() == std::io::ErrorKind::NotFound;
                let code = if is_missing { 127 } else { 126 };
                return end(
                    "error",
                    format!("the command did not start: {}", error.kind()),
                    code,
                );
            }
        };
        match (status.code(), status.signal()) {
            (Some(0), _) => End {
                status: "passed",
                details: None,
                code: 0,
            },
            (Some(code), _) => {
                let status = if was_ended { "cancelled" } else { "failed" };
                let code = u8::try_from(code).unwrap_or(u8::MAX);
                end(status, format!("exit code {code}"), code)
            }
            (None, number) => {
                let number = number.unwrap_or(0);
                let signal = Signal::try_from(number);
                let name = signal.map_or_else(|_| format!("signal {number}"), |it| it.to_string());
                let by_somebody = [
                    Signal::SIGINT,
                    Signal::SIGTERM,
                    Signal::SIGHUP,
                    Signal::SIGQUIT,
                ];
                let is_asked = signal.is_ok_and(|signal| by_somebody.contains(&signal));
                let status = if is_asked { "cancelled" } else { "error" };
                let code = u8::try_from(128 + number).unwrap_or(u8::MAX);
                end(status, format!("ended by {name}"), code)
            }
        }
    }
}

fn of_run(identity: &Identity, status: &str) -> Value {
    let mut update = identity.of_run();
    update["eventId"] = json!(new_event_id());
    update["status"] = json!(status);
    update["timeoutSeconds"] = json!(TIMEOUT_SECONDS);
    update["occurredAt"] = json!(Timestamp::now());
    update
}

/// Starts the command, with the run's name for whatever in it reports, too.
fn start(command: &[OsString], identity: &Identity, sender: &Sender) -> std::io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(std::io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("RUNCAST_RUN_ID", &identity.run_id)
        .env("RUNCAST_URL", sender.url())
        // Who reports the tests leaves the run's end to this.
        .env("RUNCAST_RUN_BY", "runcast-run");
    if let Some((index, total)) = identity.shard {
        command.env("RUNCAST_SHARD", format!("{index}/{total}"));
    }
    if let Some(token) = sender.given_token() {
        command.env("RUNCAST_TOKEN", token);
    }
    command.spawn()
}

/// Waits for the command's end; passes on what asks it to end, and says that it lives.
async fn accompany(
    child: &mut Child,
    signals: &mut Signals,
    queue: &Queue,
    identity: &Identity,
    was_ended: &mut bool,
) -> Result<ExitStatus, Error> {
    let pid = process::pid(child)?;
    let mut alive = interval(ALIVE_EVERY);
    alive.tick().await;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            signal = signals.next() => {
                *was_ended = true;
                pass_on(signal, pid);
            }
            _ = alive.tick() => queue.push(json!({
                "eventId": new_event_id(), "kind": "job", "id": identity.run_id, "alive": true,
            })),
        }
    }
}

/// Ctrl-C at a terminal reaches the command by itself: twice is a command to many, not to clean up.
fn pass_on(signal: Signal, pid: Pid) {
    let is_of_terminal = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
    if !(is_of_terminal && std::io::stdin().is_terminal()) {
        process::signal(pid, signal);
    }
}

/// What asks a command to end.
struct Signals([(Signal, Arriving); 4]);

impl Signals {
    fn new() -> Result<Self, Error> {
        Ok(Signals([
            (Signal::SIGINT, signal(SignalKind::interrupt())?),
            (Signal::SIGTERM, signal(SignalKind::terminate())?),
            (Signal::SIGHUP, signal(SignalKind::hangup())?),
            (Signal::SIGQUIT, signal(SignalKind::quit())?),
        ]))
    }

    async fn next(&mut self) -> Signal {
        let [one, two, three, four] = &mut self.0;
        tokio::select! {
            _ = one.1.recv() => one.0,
            _ = two.1.recv() => two.0,
            _ = three.1.recv() => three.0,
            _ = four.1.recv() => four.0,
        }
    }
}

/// What waits to be sent, and is, beside the command.
struct Queue {
    updates: mpsc::Sender<Value>,
    progress: watch::Receiver<Progress>,
    lost: AtomicBool,
}

#[derive(Clone, Default)]
struct Progress {
    batches: u64,
    /// How many updates were not taken, and why.
    refused: usize,
    why: Option<String>,
    is_over: bool,
}

impl Queue {
    fn new(sender: Arc<Sender>) -> Self {
        let (updates, waiting) = mpsc::channel(MAX_WAITING);
        let (told, progress) = watch::channel(Progress::default());
        tokio::spawn(pump(sender, waiting, told));
        Queue {
            updates,
            progress,
            lost: AtomicBool::new(false),
        }
    }

    /// Where there is no room it is lost, as the command must not wait.
    fn push(&self, update: Value) {
        if self.updates.try_send(update).is_err() {
            self.lost.store(true, Ordering::Relaxed);
        }
    }

    /// Sends what waits, and the end, for as long as the server takes any of it; tells what is lost.
    async fn finish(self, end: Value, files: Option<Files>) {
        let Queue {
            updates,
            mut progress,
            lost,
        } = self;
        let give_up_at = Instant::now() + MAX_PATIENCE;
        let send = tokio::spawn(async move {
            let unread = match files {
                Some(files) => files.finish().await,
                None => Vec::new(),
            };
            let _ = updates.send(end).await;
            unread
        });
        while Instant::now() < give_up_at && !progress.borrow_and_update().is_over {
            if !matches!(timeout(PATIENCE, progress.changed()).await, Ok(Ok(()))) {
                break;
            }
        }
        let progress = progress.borrow().clone();
        if send.is_finished() {
            for unread in send.await.unwrap_or_default() {
                eprintln!("runcast: {unread}");
            }
        }
        if !progress.is_over || progress.refused > 0 || lost.load(Ordering::Relaxed) {
            let why = progress
                .why
                .unwrap_or_else(|| "the server does not answer".to_owned());
            eprintln!("runcast: not everything could be sent: {why}");
        }
    }
}

async fn pump(
    sender: Arc<Sender>,
    mut waiting: mpsc::Receiver<Value>,
    told: watch::Sender<Progress>,
) {
    while let Some(updates) = send::batch(&mut waiting, &sender).await {
        let sent = sender.send(&updates, None).await;
        told.send_modify(|progress| {
            progress.batches += 1;
            let (refused, why) = match sent {
                Ok(receipt) => {
                    let mut reasons = receipt.rejected.into_iter().map(|rejected| rejected.reason);
                    (reasons.len(), reasons.next())
                }
                Err(error) => (updates.len(), Some(error.to_string())),
            };
            progress.refused += refused;
            progress.why = progress.why.take().or(why);
        });
    }
    told.send_modify(|progress| progress.is_over = true);
}

/// The files of results, followed on a thread of their own.
struct Files {
    is_over: Arc<AtomicBool>,
    reading: tokio::task::JoinHandle<Vec<Unread>>,
}

impl Files {
    fn follow(
        patterns: Vec<String>,
        identity: Arc<Identity>,
        updates: mpsc::Sender<Value>,
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        // File systems that count whole seconds.
        let since = SystemTime::now() - Duration::from_secs(1);
        let reading = tokio::task::spawn_blocking(move || {
            let mut files = Followed::new(patterns.clone(), since);
            loop {
                let is_last = over.load(Ordering::Relaxed);
                files.look(is_last, &mut |item| {
                    if let Item::Case(case) = &item {
                        for update in updates_of(case, &identity) {
                            let _ = updates.blocking_send(update);
                        }
                    }
                });
                if is_last {
                    break;
                }
                for _ in 0..20 {
                    if !over.load(Ordering::Relaxed) {
                        std::thread::sleep(LOOK / 20);
                    }
                }
            }
            if files.count() == 0 {
                eprintln!("runcast: no new file is named {}", patterns.join(", "));
            }
            files.unread().cloned().collect()
        });
        Files { is_over, reading }
    }

    async fn finish(self) -> Vec<Unread> {
        self.is_over.store(true, Ordering::Relaxed);
        self.reading.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_our_words_and_in_the_shells() {
        let exit = |code: i32| Ok(ExitStatus::from_raw(code << 8));
        let killed = |signal: i32| Ok(ExitStatus::from_raw(signal));
        for (ended, was_ended, status, code) in [
            (exit(0), false, "passed", 0),
            (exit(0), true, "passed", 0),
            (exit(3), false, "failed", 3),
            (exit(2), true, "cancelled", 2),
            (exit(255), false, "failed", 255),
            (killed(9), false, "error", 137),
            (killed(11), false, "error", 139),
            (killed(15), false, "cancelled", 143),
            (killed(2), true, "cancelled", 130),
            (
                Err(std::io::ErrorKind::NotFound.into()),
                false,
                "error",
                127,
            ),
            (
                Err(std::io::ErrorKind::PermissionDenied.into()),
                false,
                "error",
                126,
            ),
        ] {
            let end = End::of(&ended, was_ended);
            assert_eq!((end.status, end.code), (status, code), "{ended:?}");
            assert_eq!(end.details.is_none(), code == 0);
        }
    }
}
