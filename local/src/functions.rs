//! The functions of a stack: what each is, and how they are started.

use std::time::Duration;

use serde_json::{Value, json};
use shared::config;

use crate::{
    Error,
    environment::Spec,
    function_url::collect,
    lambda::Lambda,
    report::Report,
    servers::{Addresses, Servers},
};

/// A function.
struct Function {
    name: &'static str,
    /// What its function URL serves, below `/api`.
    paths: &'static [&'static str],
    memory_mb: u32,
    role: Role,
}

/// What a function does, and so what it may do in Redis and Postgres.
#[derive(PartialEq)]
enum Role {
    /// Streams to viewers.
    Stream,
    /// Takes updates.
    Worker,
    /// Takes updates from who has a token.
    Ingest,
    /// Prepares the schema.
    Migrate,
    /// Tells others, where somebody is to be told.
    Notify,
}

const FUNCTIONS: [Function; 7] = [
    Function {
        name: "test-status",
        paths: &["test-status"],
        memory_mb: 128,
        role: Role::Stream,
    },
    Function {
        name: "job-status",
        paths: &["job-status", "runs"],
        memory_mb: 128,
        role: Role::Stream,
    },
    Function {
        name: "queue-stats",
        paths: &["queue-stats"],
        memory_mb: 128,
        role: Role::Stream,
    },
    Function {
        name: "worker",
        paths: &[],
        memory_mb: 256,
        role: Role::Worker,
    },
    Function {
        name: "ingest",
        paths: &["updates"],
        memory_mb: 256,
        role: Role::Ingest,
    },
    Function {
        name: "notify",
        paths: &[],
        memory_mb: 128,
        role: Role::Notify,
    },
    Function {
        name: "migrate",
        paths: &[],
        memory_mb: 128,
        role: Role::Migrate,
    },
];

/// What a schedule invokes.
pub(crate) struct Scheduled {
    pub(crate) sweep: Lambda,
    /// Where somebody is to be told.
    pub(crate) notify: Option<Lambda>,
}

/// What the functions of a stack have in common.
pub(crate) struct Functions {
    /// Where the stack is.
    pub(crate) url: String,
    pub(crate) time_limit: Duration,
    pub(crate) max_environments: usize,
    /// How many invocations the one process of a streaming function serves at once.
    pub(crate) managed: Option<u32>,
    /// Chunks of streams that have fewer bytes are held back.
    pub(crate) hold_chunks: usize,
    /// The process group to start in.
    pub(crate) group: i32,
    pub(crate) report: Report,
    pub(crate) variables: Vec<(String, String)>,
}

impl Functions {
    /// Migrates the schema.
    pub(crate) async fn migrate(
        &self,
        servers: &Servers,
        lambdas: &mut Vec<Lambda>,
    ) -> Result<(), Error> {
        for function in FUNCTIONS.iter().filter(|it| it.role == Role::Migrate) {
            let migrate = self.lambda(function, &servers.owner)?;
            lambdas.push(migrate.clone());
            eprintln!("runcast: migrating the schema");
            invoke(&migrate, &json!({"action": "migrate"})).await?;
        }
        Ok(())
    }

    /// Makes every function ready. What there is by then is in `lambdas`, also where one fails. Returns
    /// those that a schedule invokes.
    pub(crate) async fn prepare(
        &self,
        servers: &Servers,
        queue_prefix: &str,
        lambdas: &mut Vec<Lambda>,
    ) -> Result<Scheduled, Error> {
        let streams = servers.for_streams(queue_prefix).await?;
        let worker = servers.for_worker().await?;
        let ingest = servers.for_ingest(&worker).await?;
        for function in &FUNCTIONS {
            let addresses = match function.role {
                Role::Stream => &streams,
                Role::Worker => &worker,
                Role::Ingest => &ingest,
                Role::Migrate | Role::Notify => continue,
            };
            let lambda = self.lambda(function, addresses)?;
            lambda.prepare().await?;
            lambdas.push(lambda);
        }
        self.schedules(&worker, lambdas)
    }

