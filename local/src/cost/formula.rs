//! The formulas. Pure: a usage goes in, quantities and dollars come out.

use serde::Serialize;

use super::prices::{self, Price};

/// Hours of a month, as AWS counts them.
pub(crate) const HOURS_A_MONTH: f64 = 730.0;

/// Updates that producers send of an execution (assumed).
pub(crate) const UPDATES_AN_EXECUTION: f64 = 12.0;

/// A window is 80 to 100 % of its setting.
const MEAN_WINDOW: f64 = 0.9;
/// What Lambda streams free of charge in each request, in bytes.
const FREE_STREAMED_BYTES: f64 = 6.0 * 1024.0 * 1024.0;
/// Prelude, headers and the first frame of a stream, in bytes.
const OPENING_BYTES: f64 = 1_200.0;
/// A ping, in bytes; one in 15 seconds at most.
const PING_BYTES: f64 = 8.0;
const PING_SECONDS: f64 = 15.0;
/// `START`, `END`, `REPORT`, the stream's own line and its metrics, in bytes.
const LOGGED_BYTES_A_REQUEST: f64 = 1_500.0;
/// The stream's own line, which is all that the service writes of it, in bytes.
const LOGGED_BYTES_A_STREAM: f64 = 350.0;
/// Custom metrics by function and name: each that the dashboard of `template.yaml` shows.
const METRICS_BY_NAME: f64 = 45.0;
/// Those by reason beside: a streaming function's streams end by two reasons mostly (assumed).
const METRICS_BY_REASON: f64 = 6.0;
/// Metrics that the alarms watch, with new data and nobody told, each paid for.
const ALARM_METRICS: f64 = 42.0;
/// Long polls of an idle queue: five pollers, each 20 seconds (assumed: AWS's number for standard queues).
const IDLE_POLLS_A_MONTH: f64 = 5.0 * HOURS_A_MONTH * 3600.0 / 20.0;
const BYTES_A_GB: f64 = 1e9;
/// AWS starts three Managed Instances by default.
const LEAST_INSTANCES: f64 = 3.0;
/// `infra/service.yaml`: two tasks, so that one may fail.
const LEAST_TASKS: f64 = 2.0;
const TASK_CPUS: f64 = 0.5;
const TASK_MEMORY_GB: f64 = 1.0;
/// `infra/service.yaml` adds a task at 6,000 connections of the balancer: a stream is two, to it and from it.
const STREAMS_A_TASK: f64 = 3_000.0;
const CONNECTIONS_A_BALANCER_UNIT: f64 = 3_000.0;
const GB_A_BALANCER_UNIT_HOUR: f64 = 1.0;
/// The balancer has one in each zone.
const BALANCER_ADDRESSES: f64 = 2.0;
/// API Gateway closes a connection that is idle for ten minutes.
const GATEWAY_PING_MINUTES: f64 = 9.0;

/// The two lines that are paid for each stream.
const HELD: &str = "Lambda, streams held";
const REQUESTS: &str = "Lambda, requests (windows)";

/// How a viewer's streams are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// A stream for each execution that is watched
    Separate,
    /// A stream for each tab, with all its executions
    Multiplexed,
    /// One stream for all tabs of a viewer
    Shared,
    /// As multiplexed, on Lambda Managed Instances
    Managed,
    /// As multiplexed, by `runcast-server` on Fargate, arm64, behind a load balancer
    Service,
}

/// Whose processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Architecture {
    /// Intel and AMD
    #[value(name = "x86_64")]
    X86,
    /// Graviton
    #[value(name = "arm64")]
    Arm,
}

/// What happens, in a month or in a run.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub(crate) mode: Mode,
    pub(crate) architecture: Architecture,
    pub(crate) viewers: f64,
    /// How long each viewer looks.
    pub(crate) minutes: f64,
    /// Executions that a viewer watches at once, in all tabs together.
    pub(crate) watched: f64,
    pub(crate) tabs: f64,
    /// States that reach a viewer's tab in a minute.
    pub(crate) frames_a_minute: f64,
    pub(crate) frame_bytes: f64,
    pub(crate) updates: f64,
    pub(crate) window_seconds: f64,
    pub(crate) stream_memory_mb: f64,
    pub(crate) start_milliseconds: f64,
    pub(crate) batch: f64,
    pub(crate) worker_memory_mb: f64,
    pub(crate) worker_milliseconds: f64,
    /// Streams that one managed instance holds.
    pub(crate) streams_an_instance: f64,
    pub(crate) cloudfront: bool,
}

