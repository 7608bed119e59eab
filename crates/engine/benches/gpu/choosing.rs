//! What choosing tokens takes, by itself.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor};
use serde_json::{Value, json};
use tureen_cuda::{Change, Choices, Draw, Rule, choose};

/// A draw from all tokens, and from those that limits leave.
fn draws() -> [Draw; 3] {
    let all = Draw { temperature: 0.8, top_k: None, top_p: 1.0, min_p: 0.0, sorted: false, at: 0.0 };
    [all, Draw { top_k: Some(40), ..all }, Draw { top_p: 0.95, min_p: 0.001, ..all }]
}

/// Rules of all kinds, some with changed logits.
pub(crate) fn choices(rows: usize, vocabulary: usize) -> Choices {
    let mut choices = Choices::default();
    for row in 0..rows {
        let rule = match row % 5 {
            0 => Rule::Likeliest,
            1 => Rule::Given((row * 7 % vocabulary) as u32),
            kind => Rule::Drawn(Draw { at: row as f64 / rows as f64, ..draws()[kind - 2] }),
        };
        let changed = if row.is_multiple_of(2) { 0 } else { 100 };
        let change = |i: usize| Change {
            id: ((row + i * 3) % vocabulary) as u32,
            bias: i as f32 / 50.0,
            seen: i.is_multiple_of(2),
        };
        choices.push(&rule, 1.2, (0..changed).map(change));
    }
    choices
}

/// Microseconds of a step's choices, from logits on the device to tokens on the host, for each rule by itself.
pub(crate) fn measure(device: &Device, twin: bool) -> Result<Value> {
    let sizes: &[(usize, usize)] =
        if twin { &[(2, 320)] } else { &[(1, 49_152), (128, 49_152), (1, 151_936), (128, 151_936)] };
    let mut measured = Vec::new();
    for (rows, vocabulary) in sizes {
        let logits = (Tensor::rand(-1_f32, 1.0, (*rows, *vocabulary), device)?.sqr()? * 12.0)?.to_dtype(DType::BF16)?;
        let [all, top_k, top_p] = draws().map(Rule::Drawn);
        let time = |rule: &Rule| quickest(&logits, *rows, rule).map(|time| time.as_secs_f64() * 1e6);
        measured.push(json!({
            "rows": rows, "vocabulary": vocabulary,
            "likeliest_us": time(&Rule::Likeliest)?,
            "drawn_us": time(&all)?,
            "top_k_us": time(&top_k)?,
            "top_p_us": time(&top_p)?,
        }));
    }
    Ok(json!(measured))
}

fn quickest(logits: &Tensor, rows: usize, rule: &Rule) -> Result<Duration> {
    let mut choices = Choices::default();
    for row in 0..rows {
        let rule = match rule {
            Rule::Drawn(draw) => Rule::Drawn(Draw { at: row as f64 / rows as f64, ..*draw }),
            other => *other,
        };
        choices.push(&rule, 1.0, []);
    }
    let uploaded = choices.upload(logits.device())?;
    let mut best = Duration::MAX;
    for _ in 0..6 {
        let begun = Instant::now();
        choose(logits, &uploaded)?;
        best = best.min(begun.elapsed());
    }
    Ok(best)
}
