//! `runcast import`

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use shared::execution::Id;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    follow::{self, Followed, Unread},
    identity::{self, Identity, hash, id_of},
    say,
    send::{self, NotSent, Recipient, Sender},
    told::{Tally, updates_of},
};
use crate::{
    Error,
    results::{Form, Item, Troubles, ctrf},
};

/// For how long updates are sent again that are not taken.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often files that are followed are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How many updates wait to be sent at most.
const MAX_WAITING: usize = 1000;

/// How many rejected ones are shown.
const MAX_SHOWN: usize = 10;

/// The longest line of a file of updates, in bytes.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// Which run it is.
#[derive(clap::Args)]
pub(crate) struct Named {
    /// The run's id; without, what the environment says, else the CI, else a new one
    #[arg(long, value_parser = identity::run_id)]
    run: Option<String>,
    /// The job that it is a run of
    #[arg(long)]
    job: Option<Id>,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// Which part of the run this is, as 2/8; without, what the CI says
    #[arg(long, value_parser = shard)]
    shard: Option<(u32, u32)>,
}

/// `2/8`.
fn shard(text: &str) -> Result<(u32, u32), &'static str> {
    let read = || {
        let (index, total) = text.split_once('/')?;
        let (index, total) = (index.parse().ok()?, total.parse().ok()?);
        ((1..=total).contains(&index) && total <= 1000).then_some((index, total))
    };
    read().ok_or("a shard is the number of a part and of how many, like 2/8")
}

impl Named {
    /// The run that the options say, or else the environment.
    pub(crate) fn identity(&self) -> Identity {
        let variable = |name: &str| std::env::var(name).ok();
        let mut identity = Identity::of(&variable, self.run.as_deref(), self.shard);
        if let Some(job) = &self.job {
            identity.job_id = Some(job.to_string());
        }
        if let Some(name) = &self.name {
            identity.name = Some(name.clone());
        }
        identity
    }

