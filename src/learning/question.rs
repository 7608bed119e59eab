//! Which two answers would teach most.

use tureen_soup::Pool;
use tureen_soup::learn::{Learning, Taste};

use super::names;

/// About how many nats a policy's own answer gains on the base's under it.
const GAIN: f64 = 8.0;

/// Two policies whose answers to the same prompt are worth comparing.
#[derive(Debug, PartialEq)]
pub struct Question {
    /// One.
    pub first: String,
    /// The other.
    pub second: String,
    /// How much the choice would teach at most, in nats, by estimate.
    pub teaches: f64,
}

/// The pair that would teach most about `taste`, which is over the policies of `pool`. `None` with nothing to compare.
///
/// What answers of two policies will gain is not known before they are there. It is estimated to first order from the
/// directions of their changes: `d_k ≈ gain · <D_k, D_a − D_b> / (‖D_k‖ ‖D_a − D_b‖)`.
pub fn next_question(pool: &Pool, taste: &Taste, learning: &Learning) -> Option<Question> {
    let (names, gram) = (names(pool)?, pool.gram());
    let pairs = (0..names.len()).flat_map(|a| (a + 1..names.len()).map(move |b| (a, b)));
    let question = |(a, b): (usize, usize)| {
        let apart = (gram[a][a] + gram[b][b] - 2.0 * gram[a][b]).max(0.0).sqrt();
        let gain = |k: usize| match apart * gram[k][k].sqrt() {
            size if size > 0.0 => GAIN * (gram[k][a] - gram[k][b]) / size,
            _ => 0.0,
        };
        let gains: Vec<f64> = (0..names.len()).map(gain).collect();
        Question { first: names[a].clone(), second: names[b].clone(), teaches: taste.information(&gains, learning) }
    };
    pairs.map(question).max_by(|a, b| a.teaches.total_cmp(&b.teaches))
}