/// A viewer who looks for an hour, at what is assumed where nobody says.
pub(crate) const ASSUMED: Usage = Usage {
    mode: Mode::Separate,
    architecture: Architecture::X86,
    viewers: 1.0,
    minutes: 60.0,
    watched: 1.0,
    tabs: 1.0,
    frames_a_minute: 6.0,
    frame_bytes: 700.0,
    updates: 10_000.0 * UPDATES_AN_EXECUTION,
    window_seconds: 120.0,
    stream_memory_mb: 128.0,
    start_milliseconds: 60.0,
    batch: 3.0,
    worker_memory_mb: 256.0,
    worker_milliseconds: 50.0,
    streams_an_instance: 1000.0,
    cloudfront: false,
};

/// A line of the bill.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    pub(crate) item: &'static str,
    pub(crate) quantity: f64,
    pub(crate) unit: &'static str,
    pub(crate) dollars: f64,
}

/// Another way, and what it would cost to deliver the same.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alternative {
    pub(crate) name: &'static str,
    pub(crate) dollars: f64,
    /// What it needs beside.
    pub(crate) also_needs: &'static str,
}

fn line(item: &'static str, quantity: f64, unit: &'static str, price: Price) -> Line {
    let dollars = quantity * price.dollars;
    Line {
        item,
        quantity,
        unit,
        dollars,
    }
}

/// The sum of lines.
pub(crate) fn total(lines: &[Line]) -> f64 {
    lines.iter().map(|line| line.dollars).sum()
}

impl Usage {
    fn streams(&self) -> f64 {
        let each = match self.mode {
            Mode::Separate => self.watched.max(self.tabs),
            Mode::Multiplexed | Mode::Managed | Mode::Service => self.tabs,
            Mode::Shared => 1.0,
        };
        self.viewers * each
    }

    /// Connections that another way would hold: one for each tab, or one where tabs share.
    fn connections(&self) -> f64 {
        let each = if self.mode == Mode::Shared {
            1.0
        } else {
            self.tabs
        };
        self.viewers * each
    }

    fn stream_seconds(&self) -> f64 {
        self.streams() * self.minutes * 60.0
    }

    pub(crate) fn stream_hours(&self) -> f64 {
        self.stream_seconds() / 3600.0
    }

    /// An invocation for each window.
    fn requests(&self) -> f64 {
        self.stream_seconds() / (self.window_seconds * MEAN_WINDOW)
    }

    /// A tab that watches by several streams gets no more states than by one.
    fn frames(&self) -> f64 {
        self.connections() * self.minutes * self.frames_a_minute
    }

    fn bytes(&self) -> f64 {
        self.frames() * self.frame_bytes
            + self.requests() * OPENING_BYTES
            + self.stream_seconds() / PING_SECONDS * PING_BYTES
    }

    fn streamed_bytes_beyond_free(&self) -> f64 {
        let each = self.bytes() / self.requests();
        (each - FREE_STREAMED_BYTES).max(0.0) * self.requests()
    }

    fn stream_gb_seconds(&self) -> f64 {
        let started = self.requests() * self.start_milliseconds / 1000.0;
        (self.stream_seconds() + started) * self.stream_memory_mb / 1024.0
    }

    /// What a GB-second of Lambda costs.
    fn duration(&self) -> Price {
        match self.architecture {
            Architecture::X86 => prices::LAMBDA_X86,
            Architecture::Arm => prices::LAMBDA_ARM,
        }
    }

