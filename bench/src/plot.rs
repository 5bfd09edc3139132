//! The plots of the README.

use std::path::Path;

use plotters::prelude::*;

use crate::{delivery::name_of, figure::Figure, mode::Mode};

const SIZE: (u32, u32) = (720, 360);
const OURS: RGBColor = RGBColor(37, 99, 235);
const OURS_LIGHT: RGBColor = RGBColor(147, 197, 253);
const FLOOR: RGBColor = RGBColor(100, 116, 139);
const FLOOR_LIGHT: RGBColor = RGBColor(203, 213, 225);

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Delivery by the number of streams, beside its floor.
pub(crate) fn delivery(figures: &[Figure], streams: &[usize], to: &Path) -> Drawn {
    let of = |percentile: &str, floor: bool| -> Vec<(f64, f64)> {
        let at = |count: &usize| {
            let name = name_of(*count, Mode::Managed.name());
            let name = format!("{name}, {percentile}");
            let figure = figures.iter().find(|figure| figure.name == name)?;
            let spread = if floor {
                figure.floor.as_ref()?
            } else {
                &figure.value
            };
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let count = *count as f64;
            Some((count, spread.median))
        };
        streams.iter().filter_map(at).collect()
    };
    let lines = [
        ("managed, p50", OURS, of("p50", false)),
        ("managed, p99", OURS_LIGHT, of("p99", false)),
        ("floor, p50", FLOOR, of("p50", true)),
        ("floor, p99", FLOOR_LIGHT, of("p99", true)),
    ];
    if lines.iter().any(|(_, _, line)| line.is_empty()) {
        return Err("no figure has the name of a delivery".into());
    }
    let values = lines.iter().flat_map(|(_, _, line)| line);
    let most = values.map(|(_, value)| *value).fold(0.0, f64::max);
    let area = SVGBackend::new(to, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "From the publication to the viewer's frame (ms)",
            ("sans-serif", 16),
        )
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d((1.0..2000.0).log_scale(), 0.0..most * 1.6)?;
    chart
        .configure_mesh()
        .x_desc("open streams")
        .x_label_formatter(&|streams| format!("{streams:.0}"))
        .y_label_formatter(&|milliseconds| format!("{milliseconds:.1}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (label, color, line) in lines {
        chart
            .draw_series(LineSeries::new(line.clone(), color.stroke_width(2)).point_size(3))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(FLOOR)
        .draw()?;
    area.present()?;
    Ok(())
}

/// Bars, one for each contender.
pub(crate) fn bars(title: &str, bars: &[(String, f64)], to: &Path) -> Drawn {
    if bars.is_empty() {
        return Err(format!("no figure is one of {title:?}").into());
    }
    let most = bars
        .iter()
        .map(|(_, value)| *value)
        .fold(f64::MIN, f64::max);
    let area =
        SVGBackend::new(to, (SIZE.0, 60 + 40 * u32::try_from(bars.len())?)).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw_text(title, &("sans-serif", 16).into_text_style(&area), (12, 10))?;
    let style = ("sans-serif", 13).into_text_style(&area);
    for (index, (label, value)) in bars.iter().enumerate() {
        let y = 44 + 40 * i32::try_from(index)?;
        #[expect(clippy::cast_possible_truncation, reason = "pixels")]
        let end = 190 + (value / most * 420.0) as i32;
        let color = if label.starts_with("Runcast") {
            OURS
        } else {
            FLOOR
        };
        area.draw(&Rectangle::new([(190, y), (end, y + 22)], color.filled()))?;
        area.draw_text(label, &style, (12, y + 5))?;
        area.draw_text(&format!("{value:.2}"), &style, (end + 6, y + 5))?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_every_line_and_every_bar() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plot.svg");
        let drawn = || std::fs::read_to_string(&file).unwrap();
        let figure = |(percentile, values): (&str, [f64; 2])| {
            let name = format!("{}, {percentile}", name_of(100, Mode::Managed.name()));
            Figure::new("delivery", name, "ms", &values[..1]).over(&values[..1], &values[1..])
        };
        let figures = [("p50", [0.4, 0.2]), ("p99", [2.0, 0.6])].map(figure);
        delivery(&figures, &[100], &file).unwrap();
        for label in ["managed, p50", "managed, p99", "floor, p50", "floor, p99"] {
            assert!(drawn().contains(label), "{label}");
        }
        bars("Memory", &[("nchan".to_owned(), 34.3)], &file).unwrap();
        assert!(drawn().contains("nchan") && drawn().contains("34.30"));
    }

    #[test]
    fn a_plot_of_nothing_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plot.svg");
        assert!(delivery(&[], &[100], &file).is_err());
        assert!(bars("Memory", &[], &file).is_err());
    }
}
