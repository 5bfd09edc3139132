//! Every command of the documentation is run, as a reader would: in bash, in the checkout, with what
//! was built on the path.

use std::{
    collections::BTreeSet,
    process::{Output, Stdio},
    time::Duration,
};

use integration::{
    PATIENCE, binary, checkout, eventually,
    stack::{Stack, gone},
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::{error::Elapsed, timeout},
};

use super::{
    none_is_wrong,
    page::{Page, pages},
};

/// The commands that are not run here, and why, or where they are.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "make demo",
        "`runcast demo` is run here; make only builds before",
    ),
    ("make test", "it runs this test"),
    ("make build", "it built this test"),
    (
        "node --test tests/browser/run.test.mjs",
        "`make test` runs all of them",
    ),
    (
        "BROWSER=firefox node --test tests/browser/run.test.mjs",
        "`make test` runs it",
    ),
    ("make check", ".ci/run runs it"),
    ("make rehearse", ".ci/run runs it"),
    ("make container", "minutes; it needs buildah"),
    (
        "docker buildx build --platform linux/arm64 --file Containerfile --tag $IMAGE --push .",
        "it needs a registry; `make container` builds it without one",
    ),
    (
        "aws cloudformation deploy --stack-name runcast-service --template-file infra/service.yaml --capabilities CAPABILITY_IAM --parameter-overrides file://service.json",
        "it needs AWS; `make rehearse` deploys to an emulator",
    ),
    (
        "kubectl create secret generic runcast --from-literal=REDIS_URL=$REDIS_URL --from-literal=DATABASE_URL=$DATABASE_URL --from-literal=AUTH_JWKS=$AUTH_JWKS",
        "it needs a cluster",
    ),
    (
        "kubectl apply --filename infra/kubernetes.yaml",
        "it needs a cluster; `make rehearse` holds it to the schemas",
    ),
    ("make arm64", "minutes, for another machine"),
    ("make release", "ten minutes"),
    ("make chaos", "ten minutes; `make test` has 40 s of it"),
    ("make storm", "its figures need the machine for themselves"),
    ("make chaos SEED=… MINUTES=2", "`make test` has 40 s of it"),
    (
        "make fuzz",
        "a minute for each target, and a build of its own",
    ),
    ("make advisories", "it needs GitHub"),
    ("make bench", "it needs the machine for itself"),
    ("make screenshots", "it writes into docs/"),
    (
        "cargo build --workspace && cargo test --workspace --test suite a_cursor_resumes",
        "it is how this test is run; that one of that name exists, another test asks",
    ),
    (
        "cargo fuzz run --sanitizer none cursor fuzz/growth/cursor fuzz/corpus/cursor -- -dict=fuzz/dictionaries/cursor.txt",
        "fuzz/run.sh runs it, with more options",
    ),
    (
        "cargo fuzz run --sanitizer none cursor fuzz/artifacts/cursor/crash-…",
        "there is no crash",
    ),
    ("cargo deny", "a program's name; `make check` runs it"),
    (
        "cargo build --workspace --bins --profile profiling",
        "it takes minutes",
    ),
    ("target/profiling/runcast up", "the same in target/debug"),
    (
        "target/profiling/runcast tail job r1",
        "the same in target/debug",
    ),
    (
        "perf record -g -p \"$(pgrep -n job-status)\" -- sleep 10",
        "by hand: perf is not everywhere, nor allowed",
    ),
    ("perf report", "by hand"),
    (
        "npm --prefix web run types",
        "it writes web/client/schema.ts, which web/client/test/package.test.ts compares",
    ),
    ("npm audit", "it needs GitHub; `make advisories` runs it"),
    (
        "npm ci && npm pack",
        "web/client/test/package.test.ts builds it",
    ),
    (
        "npm ci --prefix producers/node && npm pack ./producers/node",
        "producers/node/test/package.test.ts packs it",
    ),
    (
        "npm install --save-dev ./runcast-reporter-0.2.0.tgz",
        "producers/node/test/package.test.ts installs it",
    ),
    (
        "pip install ./producers/python",
        "make installs it for its tests",
    ),
    ("pytest", "producers/python/tests run it"),
    (
        "cd producers/python && python3 -m venv .venv",
        "make does it",
    ),
    (
        ".venv/bin/pip install --no-deps --require-hashes -r requirements-test.txt",
        "make does it",
    ),
    (
        ".venv/bin/pip install --no-deps --no-build-isolation --editable .",
        "make does it",
    ),
    (".venv/bin/pytest -n 2", "`make test` runs it"),
    (
        "make setup-tests && export PATH=$PWD/.venv/bin:$PATH",
        "`make test` runs the first part",
    ),
    ("sam build", "`make rehearse` runs it"),
    (
        "sam build --parameter-overrides Architecture=x86_64",
        "`make rehearse` runs it",
    ),
    (
        "rustup target add aarch64-unknown-linux-gnu",
        "it needs the network",
    ),
    (
        "sam deploy --guided",
        "it needs AWS; `make rehearse` deploys to an emulator",
    ),
    (
        "sam deploy",
        "it needs AWS; `make rehearse` deploys to an emulator",
    ),
    (
        "aws cloudformation delete-stack --stack-name runcast",
        "it needs AWS; `make rehearse` deletes what failed",
    ),
    (
        "sam deploy --tags",
        "it needs AWS; `make rehearse` deploys to an emulator",
    ),
    ("git pull", "it needs the network"),
    (
        "make web/dist/index.html && aws s3 sync web/dist s3://$DASHBOARD_BUCKET --delete",
        "it needs AWS; `make build` runs the first part",
    ),
    ("aws sqs receive-message", "it needs AWS"),
    ("aws sqs start-message-move-task", "it needs AWS"),
    (
        "aws lambda update-event-source-mapping --uuid $UPDATES_MAPPING --no-enabled",
        "it needs AWS; `make rehearse` runs it",
    ),
    (
        "aws lambda update-event-source-mapping --uuid $DEAD_UPDATES_MAPPING --enabled",
        "it needs AWS; `make rehearse` runs it",
    ),
    (
        "aws lambda update-event-source-mapping --uuid $DEAD_UPDATES_MAPPING --no-enabled",
        "it needs AWS; `make rehearse` runs it",
    ),
    (
        "aws lambda update-event-source-mapping --uuid $UPDATES_MAPPING --enabled",
        "it needs AWS; `make rehearse` runs it",
    ),
    (
        "aws rds modify-db-cluster --master-user-password",
        "it needs AWS",
    ),
    (
        "aws rds restore-db-cluster-to-point-in-time",
        "it needs AWS; `make rehearse` restores a copy",
    ),
    (
        "aws rds create-db-instance",
        "it needs AWS; `make rehearse` restores a copy",
    ),
    (
        "aws lambda put-function-concurrency --reserved-concurrent-executions 0",
        "it needs AWS",
    ),
    (
        "runcast run --junit 'target/surefire-reports/*.xml' -- mvn test",
        "it needs a project of Java's; tests/suite/reports/files.rs",
    ),
    (
        "runcast cost --viewers … --minutes …",
        "tests/suite/cost.rs",
    ),
];

