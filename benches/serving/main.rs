//! Figures of serving, as ratios within one run, on the real base:
//!
//! ```text
//! cargo run --release -- pull
//! cargo bench --bench serving                              all sections, in the default precision
//! cargo bench --bench serving -- --precision bf16 decode   some of them, in another
//! ```

#![allow(clippy::unwrap_used)]

mod bound;
mod busy;
mod fixture;
mod quality;
mod rates;
mod scale;
mod speculation;

use tureen_engine::Precision;

use fixture::Fixture;

/// Measures and prints its rows.
type Section = fn(&Fixture);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    // `cargo test --benches` asks for a list of tests: there are none.
    if arguments.iter().any(|a| a == "--list") {
        return;
    }
    let precision = match arguments.iter().position(|a| a == "--precision") {
        None => Precision::Int8,
        Some(at) => Precision::named(&arguments[at + 1]).expect("f32, bf16 or int8"),
    };
    let sections: [(&str, Section); 10] = [
        ("quality", quality::report),
        ("decode", rates::decode),
        ("bound", bound::report),
        ("prefill", rates::prefill),
        ("first", rates::first_token),
        ("policies", scale::policies),
        ("users", scale::users),
        ("merge", rates::merge),
        ("speculation", speculation::report),
        ("busy", busy::report),
    ];
    let wanted = |name: &str| {
        let named = sections.iter().any(|(section, _)| arguments.iter().any(|a| a == section));
        !named || arguments.iter().any(|a| a == name)
    };
    let fixture = Fixture::new(precision);
    println!("{}\n", fixture.machine());
    println!("| row | value | other | ratio |\n|---|---|---|---|");
    sections.iter().filter(|(name, _)| wanted(name)).for_each(|(_, report)| report(&fixture));
}

/// One row of the table: a value, what it is compared with, and their ratio.
fn row(name: &str, value: f64, other: f64, unit: &str) {
    let (digits, ratio) = (digits(value.min(other)), value / other);
    println!("| {name} | {value:.digits$} {unit} | {other:.digits$} {unit} | {ratio:.3} |");
}

fn digits(value: f64) -> usize {
    match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 4,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
