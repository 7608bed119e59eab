//! Line charts as SVG text, to stand inside a page.

use plotters::prelude::*;

use super::{CostRow, Curve};
use crate::error::TrainError;

/// A named line and its colour.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    color: RGBColor,
}

/// Scores of both policies against the first one's share, each scaled to its own range: 0 where its preference shows least
/// among the mixtures, 1 where it shows most.
pub(super) fn curve(curve: &Curve) -> Result<String, TrainError> {
    let line = |index: usize, color: RGBColor| {
        let shown = curve.points.iter().map(|point| {
            let score = &point.scores[index];
            if score.higher { score.score.mean } else { -score.score.mean }
        });
        let shown: Vec<f64> = shown.collect();
        let low = shown.iter().copied().fold(f64::INFINITY, f64::min);
        let range = (shown.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low).max(1e-9);
        let points = curve.points.iter().zip(&shown).map(|(point, value)| (point.weight, (value - low) / range));
        Line { name: curve.policies[index].clone(), points: points.collect(), color }
    };
    let caption = format!("{} and {}", curve.policies[0], curve.policies[1]);
    let axes = Axes { x: format!("share of {}", curve.policies[0]), y: "shown, own range", width: 360 };
    draw(&caption, axes, &[line(0, BLUE), line(1, RED)])
}

/// CPU-hours against preferences, as powers of two.
pub(super) fn cost(rows: &[CostRow]) -> Result<String, TrainError> {
    let line = |name: &str, of: fn(&CostRow) -> f64, color: RGBColor| Line {
        name: name.to_owned(),
        points: rows.iter().map(|row| (f64::from(row.preferences), of(row).log2())).collect(),
        color,
    };
    let lines =
        [line("soups", |row| row.soups, BLUE), line("one model per combination", |row| row.one_per_combination, RED)];
    draw("CPU-hours of training", Axes { x: "preferences".into(), y: "log2 of CPU-hours", width: 560 }, &lines)
}

struct Axes {
    x: String,
    y: &'static str,
    width: u32,
}

fn draw(caption: &str, axes: Axes, lines: &[Line]) -> Result<String, TrainError> {
    let mut svg = String::new();
    draw_into(&mut svg, caption, axes, lines).map_err(|error| TrainError::Plot(error.to_string()))?;
    Ok(svg)
}

fn draw_into(svg: &mut String, caption: &str, axes: Axes, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let Axes { x, y, width } = axes;
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        let all = || lines.iter().flat_map(|line| &line.points).map(of);
        let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        if low < high { low..high } else { low - 0.5..low + 0.5 }
    };
    let area = SVGBackend::with_string(svg, (width, 280)).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(caption, ("sans-serif", 15))?;
    // The legend has a strip of its own: inside the plot it would cover a line.
    let (legend, plot) = area.split_vertically(20);
    let mut chart = ChartBuilder::on(&plot)
        .margin(10)
        .x_label_area_size(32)
        .y_label_area_size(42)
        .build_cartesian_2d(bounds(|point| point.0), bounds(|point| point.1))?;
    chart.configure_mesh().x_desc(x).y_desc(y).x_labels(6).y_labels(6).draw()?;
    for (line, x) in lines.iter().zip((46..).step_by(width as usize / 2 - 30)) {
        let style = line.color.stroke_width(2);
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, line.color.filled())))?;
        legend.draw(&PathElement::new([(x, 10), (x + 18, 10)], style))?;
        legend.draw(&Text::new(line.name.as_str(), (x + 24, 4), ("sans-serif", 12)))?;
    }
    area.present()?;
    Ok(())
}
