//! Drafts by prompt look-up, on text that repeats the prompt and on text that does not.

use tureen_engine::{EngineOptions, Message, PathChoice, SamplingParams};

use crate::fixture::{Fixture, computing};
use crate::rates::rate;
use crate::{median, row};

const TOLD: &str = "The old lighthouse stood on a cliff above the grey sea. Every evening the keeper climbed the narrow stairs, \
    cleaned the great lamp and lit it before the sun was gone. Ships far out saw the light turn, and their captains \
    knew where the rocks were. One winter a storm took the road away, and for nine days nobody came with bread or oil.";

/// Decoding with drafts over decoding without.
pub(crate) fn report(fixture: &Fixture) {
    let greedy = SamplingParams { max_new_tokens: 96, ..SamplingParams::default() };
    let sampled = SamplingParams { temperature: 1.0, seed: 1, ..greedy.clone() };
    let repeat = format!("Repeat this text word for word, and nothing else:\n\n{TOLD}");
    let question = "Tell me about three animals that live in cold water, and how they keep warm.".to_owned();
    let rows =
        [("repeats its prompt, greedy", repeat, greedy), ("is new, sampled at temperature 1", question, sampled)];
    let pool = fixture.shipped();
    let engine = |speculation| {
        let options = EngineOptions { precision: fixture.precision, speculation, ..computing() };
        fixture.engine_with(&pool, options)
    };
    let (with, without) = (engine(true), engine(false));
    let template = fixture.checkpoint.chat_template().unwrap();
    for (name, text, params) in rows {
        let message = Message { role: "user".into(), content: text };
        let prompt = fixture.checkpoint.tokenizer().encode(&template.render(&[message], true).unwrap(), false).unwrap();
        for streams in [1, 4, 16] {
            let measured = |serving: &crate::fixture::Serving<'_>| {
                let submit = |stream| {
                    let params = SamplingParams { seed: params.seed + stream, ignore_eos: true, ..params.clone() };
                    serving.submit_with(&serving.base(), PathChoice::Gate, prompt.clone(), params)
                };
                rate(serving, (0..streams).map(submit).collect())
            };
            measured(&with);
            measured(&without);
            let before = with.engine.stats();
            let (mut on, mut off) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                on.push(measured(&with));
                off.push(measured(&without));
            }
            let stats = with.engine.stats();
            let drafted = stats.drafted_tokens - before.drafted_tokens;
            let accepted = stats.accepted_tokens - before.accepted_tokens;
            let label = format!(
                "decode, {streams} streams, text that {name}: with drafts ({accepted} of {drafted} right) over without"
            );
            row(&label, median(on), median(off), "tokens/s");
        }
    }
}
