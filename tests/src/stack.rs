//! A stack of one test's own: `runcast up`.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use redis::aio::MultiplexedConnection;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{PATIENCE, binary, eventually, secrets::leak, viewer::Viewer};

/// A key set with a shared secret, for `AUTH_JWKS`.
pub const SHARED_JWKS: &str = r#"{"keys":[{"kty":"oct","kid":"shared","alg":"HS256",
    "k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]}"#;

/// A token of that key: `{"sub":"s","org":"demo","scope":"status:read status:write",
/// "iss":"runcast-local","aud":"runcast","exp":4102444800}`.
pub const SHARED_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6InNoYXJlZCJ9.\
    eyJzdWIiOiJzIiwib3JnIjoiZGVtbyIsInNjb3BlIjoic3RhdHVzOnJlYWQgc3RhdHVzOndyaXRlIiwiaXNzIjoicnVuY2FzdC1sb2NhbCIsImF1ZCI6InJ1bmNhc3QiLCJleHAiOjQxMDI0NDQ4MDB9.\
    cSA9HFDyVNQyRcRxNaYBJAnYExqaWKztPklgY4Jz_34";

/// Polls so far apart that an event which arrives was not found by one.
pub const NO_POLL: (&str, &str) = ("FALLBACK_POLL_SECONDS", "600");

/// What every `runcast up` of the tests is started with besides: `RUNCAST_TEST_UP_OPTIONS=--hold-chunks`.
fn more_options(command: &str) -> Vec<String> {
    let options = std::env::var("RUNCAST_TEST_UP_OPTIONS");
    let options = options.ok().filter(|_| command == "up").unwrap_or_default();
    options.split_whitespace().map(str::to_owned).collect()
}

/// A running stack. Dropped, it ends.
pub struct Stack {
    /// Where function URLs are served.
    pub url: String,
    /// Its Valkey; may do everything.
    pub redis_url: String,
    /// Its Postgres; may do everything.
    pub database_url: String,
    /// Reads everything of the organization `demo`.
    pub token: String,
    /// Sends everything of the organization `demo`.
    pub write_token: String,
    /// The process.
    pub child: Child,
    /// What the functions and the stack said.
    pub log: tempfile::NamedTempFile,
}

impl Stack {
    /// A stack with the defaults.
    pub async fn start() -> Self {
        Self::with(&[], &[]).await
    }

    /// A stack with these options and variables.
    pub async fn with(options: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::by("up", options, variables).await
    }

    /// The same without Lambda: one process serves every endpoint.
    pub async fn served(options: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::by("serve", options, variables).await
    }

    async fn by(command: &str, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut child = Command::new(binary("runcast"))
            .args([command, "--port", "0", "--end-with-stdin"])
            .args(options)
            .args(more_options(command))
            // Many viewers with one token; tests of the limits set them.
            .env("STREAMS_PER_SUBJECT", "1000000")
            .env("CONNECTS_PER_MINUTE", "1000000")
            .env("UPDATES_PER_MINUTE", "1000000")
            .envs(variables.iter().copied())
            // It ends with this process, however that ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Longer than the stack itself waits for its servers: it says why they do not answer.
        let line = tokio::time::timeout(2 * PATIENCE, lines.next_line()).await;
        let line = line.ok().and_then(Result::unwrap).unwrap_or_else(|| {
            panic!(
                "no stack:\n{}",
                std::fs::read_to_string(log.path()).unwrap()
            )
        });
        let ready: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        Stack {
            url: text("url"),
            redis_url: text("redisUrl"),
            database_url: text("databaseUrl"),
            token: text("token"),
            write_token: text("writeToken"),
            child,
            log,
        }
    }

    /// A stack on servers that are there already, with these variables.
    pub async fn beside(redis_url: &str, database_url: &str, variables: &[(&str, &str)]) -> Self {
        let options = ["--redis-url", redis_url, "--database-url", database_url];
        Self::with(&options, variables).await
    }