    /// Whether somebody said which run it is.
    fn is_named(&self) -> bool {
        self.run.is_some() || std::env::var("RUNCAST_RUN_ID").is_ok_and(|id| !id.is_empty())
    }
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  runcast import target/surefire-reports/*.xml
  runcast import --run nightly-17 ctrf-report.json
  runcast import --follow --run r1 pytest.jsonl     # pytest --report-log=pytest.jsonl, meanwhile

Reads JUnit XML, CTRF JSON and what pytest-reportlog writes. Where a file cannot be read to its end,
nothing is sent. The same file twice is one.")]
pub(crate) struct Options {
    /// Files, patterns like 'reports/*.xml', or folders
    #[arg(required = true)]
    files: Vec<String>,
    /// Read on as the files grow and new ones come, until pytest's log says its end, or Ctrl-C
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    run: Named,
    #[command(flatten)]
    recipient: Recipient,
}

/// What became of what was sent.
#[derive(Default)]
struct Sent {
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    reasons: Vec<String>,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Error> {
    let sender = Sender::new(options.recipient)?;
    let mut identity = options.run.identity();
    if options.follow {
        return followed(options.files, identity, &sender).await;
    }
    let paths = follow::named(&options.files)?;
    if paths.is_empty() {
        return Err(format!("no file is named {}", options.files.join(", ")).into());
    }
    let (mut tally, mut forms, mut whole) = (Tally::default(), Vec::new(), true);
    for path in paths {
        match check(&path, &mut tally) {
            Ok(form) => forms.push((path, form)),
            Err(unread) => {
                eprintln!("runcast: {unread}");
                whole = false;
            }
        }
    }
    if !whole {
        eprintln!("runcast: nothing was sent");
        return Ok(ExitCode::FAILURE);
    }
    if !options.run.is_named()
        && let Some(run_id) = forms.iter().find_map(|(path, form)| said_run(path, *form))
    {
        identity.run_id = id_of(&run_id);
    }
    let are_results = forms.iter().any(|(_, form)| *form != Form::Updates);
    let (updates, waiting) = mpsc::channel(MAX_WAITING);
    let (status, page) = (tally.status(), sender.page_of(&identity.run_id));
    let reading = tokio::task::spawn_blocking(move || {
        if are_results {
            let _ = updates.blocking_send(of_run(&identity, "running"));
        }
        for (path, form) in &forms {
            tell(path, *form, &identity, &updates)?;
        }
        if are_results {
            let _ = updates.blocking_send(of_run(&identity, status));
        }
        Ok::<_, Unread>(())
    });
    let sent = pump(&sender, waiting).await;
    reading.await??;
    if are_results {
        say(format!("{tally}; {page}"));
    }
    finish(sent)
}

/// Reads a file to its end, counts what is in it, and tells what is not understood.
fn check(path: &Path, tally: &mut Tally) -> Result<Form, Unread> {
    let form = follow::form_of(path)?.ok_or_else(|| Unread::new(path, "line 1: it is empty"))?;
    let mut troubles = Troubles::default();
    let read = match form {
        Form::Updates => lines(path, &mut |_| {}),
        _ => follow::read(path, form, &mut troubles, &mut |item| tally.count(&item)),
    };
    follow::tell(path, &troubles);
    read.map(|()| form)
}

/// Sends what is in a file.
fn tell(
    path: &Path,
    form: Form,
    identity: &Identity,
    updates: &mpsc::Sender<Value>,
) -> Result<(), Unread> {
    // Where nobody takes them any more, the sender says why.
    let mut send = |update| drop(updates.blocking_send(update));
    if form == Form::Updates {
        return lines(path, &mut send);
    }
    follow::read(path, form, &mut Troubles::default(), &mut |item| {
        if let Item::Case(case) = &item {
            updates_of(case, identity).into_iter().for_each(&mut send);
        }
    })
}

/// The updates of a file that has one a line.
fn lines(path: &Path, sink: &mut dyn FnMut(Value)) -> Result<(), Unread> {
    let file = std::fs::File::open(path).map_err(|error| Unread::new(path, error))?;
    let mut source = BufReader::new(file);
    let mut number = 0;
    loop {
        number += 1;
        let unread =
            |what: &dyn std::fmt::Display| Unread::new(path, format!("line {number}: {what}"));
        let mut line = Vec::new();
        let mut limited = source.by_ref().take(MAX_LINE_BYTES + 1);
        let read = limited.read_until(b'\n', &mut line);
        if read.map_err(|error| unread(&error))? == 0 {
            return Ok(());
        }
        if line.len() as u64 > MAX_LINE_BYTES {
            return Err(unread(&"more than 1 MB in one line"));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let update = serde_json::from_slice(&line);
        sink(update.map_err(|error| unread(&format!("no update: {error}")))?);
    }
}

fn said_run(path: &Path, form: Form) -> Option<String> {
    if form != Form::Ctrf {
        return None;
    }
    ctrf::run_id(BufReader::new(std::fs::File::open(path).ok()?))
}

/// Follows files until the tool's own log says that it is over, or somebody ends it.
async fn followed(
    patterns: Vec<String>,
    identity: Identity,
    sender: &Sender,
) -> Result<ExitCode, Error> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let page = sender.page_of(&identity.run_id);
    eprintln!("runcast: watch this run at {page}");
    let is_over = Arc::new(AtomicBool::new(false));
    let (updates, waiting) = mpsc::channel(MAX_WAITING);
    let over = is_over.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut files = Followed::new(patterns, SystemTime::UNIX_EPOCH);
        let mut tally = Tally::default();
        let _ = updates.blocking_send(of_run(&identity, "running"));
        loop {
            let is_last = over.load(Ordering::Relaxed) || tally.run.is_some();
            files.look(is_last, &mut |item| {
                tally.count(&item);
                if let Item::Case(case) = &item {
                    for update in updates_of(case, &identity) {
                        let _ = updates.blocking_send(update);
                    }
                }
            });
            if is_last {
                break;
            }
            std::thread::sleep(LOOK);
        }
        let _ = updates.blocking_send(of_run(&identity, tally.status()));
        let unread: Vec<_> = files.unread().cloned().collect();
        (tally, unread)
    });
    let ended = tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let sent = pump(sender, waiting).await;
    ended.abort();
    let (tally, unread) = reading.await?;
    for unread in &unread {
        eprintln!("runcast: {unread}");
    }
    say(format!("{tally}; {page}"));
    let code = finish(sent)?;
    Ok(if unread.is_empty() {
        code
    } else {
        ExitCode::FAILURE
    })
}

/// An update of the run itself.
fn of_run(identity: &Identity, status: &str) -> Value {
    let mut update = identity.of_run();
    let shard = identity.shard.map_or(0, |(index, _)| index).to_string();
    update["eventId"] = json!(hash(&[&identity.run_id, "run", status, &shard]));
    update["status"] = json!(status);
    update
}

/// Sends all that waits, in order.
async fn pump(sender: &Sender, mut waiting: mpsc::Receiver<Value>) -> Result<Sent, NotSent> {
    let mut sent = Sent::default();
    while let Some(updates) = send::batch(&mut waiting, sender).await {
        let receipt = sender.send(&updates, Some(PATIENCE)).await?;
        sent.accepted += receipt.accepted;
        sent.duplicates += receipt.duplicates;
        sent.rejected += receipt.rejected.len();
        let reasons = receipt.rejected.into_iter().map(|rejected| rejected.reason);
        let room = MAX_SHOWN.saturating_sub(sent.reasons.len());
        sent.reasons.extend(reasons.take(room));
    }
    Ok(sent)
}

/// Tells what became of all.
fn finish(sent: Result<Sent, NotSent>) -> Result<ExitCode, Error> {
    let sent = sent?;
    for reason in &sent.reasons {
        eprintln!("runcast: rejected: {reason}");
    }
    let Sent {
        accepted,
        duplicates,
        rejected,
        ..
    } = sent;
    say(format!(
        "{accepted} updates accepted, {duplicates} known already, {rejected} rejected"
    ));
    Ok(if rejected == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