/// Programs that a page must not make this test run by being written: what they do outlasts it.
const LASTING: [&str; 6] = ["cargo ", "git ", "make ", "npm ci", "rustup ", "sam "];

/// Commands that go on until they are ended, by a part of them, and what they say once they are ready.
const SERVERS: [(&str, &str); 4] = [
    ("runcast up", "\"url\""),
    ("runcast serve", "\"url\""),
    ("runcast demo", "watch it at"),
    ("npx vite -c", "Local:"),
];

/// What a command says, by its beginning.
const SAYS: [(&str, &str); 9] = [
    ("make", "List the targets"),
    ("runcast publish", "\"accepted\":1"),
    ("curl -N -H", "\"status\":\"passed\""),
    ("curl --data-binary", "{\"batchItemFailures\":[]}"),
    ("sed \"s/TOKEN/", "\"status\":\"passed\""),
    ("curl -sN -o /dev/null", " of "),
    (
        "aws lambda invoke --function-name $MIGRATE_FUNCTION --payload fileb://infra/events/prune",
        "prunedEvents",
    ),
    (
        "aws lambda invoke --function-name $MIGRATE_FUNCTION --payload fileb://infra/events/restored",
        "epoch",
    ),
    ("aws lambda invoke --function-name $WORKER", "givenUp"),
];