    /// What a function needs to run outside of the stack, on the stack's data, with
    /// [`SHARED_TOKEN`].
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("REDIS_URL", self.redis_url.clone()),
            ("DATABASE_URL", self.database_url.clone()),
            ("AUTH_JWKS", SHARED_JWKS.to_owned()),
            ("AUTH_ISSUER", "runcast-local".to_owned()),
            ("AUTH_AUDIENCE", "runcast".to_owned()),
        ]
    }

    /// Runs a command of `runcast` against this stack.
    pub async fn runcast(&self, arguments: &[&str]) -> Output {
        let command = Command::new(binary("runcast"))
            .args(arguments)
            .env("RUNCAST_URL", &self.url)
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(PATIENCE, command)
            .await
            .expect("the command ends")
            .unwrap()
    }

    /// Sends updates through the worker; returns its answer.
    pub async fn send(&self, updates: Value) -> Value {
        self.invoke("worker", &json!({"updates": updates})).await
    }

    /// Sends updates over HTTP.
    pub async fn post(&self, updates: &Value) -> Response {
        let body = json!({"updates": updates}).to_string();
        let request = self.post_request(&self.write_token).body(body);
        request.send().await.unwrap()
    }

    /// A request that sends updates with this token.
    pub fn post_request(&self, token: &str) -> RequestBuilder {
        reqwest::Client::new()
            .post(format!("{}/api/updates", self.url))
            .bearer_auth(token)
            .header("Content-Type", "application/json")
    }

    /// Sends one status of an execution of `demo`/`demo`.
    pub async fn publish(&self, kind: &str, id: &str, status: &str) {
        let answer = self.send(json!([update(kind, id, status)])).await;
        assert_eq!(answer["accepted"], 1, "{answer}");
    }

    /// Invokes a function; returns its answer as JSON.
    pub async fn invoke(&self, function: &str, payload: &Value) -> Value {
        let response = self.invoke_raw(function, payload.to_string()).await;
        response.json().await.unwrap()
    }

    /// Invokes a function.
    pub async fn invoke_raw(&self, function: &str, payload: String) -> Response {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.url);
        reqwest::Client::new()
            .post(url)
            .body(payload)
            .send()
            .await
            .unwrap()
    }

    /// Opens a stream with the stack's token, and asserts that it opens.
    pub async fn watch(&self, path: &str) -> Viewer {
        self.resume(path, None).await
    }

    /// The same for a path made on the way.
    pub async fn watch_owned(&self, path: String) -> Viewer {
        self.watch(&path).await
    }

    /// Opens a stream after a cursor.
    pub async fn resume(&self, path: &str, last_event_id: Option<&str>) -> Viewer {
        let response = self.get(path, last_event_id).await;
        assert_eq!(response.status(), 200, "{path}");
        Viewer::new(response)
    }

    /// Asks for a path with the stack's token.
    pub async fn get(&self, path: &str, last_event_id: Option<&str>) -> Response {
        let mut request = reqwest::Client::new()
            .get(format!("{}{path}", self.url))
            .bearer_auth(&self.token);
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        request.send().await.unwrap()
    }

    /// A token, by `runcast token` with these options.
    pub async fn token(&self, options: &[&str]) -> String {
        let output = self.runcast(&[&["token"], options].concat()).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What Lambda would have billed.
    pub async fn report(&self) -> Value {
        let url = format!("{}/_local/report", self.url);
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }

    /// The ended invocations of a function, the latest last.
    pub async fn ended(&self, function: &str) -> Vec<Value> {
        let report = self.report().await;
        let invocations = report["invocations"].as_array().unwrap();
        let of_function = |ended: &&Value| ended["function"] == function;
        invocations.iter().filter(of_function).cloned().collect()
    }

    /// Waits until every environment of a function is frozen.
    pub async fn all_frozen(&self, function: &str) {
        eventually("every environment is frozen", async || {
            let pids = self.pids(function).await;
            (!pids.is_empty() && pids.into_iter().all(is_frozen)).then_some(())
        })
        .await;
    }

    /// The ids of a function's processes.
    pub async fn pids(&self, function: &str) -> Vec<Pid> {
        let report = self.report().await;
        let processes = &report["functions"][function]["processes"];
        let processes = processes.as_array().cloned().unwrap_or_default();
        let pid = |process: &Value| i32::try_from(process["pid"].as_i64().unwrap()).unwrap();
        processes
            .iter()
            .map(|process| Pid::from_raw(pid(process)))
            .collect()
    }

    /// A connection to the stack's Valkey, once it is there.
    pub async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.redis_url.as_str()).unwrap();
        eventually("Valkey answers", async || {
            client.get_multiplexed_async_connection().await.ok()
        })
        .await
    }

    /// Where the stack's Postgres keeps its data.
    pub async fn data_directory(&self) -> String {
        let postgres = self.postgres().await;
        let row = postgres.query_one("SHOW data_directory", &[]).await;
        row.unwrap().get(0)
    }

    /// A connection to the stack's Postgres, once it is there.
    pub async fn postgres(&self) -> tokio_postgres::Client {
        postgres(&self.database_url).await
    }

    /// The one number that a query of the stack's Postgres yields.
    pub async fn number(&self, query: &str) -> i64 {
        let row = self.postgres().await.query_one(query, &[]).await;
        row.unwrap().get(0)
    }

    /// Lets the worker commit, or makes it fail.
    pub async fn worker_may_commit(&self, may: bool) {
        let (verb, from_or_to) = if may {
            ("GRANT", "TO")
        } else {
            ("REVOKE", "FROM")
        };
        let change = format!("{verb} INSERT ON events {from_or_to} runcast_writer");
        self.postgres().await.batch_execute(&change).await.unwrap();
    }

    /// Lets the worker tell Redis what it has committed, or keeps it from it.
    pub async fn worker_may_publish(&self, may: bool) {
        let rule = if may { "+publish" } else { "-publish" };
        let mut change = redis::cmd("ACL");
        change.arg(&["SETUSER", "worker", rule]);
        change.exec_async(&mut self.redis().await).await.unwrap();
    }

    /// The stack's process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().expect("running")).unwrap())
    }

    /// What the stack's Valkey says of itself: the `INFO` field of this name.
    pub async fn valkey_info(&self, name: &str) -> String {
        let mut redis = self.redis().await;
        let info = redis::cmd("INFO").query_async(&mut redis).await;
        let info: String = info.unwrap();
        let mut fields = info.lines().filter_map(|line| line.split_once(':'));
        let field = fields.find(|(field, _)| *field == name);
        field.expect(name).1.trim().to_owned()
    }

    /// The process of the stack's Valkey.
    pub async fn valkey_pid(&self) -> Pid {
        Pid::from_raw(self.valkey_info("process_id").await.parse().unwrap())
    }

    /// How many listeners the channels of an execution have.
    pub async fn subscribers(&self, kind: &str, id: &str) -> u64 {
        listeners(&mut self.redis().await, &format!("{kind}:{id}:status")).await
    }

    /// Ends the stack as Ctrl-C does, and waits for it.
    pub async fn stop(mut self) {
        signal(self.pid(), Signal::SIGINT);
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        ended.expect("the stack ends").unwrap();
    }

    /// What the functions and the stack have said so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }
}

