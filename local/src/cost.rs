//! `runcast cost`: what a month, or a run, costs in AWS.

mod document;
mod formula;
mod prices;

use std::process::ExitCode;

use serde_json::json;

use self::formula::{ASSUMED, Architecture, Line, Mode, UPDATES_AN_EXECUTION, Usage, fixed, total};
use crate::{arguments, client::say};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  runcast cost --viewers 100 --minutes 10560            # 22 days of 8 hours
  runcast cost --viewers 100 --minutes 10560 --watched 30 --mode multiplexed
  runcast cost --viewers 2 --minutes 6 --executions 1   # one run, watched by two
  runcast cost --viewers 1000 --minutes 43800 --mode managed --architecture arm64 --json
  runcast cost --viewers 1000 --minutes 43800 --mode service
  runcast cost --markdown                               # the tables of docs/cost.md

US dollars, us-east-1, without free tiers and discounts. Where each price is from: docs/cost.md.")]
pub(crate) struct Options {
    /// How many people look
    #[arg(long, required_unless_present = "markdown", value_parser = clap::value_parser!(u32).range(1..))]
    viewers: Option<u32>,
    /// How long each of them looks, in minutes
    #[arg(long, required_unless_present = "markdown", value_parser = arguments::above_0)]
    minutes: Option<f64>,
    /// How a viewer's streams are held
    #[arg(long, value_enum, default_value = "separate")]
    mode: Mode,
    /// Whose processors; the service's are arm64
    #[arg(long, value_enum, default_value = "x86_64")]
    architecture: Architecture,
    /// Executions that each watches at once, in all tabs together
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    watched: u32,
    /// Tabs of each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    tabs: u32,
    /// Executions that run in that time
    #[arg(long, default_value_t = 10_000)]
    executions: u32,
    #[arg(long, value_parser = arguments::from_0, help = format!(
        "Updates that producers send in that time; without, {UPDATES_AN_EXECUTION} for each execution"
    ))]
    updates: Option<f64>,
    /// States that reach a tab in a minute
    #[arg(long, default_value_t = ASSUMED.frames_a_minute, value_parser = arguments::from_0)]
    frames_per_minute: f64,
    /// A state's size on the wire
    #[arg(long, default_value_t = ASSUMED.frame_bytes, value_parser = arguments::from_0)]
    frame_bytes: f64,
    /// `STREAM_WINDOW_SECONDS`
    #[arg(long, default_value_t = ASSUMED.window_seconds, value_parser = arguments::above_0)]
    window_seconds: f64,
    /// Memory of a streaming function
    #[arg(long, default_value_t = ASSUMED.stream_memory_mb, value_parser = arguments::from_0)]
    stream_memory_mb: f64,
    /// What an invocation takes beside its stream: to start it, and to end it
    #[arg(long, default_value_t = ASSUMED.start_milliseconds, value_parser = arguments::from_0)]
    start_milliseconds: f64,
    /// Updates in a batch of the worker
    #[arg(long, default_value_t = ASSUMED.batch, value_parser = arguments::above_0)]
    batch: f64,
    /// Memory of the worker
    #[arg(long, default_value_t = ASSUMED.worker_memory_mb, value_parser = arguments::from_0)]
    worker_memory_mb: f64,
    /// What the worker takes for a batch
    #[arg(long, default_value_t = ASSUMED.worker_milliseconds, value_parser = arguments::from_0)]
    worker_milliseconds: f64,
    /// Streams that one managed instance (4 vCPU) holds; AWS's default for Rust is 8 a vCPU, its
    /// maximum 1,600 an environment
    #[arg(long, default_value_t = ASSUMED.streams_an_instance, value_parser = arguments::above_0)]
    streams_per_instance: f64,
    /// With `CloudFront` in front
    #[arg(long)]
    cloudfront: bool,
    /// Print JSON instead of tables
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print the tables of docs/cost.md, whatever the other options
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    if options.markdown {
        say(document::tables().trim_end());
        return ExitCode::SUCCESS;
    }
    let usage = options.usage();
    if options.json {
        print_json(&usage);
    } else {
        print(&usage, options.executions);
    }
    ExitCode::SUCCESS
}

impl Options {
    fn usage(&self) -> Usage {
        Usage {
            mode: self.mode,
            architecture: self.architecture,
            viewers: self.viewers.map_or(0.0, f64::from),
            minutes: self.minutes.unwrap_or_default(),
            watched: f64::from(self.watched),
            tabs: f64::from(self.tabs),
            frames_a_minute: self.frames_per_minute,
            frame_bytes: self.frame_bytes,
            updates: self
                .updates
                .unwrap_or(f64::from(self.executions) * UPDATES_AN_EXECUTION),
            window_seconds: self.window_seconds,
            stream_memory_mb: self.stream_memory_mb,
            start_milliseconds: self.start_milliseconds,
            batch: self.batch,
            worker_memory_mb: self.worker_memory_mb,
            worker_milliseconds: self.worker_milliseconds,
            streams_an_instance: self.streams_per_instance,
            cloudfront: self.cloudfront,
        }
    }
}

fn print(usage: &Usage, executions: u32) {
    let (delivery, ingest) = (usage.delivery(), usage.ingest());
    say("Delivery");
    print_lines(&delivery);
    say("\nIngest, the same whichever way it is delivered");
    print_lines(&ingest);
    let all = total(&delivery) + total(&ingest);
    say(format!("\n{:<64} {:>32}", "Together", dollars(all)));
    let hours = usage.stream_hours();
    say(format!(
        "{hours:.1} stream-hours, {} each to hold; {} for each of {executions} executions",
        dollars(usage.stream_hour()),
        dollars(all / f64::from(executions.max(1)))
    ));
    say("\nThe same delivery by other ways, for a month");
    for other in usage.alternatives() {
        say(format!(
            "  {:<62} {:>32}",
            other.name,
            dollars(other.dollars)
        ));
        say(format!("      also needs {}", other.also_needs));
    }
    let (service, managed) = usage.break_even();
    say(format!(
        "\nHeld streams cost more than the smallest service from {service:.0} stream-hours a month ({:.0} always open),\n\
         more than the smallest Managed Instances from {managed:.0} ({:.0} always open).",
        service / formula::HOURS_A_MONTH,
        managed / formula::HOURS_A_MONTH
    ));
    say("\nFixed, each month; you may have it already");
    print_lines(&fixed());
}

fn print_lines(lines: &[Line]) {
    for line in lines {
        let quantity = format!("{:.3} {}", line.quantity, line.unit);
        say(format!(
            "  {:<62} {quantity:>20} {:>11}",
            line.item,
            dollars(line.dollars)
        ));
    }
    say(format!(
        "  {:<62} {:>20} {:>11}",
        "",
        "",
        dollars(total(lines))
    ));
}

fn print_json(usage: &Usage) {
    let (delivery, ingest) = (usage.delivery(), usage.ingest());
    let (service, managed) = usage.break_even();
    say(json!({
        "delivery": delivery, "deliveryDollars": total(&delivery),
        "ingest": ingest, "ingestDollars": total(&ingest),
        "streamHours": usage.stream_hours(), "streamHourDollars": usage.stream_hour(),
        "alternatives": usage.alternatives(), "fixed": fixed(),
        "breakEvenStreamHours": {"service": service, "managed": managed},
    }));
}

/// Dollars, with as many digits as tell something.
fn dollars(amount: f64) -> String {
    match amount {
        _ if amount >= 1000.0 => format!("${amount:.0}"),
        _ if amount >= 0.1 || amount == 0.0 => format!("${amount:.2}"),
        _ => format!("${amount:.6}"),
    }
}
