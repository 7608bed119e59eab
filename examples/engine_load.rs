//! The engine under the load of `scripts/bench-peers`, without HTTP: what HTTP and its threads cost is the difference.
//!
//! Reads one burst a line from standard input, a JSON array of bodies of `POST /generate`, submits all of them at once
//! and prints their tokens per second, from submission to the last token. Configured by `TUREEN__SECTION__KEY`.

use std::io::{Write, stdin, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use tureen::config::Config;
use tureen::extract::Validate;
use tureen::order::Wish;
use tureen::startup;
use tureen::wire::generate::GenerateRequest;
use tureen_engine::{Engine, Event, PathChoice, SamplingParams, Submission};

type Failed = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engine_load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failed> {
    let config = Config::load(None, std::env::vars())?;
    let (base, pool) = startup::open(&config).map_err(|e| format!("{e:?}"))?;
    let engine = startup::start_engine(&config, base, pool).map_err(|e| format!("{e:?}"))?;
    for line in stdin().lines() {
        let requests: Vec<GenerateRequest> = serde_json::from_str(&line?)?;
        let submissions = requests.into_iter().map(|request| submission(&engine, &config, request));
        let submissions = submissions.collect::<Result<Vec<_>, _>>()?;
        println!("{}", burst(&engine, submissions)?);
        stdout().flush()?;
    }
    engine.shutdown();
    Ok(())
}

/// What the server's route makes of a request.
fn submission(engine: &Engine, config: &Config, request: GenerateRequest) -> Result<Submission, Failed> {
    let order = request.validate(&config.limits).map_err(|e| e.detail)?.order;
    let (pool, checkpoint) = (engine.pool(), engine.checkpoint());
    let Wish::Inline { preference, merge } = &order.wish else { return Err("profiles are the server's".into()) };
    let soup = Arc::new(pool.soup(preference, merge)?);
    let template = checkpoint.chat_template().ok_or("the base has no chat template")?;
    let prompt = checkpoint.tokenizer().encode(&template.render(&order.messages, true)?, false)?;
    let max_new_tokens = order.sampling.max_new_tokens.unwrap_or(config.limits.default_new_tokens);
    let params = SamplingParams { max_new_tokens, ignore_eos: order.sampling.ignore_eos, ..SamplingParams::default() };
    Ok(Submission { prompt, pool, soup, path: PathChoice::Auto, client: 0, params })
}

/// Tokens per second of all answers together.
fn burst(engine: &Engine, submissions: Vec<Submission>) -> Result<f64, Failed> {
    let begun = Instant::now();
    let running = submissions.into_iter().map(|submission| engine.submit(submission));
    let running = running.collect::<Result<Vec<_>, _>>()?;
    let mut tokens = 0;
    for mut generation in running {
        while let Some(event) = generation.blocking_next() {
            match event {
                Event::Token { .. } => {}
                Event::Finished { generated_tokens, .. } => tokens += generated_tokens,
                Event::Failed(error) => return Err(error.into()),
            }
        }
    }
    Ok(tokens as f64 / begun.elapsed().as_secs_f64())
}