    /// Makes the worker ready, alone.
    pub(crate) fn worker(
        &self,
        worker: &Addresses,
        lambdas: &mut Vec<Lambda>,
    ) -> Result<(), Error> {
        for function in FUNCTIONS.iter().filter(|it| it.role == Role::Worker) {
            lambdas.push(self.lambda(function, worker)?);
        }
        Ok(())
    }

    /// What schedules invoke.
    fn schedules(&self, worker: &Addresses, lambdas: &mut Vec<Lambda>) -> Result<Scheduled, Error> {
        let scheduled = Scheduled {
            sweep: self.scheduled("sweep", &Role::Worker, worker.variables().into())?,
            notify: if is_somebody_told() {
                Some(self.scheduled("notify", &Role::Notify, self.for_notify())?)
            } else {
                None
            },
        };
        lambdas.push(scheduled.sweep.clone());
        lambdas.extend(scheduled.notify.clone());
        Ok(scheduled)
    }

    /// A function of the stack's own, for its schedule: what it does is in no report.
    fn scheduled(
        &self,
        name: &'static str,
        role: &Role,
        variables: Vec<(String, String)>,
    ) -> Result<Lambda, Error> {
        let function = FUNCTIONS.iter().find(|it| it.role == *role);
        let function = function.ok_or("there is no such function")?;
        let spec = Spec {
            name,
            is_quiet: true,
            ..self.spec(function, variables)?
        };
        Ok(Lambda::new(spec, self.time_limit, 1, Report::default()))
    }

    /// The worker is reached as in AWS: by Lambda's API, here the stack's own.
    fn for_notify(&self) -> Vec<(String, String)> {
        [
            ("WORKER_FUNCTION", "worker"),
            ("AWS_ENDPOINT_URL_LAMBDA", &self.url),
            ("AWS_REGION", "local"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn lambda(&self, function: &Function, servers: &Addresses) -> Result<Lambda, Error> {
        let spec = self.spec(function, servers.variables().into())?;
        let is_managed = spec.concurrency > 1;
        let environments = if is_managed { 1 } else { self.max_environments };
        let report = self.report.clone();
        Ok(Lambda::new(spec, self.time_limit, environments, report))
    }

    fn spec(&self, function: &Function, own: Vec<(String, String)>) -> Result<Spec, Error> {
        let binary = std::env::current_exe()?.with_file_name(function.name);
        if !binary.exists() {
            let binary = binary.display();
            return Err(format!("{binary} is not built: run `make build`").into());
        }
        let managed = self.managed.filter(|_| function.role == Role::Stream);
        let mut variables = self.variables.clone();
        variables.extend(own);
        Ok(Spec {
            name: function.name,
            binary,
            variables,
            memory_mb: function.memory_mb,
            paths: function.paths,
            concurrency: managed.map_or(1, |concurrency| concurrency as usize),
            hold_chunks: self.hold_chunks,
            group: self.group,
            is_quiet: false,
        })
    }
}

/// Whether it is configured who is to be told of what has happened.
fn is_somebody_told() -> bool {
    let env = config::Env::of_process();
    ["EVENT_BUS", "WEBHOOK_URL"]
        .iter()
        .any(|variable| env.get(variable).is_some())
}

/// Invokes a function of the stack's own, and fails where it does.
pub(crate) async fn invoke(lambda: &Lambda, payload: &Value) -> Result<(), Error> {
    let answer = lambda.invoke(payload.to_string().into()).await?;
    let is_error = answer.is_error;
    let body = collect(answer.body).await?;
    if is_error {
        let said = String::from_utf8_lossy(&body).into_owned();
        return Err(format!("{} failed: {said}", lambda.name()).into());
    }
    Ok(())
}
