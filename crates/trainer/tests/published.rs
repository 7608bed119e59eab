//! Which step is published, and the curves beside it.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use tureen_trainer::choice::{factor_near_target, near_target};
use tureen_trainer::metrics::StepMetrics;
use tureen_trainer::plot::draw;

/// Metrics of steps from 1 with these KLs.
fn course(kls: &[f64]) -> Vec<StepMetrics> {
    let step = |(index, kl): (usize, &f64)| StepMetrics { step: index as u64 + 1, kl: *kl, ..StepMetrics::default() };
    kls.iter().enumerate().map(step).collect()
}

fn keep(run: &Path, steps: &[u64]) {
    for step in steps {
        std::fs::write(run.join(format!("checkpoint-{step:05}.safetensors")), "").unwrap();
    }
}

#[test]
fn the_last_checkpoint_near_the_target_is_published() {
    let run = tempfile::tempdir().unwrap();
    keep(run.path(), &[2, 4, 6, 8]);
    std::fs::write(run.path().join("checkpoint.safetensors"), "").unwrap();
    let chosen = |kls: &[f64]| {
        let path = near_target(run.path(), &course(kls), 8.0).map_err(|error| error.to_string())?;
        Ok::<_, String>(path.file_stem().unwrap().to_str().unwrap().to_owned())
    };
    assert_eq!(chosen(&[1.0, 3.0, 7.0, 7.0, 8.0, 9.0, 7.0, 8.0]).unwrap(), "checkpoint-00008");
    // The last two steps have 8.5 on average, more than 5 % above 8; the two before them 8.25.
    assert_eq!(chosen(&[1.0, 3.0, 7.0, 7.0, 8.0, 8.5, 9.0, 8.0]).unwrap(), "checkpoint-00006");
    assert_eq!(chosen(&[1.0, 3.0, 7.0, 9.6, 9.0, 8.0, 9.0, 9.0]).unwrap(), "checkpoint-00004");
    // Of the others nothing is known.
    assert_eq!(chosen(&[1.0, 3.0]).unwrap(), "checkpoint-00002");
    let error = chosen(&[9.0; 8]).unwrap_err();
    assert!(error.contains("8 nats"), "{error}");
}

#[test]
fn an_update_is_pulled_until_its_kl_is_near_the_target() {
    // A KL that grows with the square of the update: 12 . .8^2 = 7.68, and 12 . .85^2 is over 8.4.
    let square = |factor: f64| Ok(12.0 * factor * factor);
    assert_eq!(factor_near_target(8.0, square).unwrap(), 0.8);
    assert_eq!(factor_near_target(12.0, square).unwrap(), 1.0);
    assert_eq!(factor_near_target(1e-9, square).unwrap(), 0.05);
}

/// Every `y` of the points of a polyline.
fn heights(line: &str) -> Vec<f64> {
    let (_, points) = line.split_once("points=\"").unwrap();
    let points = points.split('"').next().unwrap().split_whitespace();
    points.map(|point| point.split_once(',').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn the_legend_covers_no_curve() {
    let folder = tempfile::tempdir().unwrap();
    // The highest value comes first, in the corner where a legend would lie.
    let metrics: Vec<StepMetrics> = course(&(0..40).map(|step| 40.0 - f64::from(step)).collect::<Vec<_>>());
    draw(&metrics, folder.path()).unwrap();
    let svg = std::fs::read_to_string(folder.path().join("kl.svg")).unwrap();
    let curves: Vec<f64> =
        svg.lines().filter(|line| line.starts_with("<polyline")).flat_map(heights_of_curves).collect();
    let top = curves.iter().copied().fold(f64::MAX, f64::min);
    for name in ["KL to the base, nats a response", "base NLL, nats a token"] {
        let lines: Vec<&str> = svg.lines().collect();
        let at = lines.iter().position(|line| line.contains(name)).unwrap();
        let text = lines[..=at].iter().rev().find(|line| line.starts_with("<text")).unwrap();
        let (_, y) = text.split_once(" y=\"").unwrap();
        let y: f64 = y.split('"').next().unwrap().parse().unwrap();
        assert!(y + 12.0 < top, "{name} at {y}, a curve at {top}");
    }
}

/// Lines of the mesh and of the legend have two points, curves one for each step.
fn heights_of_curves(line: &str) -> Vec<f64> {
    let heights = heights(line);
    if heights.len() > 2 { heights } else { Vec::new() }
}
