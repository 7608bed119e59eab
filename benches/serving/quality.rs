//! What a precision costs: distance of its answers from those in f32.

use tureen_engine::{PathChoice, Precision};

use crate::fixture::{Fixture, Serving};
use crate::row;

/// Held-out text: written for people who read this repository, long after the model was trained.
const TEXT: &str = concat!(
    include_str!("../../docs/ARCHITECTURE.md"),
    include_str!("../../docs/operators.md"),
    include_str!("../../CONTRIBUTING.md"),
);
/// Tokens of one piece, and how many pieces.
const PIECE: usize = 256;
const PIECES: usize = 6;

/// Mean KL divergence and perplexity against f32, of the base and of a soup.
pub(crate) fn report(fixture: &Fixture) {
    if fixture.precision == Precision::F32 {
        return;
    }
    let pool = fixture.shipped();
    let tokens = fixture.checkpoint.tokenizer().encode(TEXT, false).unwrap();
    let pieces: Vec<&[u32]> = tokens.chunks_exact(PIECE).take(PIECES).collect();
    for soup in ["", "elementary=0.6,friendly=0.4"] {
        let logits = |precision| logits(&fixture.engine_in(precision, &pool, 16), soup, &pieces);
        let (wide, narrow) = (logits(Precision::F32), logits(fixture.precision));
        let count = wide.len() as f64;
        let kl: f64 = wide.iter().zip(&narrow).map(|(p, q)| divergence(p, q)).sum::<f64>() / count;
        let perplexity = |rows: &[Vec<f64>]| {
            let next = pieces.iter().flat_map(|piece| piece.iter().skip(1).map(|t| Some(*t)).chain([None]));
            let told: Vec<f64> = rows.iter().zip(next).filter_map(|(row, next)| Some(row[next? as usize])).collect();
            (-told.iter().sum::<f64>() / told.len() as f64).exp()
        };
        let name = if soup.is_empty() { "the base" } else { soup };
        println!("| mean KL of {} to f32, {name}, {count} tokens | {kl:.4} nats | | |", fixture.precision);
        let label = format!("perplexity of {} over f32, {name}", fixture.precision);
        row(&label, perplexity(&narrow), perplexity(&wide), "");
    }
}

/// Log-probabilities after each token of each piece.
fn logits(serving: &Serving<'_>, soup: &str, pieces: &[&[u32]]) -> Vec<Vec<f64>> {
    let soup =
        serving.engine.pool().soup(&soup.parse().unwrap(), &tureen_soup::MergeOptions::default()).unwrap().into();
    let rows = pieces.iter().flat_map(|piece| serving.engine.logits(&soup, PathChoice::Gate, piece).unwrap());
    rows.map(|row| log_softmax(&row)).collect()
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
    row.iter().map(|x| f64::from(x - largest) - total.ln()).collect()
}

/// `Σ p ln(p / q)`
fn divergence(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
}