/// What commands begin with. In a sentence, other code is none.
const PROGRAMS: [&str; 17] = [
    "aws",
    "cargo",
    "cd",
    "curl",
    "git",
    "make",
    "node",
    "npm",
    "npx",
    "perf",
    "pip",
    "runcast",
    "rustup",
    "sam",
    "target/debug/runcast",
    "target/profiling/runcast",
    "valgrind",
];

/// The commands of each block, and each that stands in a sentence, with the page.
fn scripts(pages: &[Page]) -> Vec<(&str, Vec<String>)> {
    let mut scripts = Vec::new();
    for page in pages {
        for (language, code) in &page.blocks {
            if language == "sh" {
                scripts.push((page.path.as_str(), commands(code)));
            }
        }
    }
    // What a block has, a sentence only mentions.
    let in_blocks: BTreeSet<_> = scripts
        .iter()
        .flat_map(|(_, block)| block.clone())
        .collect();
    for page in pages {
        let inline = page
            .inline
            .iter()
            .filter(|code| is_command(code) && !in_blocks.contains(*code));
        scripts.extend(inline.map(|code| (page.path.as_str(), vec![code.clone()])));
    }
    scripts
}

/// A block's commands, without comments, each on one line.
fn commands(block: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut command = String::new();
    for line in block.lines() {
        let line = format!(" {line}");
        let line = line.split(" #").next().unwrap().trim();
        let part = line.trim_end_matches('\\');
        command.push_str(part);
        if part != line || line.ends_with('|') {
            command = format!("{} ", command.trim_end());
        } else if !command.is_empty() {
            commands.push(std::mem::take(&mut command));
        }
    }
    commands
}

fn is_command(code: &str) -> bool {
    let is_variable = |word: &&str| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    let mut words = code.split(' ').skip_while(is_variable);
    words.next().is_some_and(|word| PROGRAMS.contains(&word)) && words.next().is_some()
}

fn is_run_elsewhere(command: &str) -> bool {
    ELSEWHERE.iter().any(|(other, _)| *other == command)
}

#[test]
fn what_is_run_elsewhere_is_in_a_page() {
    let pages = pages();
    let scripts = scripts(&pages);
    let is_there = |command: &str| {
        let mut all = scripts.iter().flat_map(|(_, commands)| commands);
        all.any(|other| other == command)
    };
    let gone = ELSEWHERE.iter().filter(|(command, _)| !is_there(command));
    none_is_wrong(gone.map(|(command, _)| (*command).to_owned()).collect());
}

#[test]
fn every_target_of_make_that_is_named_exists() {
    let makefile = std::fs::read_to_string(checkout("Makefile")).unwrap();
    let rules = makefile.lines().filter(|line| !line.starts_with('\t'));
    let rules = rules.filter_map(|line| line.split_once(':'));
    let targets: BTreeSet<_> = rules.flat_map(|(targets, _)| targets.split(' ')).collect();
    let mut wrong = Vec::new();
    for (page, commands) in scripts(&pages()) {
        for command in commands.iter().flat_map(|command| command.split(" && ")) {
            let named = command.strip_prefix("make ").unwrap_or_default();
            let mut named = named.split(' ').filter(|word| !word.contains('='));
            if let Some(target) =
                named.find(|target| !target.is_empty() && !targets.contains(target))
            {
                wrong.push(format!("{page}: make {target}"));
            }
        }
    }
    none_is_wrong(wrong);
}

#[tokio::test]
async fn every_command_works() {
    let pages = pages();
    let terminal = Terminal {
        // A reader would wait longer for the end of a stream.
        stack: Stack::with(&[], &[("STREAM_WINDOW_SECONDS", "2")]).await,
        folder: tempfile::tempdir().unwrap(),
    };
    // As `curl` is, it succeeds whatever the answer.
    std::fs::write(terminal.folder.path().join(".curlrc"), "fail-with-body\n").unwrap();
    let mut wrong = Vec::new();
    for (page, mut commands) in scripts(&pages) {
        commands.retain(|command| !is_run_elsewhere(command));
        let lasts = |command: &&String| LASTING.iter().any(|name| command.starts_with(name));
        if let Some(command) = commands.iter().find(lasts) {
            wrong.push(format!("{page}: name what runs this elsewhere: {command}"));
            continue;
        }
        if let Err(said) = terminal.play(commands).await {
            wrong.push(format!("{page}: {said}"));
        }
    }
    none_is_wrong(wrong);
}

