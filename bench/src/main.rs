//! Measures Runcast: each figure beside its floor, in the same run.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark may panic"
)]

mod cold_start;
mod delivery;
mod figure;
mod first_event;
mod growth;
mod idle;
mod load;
mod machine;
mod mode;
mod others;
mod plot;
mod pressure;
mod retention;
mod runs;
mod runtime;
mod scale;
mod seed;
mod watchers;
mod wire;
mod worker;

use std::path::Path;

use clap::{Parser, Subcommand, ValueEnum};
use integration::{checkout, stack::Stack};
use serde_json::json;

use crate::{figure::Figure, machine::Machine, mode::Mode};

#[derive(Parser)]
#[command(
    about = "Measures Runcast against the floor of what it stands on, and beside others",
    after_help = "\
Examples:
  make bench                                 # everything; writes bench/results.json and docs/bench
  target/release/bench --only cold-start     # one section; writes nothing"
)]
struct Options {
    /// Only this section, which may be given several times
    #[arg(long)]
    only: Vec<Section>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What it starts of itself.
#[derive(Subcommand)]
enum Part {
    /// A process full of viewers
    #[command(hide = true)]
    Watchers(watchers::Watching),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    ColdStart,
    FirstEvent,
    Delivery,
    DeliveryManaged,
    DeliveryServed,
    DeliveryRuntimeApi,
    FanOut,
    FanOutServed,
    Worker,
    Idle,
    Growth,
    Pressure,
    Runs,
    Scale,
    Others,
}

impl Section {
    async fn run(self) -> Vec<Figure> {
        match self {
            Section::ColdStart => cold_start::run().await,
            Section::FirstEvent => first_event::run().await,
            Section::Delivery => delivery::run(Mode::Plain).await,
            Section::DeliveryManaged => delivery::run(Mode::Managed).await,
            Section::DeliveryServed => delivery::run(Mode::Served).await,
            Section::DeliveryRuntimeApi => delivery::at_the_runtime_api().await,
            Section::FanOut => delivery::fan_out(Mode::Managed).await,
            Section::FanOutServed => delivery::fan_out(Mode::Served).await,
            Section::Worker => worker::run().await,
            Section::Idle => idle::run().await,
            Section::Growth => growth::run().await,
            Section::Pressure => pressure::run().await,
            Section::Runs => runs::run().await,
            Section::Scale => scale::run().await,
            Section::Others => others::run().await,
        }
    }
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    if let Some(Part::Watchers(watching)) = options.part {
        return watchers::watch(watching).await;
    }
    let machine = Machine::of(&Stack::start().await).await;
    eprintln!("{}", machine.line());
    let everything = options.only.is_empty();
    let mut figures = Vec::new();
    for section in Section::value_variants() {
        if everything || options.only.contains(section) {
            let section = section.run().await;
            print(&table(&section));
            figures.extend(section);
        }
    }
    if everything {
        write(&machine, &figures);
    }
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn print(table: &str) {
    println!("{table}");
}

fn table(figures: &[Figure]) -> String {
    let mut table = String::new();
    for (group, figures) in groups(figures) {
        table.push_str(&format!("\n{group}\n"));
        for figure in figures {
            table.push_str(&format!("  {}\n", figure.line()));
        }
    }
    table
}

fn page(machine: &Machine, figures: &[Figure]) -> String {
    let mut page = format!(
        "# Figures\n\nWritten by `make bench`: {}.\n\nMedian (lowest–highest run); the ratio is the \
         median of each run's over the floor measured beside it. What they mean is in \
         [performance.md](../performance.md).\n",
        machine.line()
    );
    for (group, figures) in groups(figures) {
        page.push_str(&format!(
            "\n## {group}\n\n| | | floor | ratio | bar |\n|---|---:|---:|---:|---|\n"
        ));
        for figure in figures {
            page.push_str(&format!("{}\n", figure.row()));
        }
    }
    page
}

/// Figures by group, in the order in which the groups were measured first.
fn groups(figures: &[Figure]) -> Vec<(&str, Vec<&Figure>)> {
    let mut groups: Vec<(&str, Vec<&Figure>)> = Vec::new();
    for figure in figures {
        match groups.iter_mut().find(|(group, _)| *group == figure.group) {
            Some((_, figures)) => figures.push(figure),
            None => groups.push((figure.group, vec![figure])),
        }
    }
    groups
}

fn write(machine: &Machine, figures: &[Figure]) {
    let results =
        serde_json::to_string_pretty(&json!({"machine": machine, "figures": figures})).unwrap();
    std::fs::write(checkout("bench/results.json"), results + "\n").unwrap();
    let file = |name: &str| checkout("docs/bench").join(name);
    std::fs::create_dir_all(checkout("docs/bench")).unwrap();
    std::fs::write(file("figures.md"), page(machine, figures)).unwrap();
    plot::delivery(figures, &delivery::STREAMS, &file("delivery.svg")).unwrap();
    let (delivered, streams) = (others::delivery_at("p50"), others::STREAMS);
    let title = format!("Publication to frame, {streams} streams, median (ms)");
    compare(figures, &delivered, &title, &file("others-delivery.svg"));
    let title = "Memory per stream (KB)";
    compare(figures, others::MEMORY, title, &file("others-memory.svg"));
    eprintln!("written: bench/results.json, docs/bench/*");
}

/// A plot of what the contenders have in common.
fn compare(figures: &[Figure], suffix: &str, title: &str, to: &Path) {
    let bars: Vec<(String, f64)> = figures
        .iter()
        .filter_map(|figure| {
            let name = figure.name.strip_suffix(suffix)?.strip_suffix(": ")?;
            Some((name.to_owned(), figure.value.median))
        })
        .collect();
    plot::bars(title, &bars, to).unwrap();
}
