//! Curves of a run as SVG.

use std::path::Path;

use plotters::prelude::*;

use crate::error::TrainError;
use crate::metrics::StepMetrics;

/// A named series of `(step, value)` and its colour.
struct Curve {
    name: &'static str,
    points: Vec<(f64, f64)>,
    color: RGBColor,
}

/// Draws `reward.svg` (score and gate) and `kl.svg` (KL and its weight) into `folder`.
///
/// # Errors
/// No metrics, or a file that cannot be written.
pub fn draw(metrics: &[StepMetrics], folder: &Path) -> Result<(), TrainError> {
    let of = |value: fn(&StepMetrics) -> f64| metrics.iter().map(|m| (m.step as f64, value(m))).collect::<Vec<_>>();
    let curve = |name, value, color| Curve { name, points: of(value), color };
    let reward = [curve("score", |m| m.scores, BLUE), curve("content gate", |m| m.gate, GREEN)];
    chart(&folder.join("reward.svg"), "Score and content gate per step", &reward)?;
    let kl = [
        curve("KL to the base, nats a response", |m| m.kl, RED),
        curve("base NLL, nats a token", |m| m.base_nll, BLACK),
    ];
    chart(&folder.join("kl.svg"), "Distance from the base per step", &kl)
}

fn chart(path: &Path, caption: &str, curves: &[Curve]) -> Result<(), TrainError> {
    let failed = |error: &dyn std::fmt::Display| TrainError::Plot(error.to_string());
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let last = all().map(|(step, _)| *step).fold(1.0, f64::max);
    let low = all().map(|(_, value)| *value).fold(0.0, f64::min);
    let high = all().map(|(_, value)| *value).fold(low + 1e-3, f64::max);
    let area = SVGBackend::new(path, (720, 360)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let area = area.titled(caption, ("sans-serif", 18)).map_err(|error| failed(&error))?;
    // The legend has a strip of its own: inside the plot it would cover a curve.
    let (legend, plot) = area.split_vertically(22);
    let mut chart = ChartBuilder::on(&plot)
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(44)
        .build_cartesian_2d(1.0..last.max(2.0), low..high * 1.05)
        .map_err(|error| failed(&error))?;
    chart.configure_mesh().x_desc("step").draw().map_err(|error| failed(&error))?;
    for (curve, x) in curves.iter().zip((56..).step_by(300)) {
        let style = curve.color.stroke_width(2);
        let points = curve.points.iter().copied();
        chart.draw_series(LineSeries::new(points, style)).map_err(|error| failed(&error))?;
        legend.draw(&PathElement::new([(x, 11), (x + 20, 11)], style)).map_err(|error| failed(&error))?;
        let name = Text::new(curve.name, (x + 26, 5), ("sans-serif", 12));
        legend.draw(&name).map_err(|error| failed(&error))?;
    }
    area.present().map_err(|error| failed(&error))
}
