//! Figures: what was measured, against which floor, and what it should be.

use std::fmt;

use serde::Serialize;

/// The runs of one measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) runs: usize,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Self {
        let sorted = sorted(values.to_vec());
        Spread {
            median: percentile(&sorted, 50.0),
            low: sorted[0],
            high: sorted[sorted.len() - 1],
            runs: sorted.len(),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, low, high] = [self.median, self.low, self.high].map(number);
        if self.runs == 1 {
            return f.write_str(&median);
        }
        write!(f, "{median} ({low}–{high})")
    }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// At most so many times the floor.
    Ratio(f64),
    /// At least so many times the floor.
    LeastRatio(f64),
    /// At most this.
    Most(f64),
    /// At least this.
    Least(f64),
}

/// One measurement, and its floor from the same run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figure {
    /// The section it belongs to.
    pub(crate) group: &'static str,
    /// What was measured, under which conditions.
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: Spread,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) floor: Option<Spread>,
    /// The median of the runs' ratios; each run is measured beside its floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bar: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) met: Option<bool>,
}

impl Figure {
    pub(crate) fn new(
        group: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        values: &[f64],
    ) -> Self {
        Figure {
            group,
            name: name.into(),
            unit,
            value: Spread::of(values),
            floor: None,
            ratio: None,
            bar: None,
            met: None,
        }
    }

    /// With the floor's runs, in the same order as the figure's.
    pub(crate) fn over(mut self, values: &[f64], floor: &[f64]) -> Self {
        let ratios: Vec<f64> = values
            .iter()
            .zip(floor)
            .map(|(value, floor)| value / floor)
            .collect();
        self.floor = Some(Spread::of(floor));
        self.ratio = Some(Spread::of(&ratios).median);
        self
    }

    /// With a bar; `None`: where there is none.
    pub(crate) fn with(mut self, bar: impl Into<Option<Bar>>) -> Self {
        let Some(bar) = bar.into() else {
            return self;
        };
        let value = self.value.median;
        let (text, met) = match bar {
            Bar::Ratio(most) => (
                format!("≤ {most}×"),
                self.ratio.is_some_and(|ratio| ratio <= most),
            ),
            Bar::LeastRatio(least) => (
                format!("≥ {least}×"),
                self.ratio.is_some_and(|ratio| ratio >= least),
            ),
            Bar::Most(most) => (format!("≤ {most}"), value <= most),
            Bar::Least(least) => (format!("≥ {least}"), value >= least),
        };
        self.met = Some(met && self.met.unwrap_or(true));
        self.bar = Some(match self.bar {
            Some(bar) => format!("{bar}, {text}"),
            None => text,
        });
        self
    }

    /// A line of the table.
    pub(crate) fn line(&self) -> String {
        let [name, value, unit, floor, ratio, bar] = self.cells();
        format!("{name:<62} {value:>24} {unit:<9} {floor:>24} {ratio:>8} {bar}")
            .trim_end()
            .to_owned()
    }

    /// A row of a table in Markdown.
    pub(crate) fn row(&self) -> String {
        let [name, value, unit, floor, ratio, bar] = self.cells();
        format!("| {name} | {value} {unit} | {floor} | {ratio} | {bar} |")
    }

    fn cells(&self) -> [String; 6] {
        let ratio = self.ratio.map(|ratio| format!("{ratio:.2}×"));
        let bar = match (&self.bar, self.met) {
            (Some(bar), Some(true)) => format!("{bar} ✓"),
            (Some(bar), _) => format!("{bar} ✗ not reached"),
            _ => String::new(),
        };
        [
            self.name.clone(),
            self.value.to_string(),
            self.unit.to_owned(),
            self.floor
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            ratio.unwrap_or_default(),
            bar,
        ]
    }
}

/// Percentiles of one run: 50, 99, 99.9.
pub(crate) const PERCENTILES: [(&str, f64); 3] = [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)];

/// The value below which so many per cent of `sorted` lie (nearest rank).
pub(crate) fn percentile(sorted: &[f64], percent: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a position in a list"
    )]
    let rank = (percent * 10.0 * sorted.len() as f64 / 1000.0).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

pub(crate) fn median(values: Vec<f64>) -> f64 {
    percentile(&sorted(values), 50.0)
}

/// The same percentile of each run.
pub(crate) fn of_runs(runs: &[Vec<f64>], percent: f64) -> Vec<f64> {
    runs.iter().map(|run| percentile(run, percent)).collect()
}

pub(crate) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    values
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let values = sorted((1..=1000).rev().map(f64::from).collect());
        assert_eq!(percentile(&values, 50.0).to_bits(), 500f64.to_bits());
        assert_eq!(percentile(&values, 99.9).to_bits(), 999f64.to_bits());
        assert_eq!(percentile(&values[..1], 99.0).to_bits(), 1f64.to_bits());
    }

    #[test]
    fn each_run_is_compared_with_the_floor_beside_it() {
        let (ours, floor) = ([2.0, 40.0, 6.0], [1.0, 20.0, 1.0]);
        let figure = Figure::new("g", "n", "ms", &ours).over(&ours, &floor);
        assert_eq!(figure.ratio, Some(2.0));
        assert_eq!(figure.clone().with(Bar::Ratio(2.0)).met, Some(true));
        assert_eq!(
            figure.with(Bar::Ratio(2.0)).with(Bar::Most(5.0)).met,
            Some(false)
        );
    }
}