impl Drop for Stack {
    /// Ends the stack; no secret may be in what it said.
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            signal(
                Pid::from_raw(i32::try_from(pid).unwrap_or(0)),
                Signal::SIGTERM,
            );
        }
        let said = self.said();
        if let Some(line) = leak(&said)
            && !std::thread::panicking()
        {
            panic!("a secret is in the log: {line}");
        }
    }
}

/// How many listeners a channel has at this node.
pub async fn listeners(redis: &mut MultiplexedConnection, channel: &str) -> u64 {
    let mut command = redis::cmd("PUBSUB");
    command.arg("NUMSUB").arg(channel);
    let (_, count): (String, u64) = command.query_async(redis).await.unwrap();
    count
}

/// Sends a signal to a process that may have gone.
pub fn signal(pid: Pid, signal: Signal) {
    if pid.as_raw() > 1 {
        let _ = kill(pid, signal);
    }
}

/// Whether a process is stopped (frozen).
#[must_use]
pub fn is_frozen(pid: Pid) -> bool {
    state(pid) == Some('T')
}

/// Waits until a process has ended, whether or not anyone has asked how.
pub async fn gone(pid: Pid) {
    let ended = async || matches!(state(pid), None | Some('Z')).then_some(());
    eventually("the process ends", ended).await;
}

/// The state of a process, as `ps` names it.
fn state(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// A minimal update of an execution of `demo`/`demo`.
#[must_use]
pub fn update(kind: &str, id: &str, status: &str) -> Value {
    json!({
        "eventId": format!("{:032x}", rand::random::<u128>()),
        "kind": kind,
        "id": id,
        "organizationId": "demo",
        "projectId": "demo",
        "status": status,
    })
}

/// An update with these members more.
#[must_use]
pub fn with(mut update: Value, more: Value) -> Value {
    let (Some(members), Value::Object(more)) = (update.as_object_mut(), more) else {
        panic!("an update and its members are objects");
    };
    members.extend(more);
    update
}

/// A minimal update of a test of a run.
#[must_use]
pub fn of_run(run_id: &str, id: &str, status: &str) -> Value {
    with(update("test", id, status), json!({"runId": run_id}))
}

/// A connection to a Postgres, once it is there.
pub async fn postgres(url: &str) -> tokio_postgres::Client {
    let connected = eventually("Postgres answers", async || {
        tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .ok()
    });
    let (client, connection) = connected.await;
    tokio::spawn(connection);
    client
}
