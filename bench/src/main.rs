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
mod load;
mod machine;
mod runtime;
mod wire;
mod worker;

use clap::Parser;
use figure::Figure;

#[derive(Parser)]
#[command(
    about = "Measures Runcast against the floor of what it stands on",
    after_help = "\
Examples:
  make bench                                 # everything
  target/release/bench --only delivery       # one section"
)]
struct Options {
    /// Only this section
    #[arg(long)]
    only: Option<String>,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    let mut figures: Vec<Figure> = Vec::new();
    if wanted("cold-start") {
        figures.extend(cold_start::run().await);
    }
    if wanted("worker") {
        figures.extend(worker::run().await);
    }
    if wanted("first-event") {
        figures.extend(first_event::run().await);
    }
    if wanted("managed") {
        figures.extend(delivery::run(true).await);
    }
    if wanted("fan-out") {
        figures.extend(delivery::fan_out().await);
    }
    if wanted("delivery") {
        figures.extend(delivery::run(false).await);
    }
    for figure in &figures {
        println!("{}", figure.line());
    }
}
