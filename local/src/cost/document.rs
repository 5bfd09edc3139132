//! The tables of `docs/cost.md`; a test compares them.

use super::{
    dollars,
    formula::{ASSUMED, Architecture, Mode, Usage, fixed, total},
    prices,
};

/// 22 days of 8 hours.
const MINUTES: f64 = 22.0 * 8.0 * 60.0;

pub(super) fn tables() -> String {
    [viewers(), run(), break_even(), fixed_table(), price_table()].join("\n")
}

fn usage(mode: Mode, architecture: Architecture, viewers: f64, watched: f64, tabs: f64) -> Usage {
    Usage {
        mode,
        architecture,
        viewers,
        minutes: MINUTES,
        watched,
        tabs,
        ..ASSUMED
    }
}

fn viewers() -> String {
    let mut table = String::from(
        "| viewers | separate, 1 run | separate, 30 runs | multiplexed, 30 runs | 10 tabs, a stream each | 10 tabs, shared | managed | API Gateway WebSocket | AppSync Events | service |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let x86 = Architecture::X86;
    for viewers in [10.0, 100.0, 1_000.0, 10_000.0] {
        let ours = [
            usage(Mode::Separate, x86, viewers, 1.0, 1.0),
            usage(Mode::Separate, x86, viewers, 30.0, 1.0),
            usage(Mode::Multiplexed, x86, viewers, 30.0, 1.0),
            usage(Mode::Multiplexed, x86, viewers, 30.0, 10.0),
            usage(Mode::Shared, x86, viewers, 30.0, 10.0),
            usage(Mode::Managed, x86, viewers, 30.0, 1.0),
        ];
        let mut cells: Vec<_> = ours
            .iter()
            .map(|usage| dollars(total(&usage.delivery())))
            .collect();
        let others = usage(Mode::Multiplexed, x86, viewers, 30.0, 1.0).alternatives();
        cells.extend(others.iter().map(|other| dollars(other.dollars)));
        table.push_str(&format!("| {viewers} | {} |\n", cells.join(" | ")));
    }
    table
}

/// A run of six minutes that two people watch.
fn run() -> String {
    let mut table = String::from("| | x86_64 | arm64 |\n|---|---:|---:|\n");
    let both = [Architecture::X86, Architecture::Arm];
    let hours = both.map(|it| dollars(usage(Mode::Separate, it, 1.0, 1.0, 1.0).stream_hour()));
    table.push_str(&format!("| a stream-hour | {} |\n", hours.join(" | ")));
    let months = both.map(|it| {
        let hour = usage(Mode::Separate, it, 1.0, 1.0, 1.0).stream_hour();
        dollars(hour * super::formula::HOURS_A_MONTH)
    });
    table.push_str(&format!(
        "| a stream that is always open, a month | {} |\n",
        months.join(" | ")
    ));
    let runs = both.map(|it| {
        let run = Usage {
            minutes: 6.0,
            ..usage(Mode::Separate, it, 2.0, 1.0, 1.0)
        };
        dollars(total(&run.delivery()))
    });
    table.push_str(&format!(
        "| a run of 6 minutes that 2 people watch | {} |\n",
        runs.join(" | ")
    ));
    table
}

fn break_even() -> String {
    let mut table = String::from(
        "| held streams cost more than | from stream-hours a month | always open |\n|---|---:|---:|\n",
    );
    for (name, architecture) in [("x86_64", Architecture::X86), ("arm64", Architecture::Arm)] {
        let (service, managed) = usage(Mode::Separate, architecture, 1.0, 1.0, 1.0).break_even();
        for (what, hours) in [
            ("the service: two Fargate tasks + load balancer", service),
            ("three Managed Instances", managed),
        ] {
            let open = hours / super::formula::HOURS_A_MONTH;
            table.push_str(&format!("| {what}, {name} | {hours:.0} | {open:.0} |\n"));
        }
    }
    table
}

fn fixed_table() -> String {
    let mut table = String::from("| what | a month |\n|---|---:|\n");
    for line in fixed() {
        table.push_str(&format!("| {} | {} |\n", line.item, dollars(line.dollars)));
    }
    table
}

fn price_table() -> String {
    let mut table = String::from(
        "| price of | $ | per | AWS's page | read at | as of |\n|---|---:|---|---|---|---|\n",
    );
    for price in prices::ALL {
        let prices::Price {
            what,
            dollars,
            unit,
            page,
            source,
            as_of,
        } = price;
        table.push_str(&format!(
            "| {what} | {dollars} | {unit} | {page} | {source} | {as_of} |\n"
        ));
    }
    table
}