    /// What it costs to hold the streams and to send what is on them.
    pub(crate) fn delivery(&self) -> Vec<Line> {
        let mut lines = match self.mode {
            Mode::Managed => self.instances(),
            Mode::Service => self.service(),
            Mode::Separate | Mode::Multiplexed | Mode::Shared => {
                let seconds = self.stream_gb_seconds();
                vec![line(HELD, seconds, "GB-s", self.duration())]
            }
        };
        let millions = self.requests() / 1e6;
        let gigabytes = self.bytes() / BYTES_A_GB;
        let is_lambda = self.mode != Mode::Service;
        if is_lambda {
            let beyond = self.streamed_bytes_beyond_free() / BYTES_A_GB;
            lines.push(line(REQUESTS, millions, "million", prices::LAMBDA_REQUESTS));
            let streamed = "Lambda, streamed beyond 6 MB";
            lines.push(line(streamed, beyond, "GB", prices::LAMBDA_STREAMED));
        }
        if self.cloudfront {
            let price = prices::CLOUDFRONT_REQUESTS;
            lines.push(line("CloudFront, requests", millions, "million", price));
            let price = prices::CLOUDFRONT_BYTES;
            lines.push(line("CloudFront, transfer", gigabytes, "GB", price));
        } else {
            lines.push(line(
                "Data transfer out",
                gigabytes,
                "GB",
                prices::TRANSFER_OUT,
            ));
        }
        let each = if is_lambda {
            LOGGED_BYTES_A_REQUEST
        } else {
            LOGGED_BYTES_A_STREAM
        };
        let logged = self.requests() * each / BYTES_A_GB;
        lines.push(line("CloudWatch Logs", logged, "GB", prices::LOGS));
        lines
    }

    /// So does the service of `infra/service.yaml`.
    fn service(&self) -> Vec<Line> {
        let tasks = (self.streams() / STREAMS_A_TASK).ceil();
        let hours = tasks.max(LEAST_TASKS) * HOURS_A_MONTH;
        let balancer = prices::BALANCER_HOURS;
        // Whichever is more; and a balancer that nobody uses has a part of a unit.
        let connections = self.streams() / CONNECTIONS_A_BALANCER_UNIT;
        let gigabytes = self.bytes() / BYTES_A_GB / HOURS_A_MONTH / GB_A_BALANCER_UNIT_HOUR;
        let units = connections.max(gigabytes) * HOURS_A_MONTH;
        let addresses = hours + BALANCER_ADDRESSES * HOURS_A_MONTH;
        vec![
            line(
                "Fargate, vCPUs",
                hours * TASK_CPUS,
                "vCPU-hours",
                prices::FARGATE_CPU,
            ),
            line(
                "Fargate, memory",
                hours * TASK_MEMORY_GB,
                "GB-hours",
                prices::FARGATE_MEMORY,
            ),
            line("Load balancer", HOURS_A_MONTH, "hours", balancer),
            line("its units", units, "unit-hours", prices::BALANCER_UNITS),
            line("Public addresses", addresses, "hours", prices::ADDRESS),
        ]
    }

    /// Managed Instances run all month, whoever looks.
    fn instances(&self) -> Vec<Line> {
        let instance = match self.architecture {
            Architecture::X86 => prices::INSTANCE_X86,
            Architecture::Arm => prices::INSTANCE_ARM,
        };
        let needed = (self.streams() / self.streams_an_instance).ceil();
        let hours = needed.max(LEAST_INSTANCES) * HOURS_A_MONTH;
        let compute = line("EC2 of Managed Instances", hours, "hours", instance);
        let fee = line("their fee", compute.dollars, "$", prices::MANAGED_FEE);
        vec![compute, fee]
    }

    /// What it costs to take updates in: the same whichever way they are delivered.
    pub(crate) fn ingest(&self) -> Vec<Line> {
        let invocations = self.updates / self.batch;
        let seconds = invocations * self.worker_milliseconds / 1000.0;
        let gb_seconds = seconds * self.worker_memory_mb / 1024.0;
        // A send for each update; a receive and a delete for each batch.
        let queue = self.updates + 2.0 * invocations + IDLE_POLLS_A_MONTH;
        let logged = invocations * LOGGED_BYTES_A_REQUEST / BYTES_A_GB;
        let requests = prices::LAMBDA_REQUESTS;
        vec![
            line("Lambda, worker", gb_seconds, "GB-s", self.duration()),
            line(
                "Lambda, worker's requests",
                invocations / 1e6,
                "million",
                requests,
            ),
            line("SQS FIFO", queue / 1e6, "million", prices::SQS_FIFO),
            line("CloudWatch Logs, worker", logged, "GB", prices::LOGS),
            line(
                "CloudWatch metrics (EMF)",
                METRICS_BY_NAME + METRICS_BY_REASON,
                "metrics",
                prices::METRICS,
            ),
        ]
    }

