//! `tureen generate`: one answer on standard output, as it comes.

use std::io::Write;

use tureen_engine::{Event, Message, PathChoice, SamplingParams, Submission};

use super::soup;
use crate::cli::Generate;
use crate::config::Config;
use crate::exit::Failure;
use crate::order::{Order, Sampling, Wish};
use crate::{startup, submit};

/// Streams the answer. Seed and counts go to standard error.
///
/// # Errors
/// 64 for values that cannot be used, 78 for base and pool, 70 when generating fails.
pub fn run(config: &Config, args: Generate) -> Result<(), Failure> {
    if args.prompt.is_empty() {
        return Err(Failure::Usage("the prompt is empty".into()));
    }
    if !(0.0..=2.0).contains(&args.temperature) {
        return Err(Failure::Usage("--temperature must be from 0 to 2".into()));
    }
    let (base, pool) = startup::open(config)?;
    let soup = soup(&pool, &args.soup)?;
    let engine = startup::start_engine(config, base, pool.clone())?;
    let order = Order {
        messages: vec![Message { role: "user".into(), content: args.prompt }],
        wish: Wish::Inline { preference: args.soup.soup.unwrap_or_default(), merge: soup.options().clone() },
        sampling: Sampling {
            max_new_tokens: Some(args.max_new_tokens),
            temperature: args.temperature as f32,
            seed: args.seed,
            ..Sampling::default()
        },
        explain: false,
    };
    let prompt = submit::prompt_tokens(&engine, &order).map_err(|e| Failure::Usage(e.detail))?;
    let params: SamplingParams = submit::params(config, engine.checkpoint(), prompt.len(), order.sampling)
        .map_err(|e| Failure::Usage(e.detail))?;
    let submission = Submission { prompt, pool, soup, path: PathChoice::Auto, client: 0, params };
    let mut generation = engine.submit(submission).map_err(Failure::engine)?;
    let mut out = std::io::stdout().lock();
    let mut say = |text: &str| out.write_all(text.as_bytes()).and_then(|()| out.flush());
    while let Some(event) = generation.blocking_next() {
        let said = match event {
            Event::Token { text, .. } => say(&text),
            Event::Finished { text, generated_tokens, seed, .. } => {
                eprintln!("\n[{generated_tokens} tokens, seed {seed}]");
                say(&text).and_then(|()| say("\n"))
            }
            Event::Failed(error) => return Err(Failure::engine(error)),
        };
        // A closed pipe (`| head`) is not a failure: nobody reads on.
        if said.is_err() {
            break;
        }
    }
    drop(generation);
    engine.shutdown();
    Ok(())
}