/// Where a reader sits, with a stack.
struct Terminal {
    stack: Stack,
    folder: tempfile::TempDir,
}

impl Terminal {
    /// Runs the commands of a block.
    async fn play(&self, commands: Vec<String>) -> Result<(), String> {
        let mut script = Vec::new();
        let mut tail = None;
        for command in commands {
            let is_server = SERVERS.iter().find(|(part, _)| command.contains(part));
            if command == "runcast up" {
                // The stack has been started so.
            } else if let Some((_, ready)) = is_server {
                self.serve(&command, ready).await?;
            } else if command.starts_with("runcast tail") {
                let words: Vec<_> = command.split(' ').collect();
                let [kind, id] = [words[2], words[3]].map(str::to_owned);
                tail = Some(self.bash(&command).spawn().unwrap());
                eventually("the tail listens", async || {
                    (self.stack.subscribers(&kind, &id).await == 1).then_some(())
                })
                .await;
            } else {
                script.push(command);
            }
        }
        let bash = self.bash(&script.join("\n")).output();
        let said = succeeded(timeout(PATIENCE, bash).await)?;
        for (_, word) in SAYS
            .iter()
            .filter(|(beginning, _)| script.iter().any(|line| line.starts_with(beginning)))
        {
            if !said.contains(word) {
                return Err(format!("{word} is not in:\n{said}"));
            }
        }
        if let Some(tail) = tail {
            succeeded(timeout(PATIENCE, tail.wait_with_output()).await)?;
        }
        Ok(())
    }

    /// Starts a command that goes on, waits until it is ready, and ends it.
    async fn serve(&self, command: &str, ready: &str) -> Result<(), String> {
        let port = if command.contains("runcast") {
            " --port 0"
        } else {
            ""
        };
        let mut child = self
            .bash(&format!("({command}{port}) 2>&1"))
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains(ready) {
                    return true;
                }
            }
            false
        };
        let is_ready = timeout(Duration::from_mins(1), is_ready).await;
        let _ = killpg(pid, Signal::SIGTERM);
        gone(pid).await;
        let is_ready = is_ready.unwrap_or(false);
        is_ready
            .then_some(())
            .ok_or_else(|| format!("{command} never says {ready}"))
    }

    fn bash(&self, script: &str) -> Command {
        let folder = self.folder.path().to_str().unwrap();
        let script = script.replace("http://127.0.0.1:8787", &self.stack.url);
        let script = script.replace("/tmp/s", &format!("{folder}/s"));
        let built = binary("runcast");
        let mut path = std::ffi::OsString::from(built.parent().unwrap());
        for more in [
            checkout(".venv-producers/bin").into(),
            std::env::var_os("PATH").unwrap(),
        ] {
            path.push(":");
            path.push(more);
        }
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &script])
            .current_dir(checkout(""))
            .env("PATH", path)
            .env("CURL_HOME", folder)
            .env("RUNCAST_URL", &self.stack.url)
            .env("TOKEN", &self.stack.token)
            .env("JOB_STATUS_ADDRESS", format!("{}/", self.stack.url))
            .env("MIGRATE_FUNCTION", "migrate")
            .env("WORKER_FUNCTION", "worker")
            .env("AWS_ENDPOINT_URL_LAMBDA", &self.stack.url)
            .envs([
                ("AWS_ACCESS_KEY_ID", "local"),
                ("AWS_SECRET_ACCESS_KEY", "local"),
            ])
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            // Where CI is set, some programs colour what they say.
            .env("NO_COLOR", "1")
            .env_remove("MAKEFLAGS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        bash
    }
}

/// What a command said; an error where it failed.
fn succeeded(ended: Result<std::io::Result<Output>, Elapsed>) -> Result<String, String> {
    let output = ended.map_err(|_| "it does not end")?.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("{}:\n{said}", output.status))
    }
}