    /// The other ways to deliver the same to the same viewers.
    pub(crate) fn alternatives(&self) -> Vec<Alternative> {
        let minutes = self.connections() * self.minutes;
        let transfer = self.frames() * self.frame_bytes / BYTES_A_GB;
        let transfer_dollars = transfer * prices::TRANSFER_OUT.dollars;
        let pings = minutes / GATEWAY_PING_MINUTES;
        let gateway = minutes / 1e6 * prices::GATEWAY_MINUTES.dollars
            + (self.frames() + pings) / 1e6 * prices::GATEWAY_MESSAGES.dollars;
        let operations = self.updates + self.frames() + self.connections();
        let appsync = minutes / 1e6 * prices::APPSYNC_MINUTES.dollars
            + operations / 1e6 * prices::APPSYNC_OPERATIONS.dollars;
        let service = Usage {
            mode: Mode::Service,
            // One where tabs share.
            tabs: self.connections() / self.viewers,
            ..self.clone()
        };
        vec![
            Alternative {
                name: "API Gateway WebSocket",
                dollars: gateway + transfer_dollars,
                also_needs: "functions for connect and disconnect, a table of connections, a call for each \
                             message and connection, resuming of one's own, two hours at most",
            },
            Alternative {
                name: "AppSync Events",
                dollars: appsync + transfer_dollars,
                also_needs: "an authorizer, AWS's WebSocket protocol in the client, resuming of one's own",
            },
            Alternative {
                name: "Runcast's own service: --mode service",
                dollars: total(&service.delivery()),
                also_needs: "an image and infra/service.yaml, or infra/kubernetes.yaml; it runs when nobody looks",
            },
        ]
    }

    /// Dollars to hold one stream for an hour: its GB-seconds and its requests.
    pub(crate) fn stream_hour(&self) -> f64 {
        let usage = Usage {
            mode: Mode::Shared,
            viewers: 1.0,
            minutes: 60.0,
            ..self.clone()
        };
        usage
            .delivery()
            .iter()
            .filter(|line| [HELD, REQUESTS].contains(&line.item))
            .map(|line| line.dollars)
            .sum()
    }

    /// Stream-hours a month above which the smallest service, and the smallest Managed Instances, cost
    /// less than held streams.
    pub(crate) fn break_even(&self) -> (f64, f64) {
        let one = Usage {
            mode: Mode::Managed,
            viewers: 1.0,
            tabs: 1.0,
            ..self.clone()
        };
        let hour = self.stream_hour();
        (total(&one.service()) / hour, total(&one.instances()) / hour)
    }
}

/// What is paid each month whether or not anyone looks; one may have it already.
pub(crate) fn fixed() -> Vec<Line> {
    let month = HOURS_A_MONTH;
    let cache = prices::CACHE_STORAGE;
    let endpoint = prices::ENDPOINT_HOURS;
    vec![
        line(
            "Aurora Serverless v2, kept at 0.5 ACU (0 while it is paused)",
            0.5 * month,
            "ACU-hours",
            prices::AURORA_UNITS,
        ),
        line(
            "ElastiCache Serverless for Valkey, its minimum",
            0.1 * month,
            "GB-hours",
            cache,
        ),
        line(
            "or two cache.t4g.small nodes instead, with CacheKind=nodes",
            2.0 * month,
            "hours",
            prices::CACHE_NODE,
        ),
        line(
            "Alarms, by the metrics that they watch",
            ALARM_METRICS,
            "metrics",
            prices::ALARM_METRIC,
        ),
        line(
            "The dashboard in CloudWatch",
            1.0,
            "month",
            prices::DASHBOARD,
        ),
        line("The owner's secret", 1.0, "month", prices::SECRET),
        line(
            "A web ACL, with RequestsPerFiveMinutes",
            1.0,
            "month",
            prices::WEB_ACL,
        ),
        line("its rule", 1.0, "rule", prices::WEB_ACL_RULE),
        line(
            "An interface VPC endpoint in two zones, for managed instances",
            2.0 * month,
            "hours",
            endpoint,
        ),
        line(
            "RDS Proxy, its minimum (optional; keeps Aurora from pausing)",
            8.0 * month,
            "ACU-hours",
            prices::PROXY_UNITS,
        ),
    ]
}
